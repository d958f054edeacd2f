//! A rollout: one dialogue of the policy, its context, and the turns to score.

mod score_turns;

use serde::{Deserialize, Deserializer, Serialize};

pub use score_turns::{NamedTurns, ScoreTurns};

use crate::{Context, GroupId, Invalid, ProblemCode, RolloutId};

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions to the policy.
    System,
    /// The policy's partner in the dialogue.
    User,
    /// The policy; the only role that is scored.
    Assistant,
    /// The result of a tool call.
    Tool,
}

impl Role {
    /// The role as it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The author.
    pub role: Role,
    /// The text. It may be empty: an empty reply is scored like any other. OpenAI's list of text
    /// parts is read too, with the texts joined by line breaks.
    pub content: String,
}

impl<'de> Deserialize<'de> for Message {
    /// Reads an object. serde's derived form would also read a list, as role and content.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            role: Role,
            #[serde(deserialize_with = "crate::content::deserialize")]
            content: String,
        }
        crate::json::object(deserializer).map(|Fields { role, content }| Self { role, content })
    }
}

impl Message {
    /// Creates a message by `role` with the text `content`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

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
    /// The dialogue, oldest first.
    pub messages: Vec<Message>,
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

/// The approximate size of one message in memory, in bytes, without its text.
const MESSAGE_BYTES: usize = 64;

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
        let texts: usize = read.map(|message| MESSAGE_BYTES + message.content.len()).sum();
        texts + crate::context::weight(&self.context)
    }

    /// The indices of the turns to score, ascending, each once.
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
                if turns.is_empty() { Err(no_assistant_turn()) } else { Ok(turns) }
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
    fn all_means_every_assistant_turn_in_order() {
        use Role::{Assistant, User};
        let mut rollout = dialogue(&[Assistant, User, Assistant]);
        rollout.score = serde_json::from_str("\"all\"").unwrap();
        assert_eq!(rollout.turns_to_score().unwrap(), vec![0, 2]);
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
