//! A rollout: one dialogue of the policy, its context, and the turns to score.

mod fields;
mod message;
mod role;
mod rubric;
mod score_turns;
mod tool_call;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use fields::ExtraFields;
pub(crate) use fields::without_extra;
pub use message::Message;
pub use role::Role;
pub use rubric::{
    CheckedCriterion, CheckedForm, CheckedRubric, ROLLOUT_RUBRIC, RUBRIC_CLIP, RolloutRubric,
    RubricCriterion, RubricKind, RubricLevel,
};
pub use score_turns::{NamedTurns, ScoreTurns};
pub use tool_call::ToolCall;
pub(crate) use tool_call::arguments_text;

use crate::{Context, GroupId, Invalid, ProblemCode, ProfileName, RolloutId};

/// The largest number of samples of a group.
const MAX_SAMPLES: u32 = 10_000;

/// One dialogue to score.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// The caller's id, which the result repeats: a string, or an integer, which is read as its
    /// digits. Default: the index in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RolloutId>,
    /// The group: the samples of one prompt have the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
    /// The number of the attempt at the group, if the prompt is sampled more than once, such as the
    /// epoch or the step. Rollouts are compared within one attempt at a group. Default: none, which
    /// is an attempt of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// The place of this rollout among the samples of its attempt, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<u32>,
    /// The number of samples of the attempt, from 1 to 10,000: a source that judges the samples of a
    /// group together waits for as many. Default: the rollouts of the request with this `group` and
    /// `attempt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u32>,
    /// The profile that scores this rollout. Rollouts are compared within a group of one profile.
    /// Default: the request's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// The dialogue, oldest first.
    pub messages: Vec<Message>,
    /// The tools that the policy may call, in the form of the API that it was given them by. At
    /// most 100,000 values, and no key twice in an object.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::context::deserialize_list"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<Object>>))]
    pub tools: Vec<Value>,
    /// Criteria that the profile's judges answer about the scored turns, for this rollout alone.
    /// Refused unless the server's configuration has `rubrics.from_requests`. All samples of a group
    /// have the same rubric.
    #[serde(default, skip_serializing_if = "rubric_is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<RubricCriterion>>))]
    pub rubric: RolloutRubric,
    /// The assistant turns to score. Default: the last.
    #[serde(default, skip_serializing_if = "ScoreTurns::is_unsaid")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<ScoreTurns>))]
    pub score: ScoreTurns,
    /// Facts for rules and judge: at most 100,000 values, and no key twice in an object.
    #[serde(
        default,
        skip_serializing_if = "Context::is_empty",
        deserialize_with = "crate::context::deserialize"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>, additional_properties = true))]
    pub context: Context,
}

fn rubric_is_empty(rubric: &RolloutRubric) -> bool {
    rubric.is_empty()
}

impl Rollout {
    /// The approximate size of the context and of the first `messages` messages in memory, in bytes.
    /// The work of reading them grows with it, also where most texts are empty.
    ///
    /// ```
    /// use guerdon_types::{Message, Role, Rollout};
    ///
    /// let messages = vec![Message::new(Role::Assistant, ""); 1_000];
    /// let rollout = Rollout { messages, ..Rollout::default() };
    /// assert_eq!(rollout.weight(500), 32_000);
    /// ```
    #[must_use]
    pub fn weight(&self, messages: usize) -> usize {
        let read = self.messages.iter().take(messages);
        let tools: usize = self.tools.iter().map(crate::context::weight_of).sum();
        let rubric: usize = self.rubric.iter().map(RubricCriterion::weight_in_memory).sum();
        read.map(Message::weight).sum::<usize>()
            + tools
            + rubric
            + crate::context::weight(&self.context)
    }

    /// Checks that `sample` is one of the `samples`.
    ///
    /// # Errors
    /// [`Invalid`], with a pointer below the rollout (`/sample`, `/samples`, `/attempt`), if it is not, if
    /// there are too many samples, or if a rollout without `group` has one of the three.
    pub fn check_sample(&self) -> Result<(), Invalid> {
        let Self { group, attempt, sample, samples, .. } = self;
        let invalid = |pointer: &str, detail: String, hint: &str| {
            Err(Invalid::new(ProblemCode::InvalidRequest, pointer, detail).hint(hint))
        };
        let named = [
            ("/attempt", attempt.is_some()),
            ("/sample", sample.is_some()),
            ("/samples", samples.is_some()),
        ];
        if let (None, Some((pointer, _))) = (group, named.iter().find(|(_, is_named)| *is_named)) {
            let name = pointer.trim_start_matches('/');
            let detail = format!("`{name}` belongs to a group, and this rollout names none");
            return invalid(pointer, detail, "add `group`, which the samples of one prompt share");
        }
        if let Some(samples) = samples.filter(|samples| !(1..=MAX_SAMPLES).contains(samples)) {
            let detail = format!("`samples` is {samples}; it must be between 1 and {MAX_SAMPLES}");
            return invalid("/samples", detail, "send the number of samples of the prompt");
        }
        if let (Some(sample), Some(samples)) = (sample, samples)
            && sample >= samples
        {
            let detail = format!("`sample` is {sample}, and there are {samples} `samples`");
            return invalid("/sample", detail, "count samples from 0");
        }
        Ok(())
    }

    /// Checks the rubric, if the rollout has one.
    ///
    /// # Errors
    /// [`Invalid`], with a pointer below the rollout, as [`CheckedRubric::new`].
    pub fn check_rubric(&self) -> Result<(), Invalid> {
        if self.rubric.is_empty() {
            return Ok(());
        }
        CheckedRubric::new(&self.rubric).map(|_| ())
    }

    /// The number of values in the context and the tools, nested ones included.
    pub(crate) fn values(&self) -> usize {
        let tools: usize = self.tools.iter().map(crate::context::values_of).sum();
        tools + crate::context::values_in(&self.context)
    }

    /// The indices of the turns to score, ascending, each once. `"all"` leaves out turns that only
    /// call tools, unless all turns do.
    ///
    /// # Errors
    /// [`Invalid`], with a pointer below the rollout (`/messages`, `/score/0`), if there is no
    /// assistant turn, or if an index is not that of one.
    pub fn turns_to_score(&self) -> Result<Vec<usize>, Invalid> {
        let assistant =
            |index: &usize| self.messages.get(*index).is_some_and(|m| m.role == Role::Assistant);
        match &self.score {
            ScoreTurns::Unsaid | ScoreTurns::Named(NamedTurns::Last) => {
                let last =
                    (0..self.messages.len()).rev().find(assistant).ok_or_else(no_assistant_turn)?;
                Ok(vec![last])
            }
            ScoreTurns::Named(NamedTurns::All) => {
                let turns: Vec<usize> = (0..self.messages.len()).filter(assistant).collect();
                let says =
                    |index: &usize| self.messages.get(*index).is_some_and(|m| !m.only_calls());
                let said: Vec<usize> = turns.iter().copied().filter(says).collect();
                match (said.is_empty(), turns.is_empty()) {
                    (false, _) => Ok(said),
                    (true, false) => Ok(turns),
                    (true, true) => Err(no_assistant_turn()),
                }
            }
            ScoreTurns::Indices(indices) => {
                if indices.is_empty() {
                    return Err(Invalid::new(
                        ProblemCode::InvalidRequest,
                        "/score",
                        "`score` is an empty list",
                    )
                    .hint("leave `score` out to score the last assistant turn"));
                }
                if let Some((place, index)) =
                    indices.iter().enumerate().find(|(_, index)| !assistant(index))
                {
                    let found = self.messages.get(*index).map_or_else(
                        || format!("the dialogue has {} messages", self.messages.len()),
                        |m| format!("message {index} has the role `{}`", m.role.as_str()),
                    );
                    let detail = format!(
                        "`score` names turn {index}, which is not an assistant turn: {found}"
                    );
                    return Err(Invalid::new(
                        ProblemCode::NoAssistantTurn,
                        format!("/score/{place}"),
                        detail,
                    )
                    .hint("name indices of assistant messages, counting from 0"));
                }
                let mut turns = indices.clone();
                turns.sort_unstable();
                turns.dedup();
                Ok(turns)
            }
        }
    }
}

fn no_assistant_turn() -> Invalid {
    Invalid::new(
        ProblemCode::NoAssistantTurn,
        "/messages",
        "the dialogue has no assistant turn to score",
    )
    .hint("send at least one message with role \"assistant\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialogue(roles: &[Role]) -> Rollout {
        Rollout {
            messages: roles.iter().map(|r| Message::new(*r, "x")).collect(),
            ..Rollout::default()
        }
    }

    #[test]
    fn the_last_assistant_turn_is_the_default_even_when_the_partner_spoke_last() {
        use Role::{Assistant, User};
        assert_eq!(dialogue(&[User, Assistant, User]).turns_to_score().unwrap(), vec![1]);
    }

    #[test]
    fn a_sample_is_one_of_its_group() {
        let check = |json: &str| {
            let messages = r#""messages": [{"role": "assistant", "content": "x"}]"#;
            let rollout: Rollout =
                serde_json::from_str(&format!("{{{json}, {messages}}}")).unwrap();
            rollout.check_sample().map_err(|invalid| invalid.pointer)
        };
        for good in [
            r#""group": "g", "attempt": 3, "sample": 7, "samples": 8"#,
            r#""group": "g", "sample": 9"#,
            r#""group": "g", "samples": 1"#,
            r#""id": "a""#,
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, pointer) in [
            (r#""group": "g", "sample": 8, "samples": 8"#, "/sample"),
            (r#""group": "g", "samples": 0"#, "/samples"),
            (r#""group": "g", "samples": 10001"#, "/samples"),
            (r#""attempt": 1"#, "/attempt"),
            (r#""sample": 1"#, "/sample"),
            (r#""samples": 2"#, "/samples"),
        ] {
            assert_eq!(check(bad), Err(pointer.to_owned()), "{bad}");
        }
    }

    #[test]
    fn all_means_every_assistant_turn_in_order() {
        use Role::{Assistant, User};
        let mut rollout = dialogue(&[Assistant, User, Assistant]);
        rollout.score = serde_json::from_str("\"all\"").unwrap();
        assert_eq!(rollout.turns_to_score().unwrap(), vec![0, 2]);
    }

    #[test]
    fn all_leaves_out_turns_that_only_call_tools() {
        use Role::{Assistant, Tool, User};
        let mut rollout = dialogue(&[User, Assistant, Tool, Assistant]);
        let call = ToolCall { id: None, name: "rooms".into(), arguments: String::new() };
        rollout.messages[1].tool_calls.push(call.clone());
        rollout.score = ScoreTurns::ALL;
        assert_eq!(rollout.turns_to_score().unwrap(), vec![1, 3], "a text and a call");
        rollout.messages[1].content.clear();
        assert_eq!(rollout.turns_to_score().unwrap(), vec![3]);
        rollout.score = ScoreTurns::Indices(vec![1]);
        assert_eq!(rollout.turns_to_score().unwrap(), vec![1], "named");
        rollout.score = ScoreTurns::ALL;
        rollout.messages[3] = Message { tool_calls: vec![call], ..Message::new(Assistant, "") };
        assert_eq!(rollout.turns_to_score().unwrap(), vec![1, 3], "all only call");
    }

    #[test]
    fn an_index_that_names_no_assistant_turn_is_refused_with_its_place() {
        use Role::{Assistant, User};
        let mut rollout = dialogue(&[User, Assistant]);
        rollout.score = ScoreTurns::Indices(vec![1, 0]);
        let invalid = rollout.turns_to_score().unwrap_err();
        assert_eq!(invalid.pointer, "/score/1");
        rollout.score = ScoreTurns::Indices(vec![9]);
        assert!(rollout.turns_to_score().unwrap_err().detail.contains("has 2 messages"));
    }

    #[test]
    fn a_dialogue_without_an_assistant_is_refused() {
        assert_eq!(dialogue(&[Role::User]).turns_to_score().unwrap_err().pointer, "/messages");
        assert_eq!(dialogue(&[]).turns_to_score().unwrap_err().code, ProblemCode::NoAssistantTurn);
    }
}
