//! The turns of a rollout that are to be scored.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The largest number of indices in one list, repeated ones included.
const MAX_INDICES: usize = 2_000_000;

const EXPECTED: &str = "expected \"last\", \"all\" or a list of message indices such as [3, 5]";

/// The assistant turns of a rollout to score.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum ScoreTurns {
    /// `"last"` or `"all"`.
    Named(NamedTurns),
    /// Indices into `messages`; each must be that of an assistant message.
    Indices(Vec<usize>),
    /// The field is absent: the last assistant turn.
    #[default]
    #[serde(skip)]
    Unsaid,
}

/// The two named choices of [`ScoreTurns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NamedTurns {
    /// The last assistant turn.
    Last,
    /// Every assistant turn.
    All,
}

impl ScoreTurns {
    /// Every assistant turn.
    pub const ALL: Self = Self::Named(NamedTurns::All);
    /// The last assistant turn.
    pub const LAST: Self = Self::Named(NamedTurns::Last);

    pub(super) const fn is_unsaid(&self) -> bool {
        matches!(self, Self::Unsaid)
    }
}

/// Reads the indices one by one: serde's derived form for untagged enums first keeps every element
/// in a buffer of several times its size.
impl<'de> Deserialize<'de> for ScoreTurns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(TurnsVisitor) {
            Ok(Some(turns)) => Ok(turns),
            Ok(None) => {
                Err(D::Error::custom(format_args!("at most {MAX_INDICES} turns can be listed")))
            }
            Err(_) => Err(D::Error::custom(EXPECTED)),
        }
    }
}

/// Visitor of [`ScoreTurns`]. Its value is `None` for a list that is too long.
struct TurnsVisitor;

impl<'de> Visitor<'de> for TurnsVisitor {
    type Value = Option<ScoreTurns>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        match name {
            "last" => Ok(Some(ScoreTurns::LAST)),
            "all" => Ok(Some(ScoreTurns::ALL)),
            _ => Err(E::custom(EXPECTED)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut indices = Vec::new();
        while let Some(index) = list.next_element()? {
            if indices.len() == MAX_INDICES {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            indices.push(index);
        }
        Ok(Some(ScoreTurns::Indices(indices)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<ScoreTurns, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_indices_are_read_and_written_alike() {
        for (json, turns) in [
            ("\"last\"", ScoreTurns::LAST),
            ("\"all\"", ScoreTurns::ALL),
            ("[]", ScoreTurns::Indices(Vec::new())),
            ("[3,5,3]", ScoreTurns::Indices(vec![3, 5, 3])),
        ] {
            assert_eq!(parse(json).unwrap(), turns, "{json}");
            assert_eq!(serde_json::to_string(&turns).unwrap(), json);
        }
    }

    #[test]
    fn other_values_are_refused_with_the_forms_that_are_read() {
        let others =
            ["null", "1", "true", "\"first\"", "{}", "[-1]", "[1.5]", "[\"a\"]", "[null]", "[1e9]"];
        for json in others {
            let error = parse(json).unwrap_err();
            assert!(error.starts_with(EXPECTED), "{json}: {error}");
        }
    }

    #[test]
    fn list_beyond_the_limit_is_refused() {
        let list = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
        assert!(parse(&list(MAX_INDICES)).is_ok());
        let error = parse(&list(MAX_INDICES + 1)).unwrap_err();
        assert!(error.starts_with("at most 2000000 turns can be listed"), "{error}");
    }
}
