//! One rollout of the input, or the result of one that cannot be scored.

use guerdon_types::{
    Invalid, Problem, ProblemCode, Rollout, RolloutEntry, RolloutId, RolloutResult,
};

use super::lines::LINE_BYTES;

/// The text of a rollout and its place in the input.
#[derive(Debug)]
pub(super) struct EntryText<'a> {
    /// The index among the rollouts of the input, from 0.
    pub(super) index: usize,
    /// The place, for messages.
    pub(super) place: Place,
    pub(super) bytes: &'a [u8],
    /// Set if the text was too long to be read.
    pub(super) is_cut: bool,
}

/// The place of a rollout in the input, counting from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Line(usize),
    /// The input is one JSON document.
    Rollout(usize),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Rollout(number) => write!(f, "rollout {number}"),
        }
    }
}

/// A rollout with an id and a turn to score, or a result with an error. The checks are those of the
/// server.
#[derive(Debug)]
pub(crate) struct InputEntry {
    pub(crate) index: usize,
    pub(crate) place: Place,
    /// The size of its text.
    pub(crate) bytes: usize,
    pub(crate) rollout: Result<Box<Rollout>, Box<RolloutResult>>,
}

impl EntryText<'_> {
    /// Parses the text.
    pub(super) fn parse(&self) -> RolloutEntry {
        let refused = |invalid| RolloutEntry { id: None, group: None, rollout: Err(invalid) };
        if self.is_cut {
            let detail = format!("it has more than {} MiB", LINE_BYTES >> 20);
            return refused(Invalid::new(ProblemCode::RolloutTooLarge, "", detail));
        }
        match std::str::from_utf8(self.bytes) {
            Err(error) => {
                let detail = format!("byte {} is not UTF-8", error.valid_up_to() + 1);
                let invalid = Invalid::new(ProblemCode::MalformedJson, "", detail);
                refused(invalid.hint("save the file as UTF-8"))
            }
            Ok(text) => {
                let mut entry = RolloutEntry::parse(text);
                if let Err(invalid) = &mut entry.rollout
                    && invalid.detail.contains("unknown field `rollouts`")
                {
                    invalid.hint = Some("write one rollout per line, not a whole request".into());
                }
                entry
            }
        }
    }

    /// Parses the text. `sharing` is the place of another rollout with the same id.
    pub(super) fn read(&self, sharing: impl FnOnce(&RolloutId) -> Option<Place>) -> InputEntry {
        let Self { index, place, .. } = *self;
        let entry = self.parse();
        let shared = entry.id.as_ref().and_then(sharing);
        let rollout = match (entry.rollout, shared, &entry.id) {
            (Ok(_), Some(other), Some(id)) => {
                let id = guerdon_text::quote(id.as_str());
                let detail = format!("the id {id} is also the id of {other}");
                Err(Invalid::new(ProblemCode::InvalidRequest, "/id", detail)
                    .hint("give every rollout its own id, or leave ids out"))
            }
            (rollout, ..) => rollout,
        };
        let rollout = match rollout {
            Ok(mut rollout) => {
                rollout.id.get_or_insert_with(|| RolloutId::from(index.to_string()));
                Ok(Box::new(rollout))
            }
            Err(mut invalid) => {
                invalid.detail.insert_str(0, &format!("{place}: "));
                let id = entry.id.unwrap_or_else(|| match place {
                    Place::Line(number) => RolloutId::from(format!("line-{number}")),
                    Place::Rollout(_) => RolloutId::from(index.to_string()),
                });
                Err(Box::new(without_reward(id, invalid.into())))
            }
        };
        InputEntry { index, place, bytes: self.bytes.len(), rollout }
    }
}

/// The result of a rollout that has no reward.
pub(crate) fn without_reward(id: RolloutId, problem: Problem) -> RolloutResult {
    RolloutResult { id, reward: None, advantage: None, turns: Vec::new(), error: Some(problem) }
}
