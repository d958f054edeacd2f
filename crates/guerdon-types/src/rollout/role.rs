//! The author of a message.

use std::fmt;

use guerdon_text::chat_markup::Speaker;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The author of a message. Read in any case, and also under the names of other APIs and of data
/// sets, such as `developer`, `human`, `gpt`, `bot`, `model` and `function`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
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

const NAMES: &[&str] = &["system", "user", "assistant", "tool"];

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

    /// The role that an API, a data set or a template calls `name`.
    ///
    /// ```
    /// use guerdon_types::Role;
    ///
    /// assert_eq!(Role::from_name("gpt"), Some(Role::Assistant));
    /// assert_eq!(Role::from_name("narrator"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Speaker::from_name(name).map(Self::from)
    }
}

impl From<Speaker> for Role {
    fn from(speaker: Speaker) -> Self {
        match speaker {
            Speaker::System => Self::System,
            Speaker::User => Self::User,
            Speaker::Assistant => Self::Assistant,
            Speaker::Tool => Self::Tool,
        }
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(RoleVisitor)
    }
}

struct RoleVisitor;

impl Visitor<'_> for RoleVisitor {
    type Value = Role;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a role")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Role, E> {
        Role::from_name(name).ok_or_else(|| E::unknown_variant(name, NAMES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_apis_are_read_in_any_case() {
        for (role, names) in [
            (Role::System, &["system", "developer", "System"][..]),
            (Role::User, &["user", "human", "Human", "USER", "prompter"]),
            (Role::Assistant, &["assistant", "Assistant", "model", "gpt", "bot", "ai", "chatgpt"]),
            (Role::Tool, &["tool", "function", "ipython", "observation", "tool_response"]),
        ] {
            for name in names {
                let read: Role = serde_json::from_str(&format!("\"{name}\"")).unwrap();
                assert_eq!(read, role, "{name}");
            }
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{}\"", role.as_str()));
        }
        for other in ["robot", "", "asistant", "agent"] {
            let error = serde_json::from_str::<Role>(&format!("\"{other}\"")).unwrap_err();
            assert!(error.to_string().contains("expected one of `system`"), "{error}");
        }
    }
}
