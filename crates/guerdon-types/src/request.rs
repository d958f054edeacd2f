//! The body of `POST /v1/score`.

use serde::{Deserialize, Serialize};

use crate::{FusionPatch, Invalid, ProblemCode, ProfileName, Rollout, SourceId};

/// What to score and how.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ScoreRequest {
    /// The dialogues; an empty list gives an empty reply.
    pub rollouts: Vec<Rollout>,
    /// A subset of the profile's sources. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<SourceId>>,
    /// A named set of reward model, judge prompts, rule packs and fusion. Default: the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// Changes to the profile's fusion, for this request only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fusion: Option<FusionPatch>,
    /// Ask for group advantages in the same reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advantages: Option<AdvantagesRequest>,
    /// Milliseconds; what is not ready by then abstains with `why = "deadline"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub deadline_ms: Option<u64>,
}

/// The group-relative estimator to apply to the fused rewards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AdvantagesRequest {
    /// `grpo`, `dr_grpo`, `rloo`, `batch_std`, `pass_at_k` or `gpg`.
    pub estimator: String,
}

impl ScoreRequest {
    /// Checks what the shape alone cannot say: that every rollout has a turn to score and that ids are unique.
    ///
    /// # Errors
    /// [`Invalid`] with a JSON pointer to the first place that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        let mut seen = std::collections::HashMap::new();
        for (index, rollout) in self.rollouts.iter().enumerate() {
            rollout
                .turns_to_score()
                .map_err(|invalid| invalid.below(&format!("/rollouts/{index}")))?;
            if let Some(id) = &rollout.id
                && let Some(first) = seen.insert(id, index)
            {
                let detail = format!("id `{id}` is also the id of rollout {first}");
                return Err(Invalid::new(
                    ProblemCode::InvalidRequest,
                    format!("/rollouts/{index}/id"),
                    detail,
                )
                .hint("give every rollout of a request its own id, or leave ids out"));
            }
        }
        if self.deadline_ms == Some(0) {
            return Err(Invalid::new(
                ProblemCode::InvalidRequest,
                "/deadline_ms",
                "a deadline of 0 ms scores nothing",
            )
            .hint("leave `deadline_ms` out, or give it a positive number of milliseconds"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> ScoreRequest {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_rollout_without_an_assistant_turn_is_pointed_at() {
        let invalid = request(
            r#"{"rollouts": [{"messages": [{"role": "assistant", "content": "a"}]},
                             {"messages": [{"role": "user", "content": "b"}]}]}"#,
        )
        .check()
        .unwrap_err();
        assert_eq!(invalid.pointer, "/rollouts/1/messages");
    }

    #[test]
    fn two_rollouts_may_not_share_an_id() {
        let one = r#"{"id": "r", "messages": [{"role": "assistant", "content": "a"}]}"#;
        let invalid = request(&format!(r#"{{"rollouts": [{one}, {one}]}}"#)).check().unwrap_err();
        assert_eq!(invalid.pointer, "/rollouts/1/id");
    }

    #[test]
    fn an_empty_batch_is_a_fine_request() {
        assert!(request(r#"{"rollouts": []}"#).check().is_ok());
    }

    #[test]
    fn what_was_not_said_is_not_written() {
        assert_eq!(serde_json::to_string(&ScoreRequest::default()).unwrap(), r#"{"rollouts":[]}"#);
    }
}
