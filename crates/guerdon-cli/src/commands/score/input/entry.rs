//! The rollouts of one row of the input, or the results of those that cannot be scored.

use std::borrow::Cow;

use guerdon_types::{
    Invalid, Problem, ProblemCode, Rollout, RolloutEntry, RolloutId, RolloutResult,
};

use super::lines::LINE_BYTES;
use crate::commands::score::rows::{RowOptions, RowOrigin, RowRollouts};

/// The text of a row and its place in the input.
#[derive(Debug)]
pub(super) struct RowText<'a> {
    /// The place, for messages.
    pub(super) place: Place,
    pub(super) bytes: Cow<'a, [u8]>,
    /// Set if the text was too long to be read.
    pub(super) is_cut: bool,
}

/// The place of a rollout in the input, counting from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Line(usize),
    /// The input is one JSON document.
    Rollout(usize),
    /// The input is a table.
    Row(usize),
    /// A line among those that begin behind this byte of a file.
    RangeLine(usize, u64),
}

impl Place {
    const fn number(self) -> usize {
        match self {
            Self::Line(number)
            | Self::Rollout(number)
            | Self::Row(number)
            | Self::RangeLine(number, _) => number,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Rollout(number) => write!(f, "rollout {number}"),
            Self::Row(number) => write!(f, "row {number}"),
            Self::RangeLine(number, start) => write!(f, "line {number} behind byte {start}"),
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

impl RowText<'_> {
    /// Parses the text.
    pub(super) fn parse(&self, options: &RowOptions) -> RowRollouts {
        let refused = |invalid| {
            Some(RolloutEntry { id: None, group: None, attempt: None, rollout: Err(invalid) })
                .into()
        };
        if self.is_cut {
            let detail = format!("it has more than {} MiB", LINE_BYTES >> 20);
            return refused(Invalid::new(ProblemCode::RolloutTooLarge, "", detail));
        }
        match std::str::from_utf8(&self.bytes) {
            Err(error) => {
                let detail = format!("byte {} is not UTF-8", error.valid_up_to() + 1);
                let invalid = Invalid::new(ProblemCode::MalformedJson, "", detail);
                refused(invalid.hint("save the file as UTF-8"))
            }
            Ok(text) => {
                let mut read = options.rollouts(text, self.place.number());
                for entry in &mut read.entries {
                    if let Err(invalid) = &mut entry.rollout
                        && invalid.detail.contains("unknown field `rollouts`")
                    {
                        invalid.hint =
                            Some("write one rollout per line, not a whole request".into());
                    }
                }
                read
            }
        }
    }

    /// Parses the text. The first of its rollouts has `index`. `sharing` is the place of another
    /// rollout with the same id.
    pub(super) fn read(
        &self,
        options: &RowOptions,
        index: usize,
        sharing: impl Fn(&RolloutId) -> Option<Place>,
    ) -> Vec<InputEntry> {
        let entries = self.parse(options).entries;
        let bytes = self.bytes.len() / entries.len().max(1);
        let checked = |(offset, entry)| {
            let rollout = checked(entry, (self.place, options.origin), index + offset, &sharing);
            InputEntry { index: index + offset, place: self.place, bytes, rollout }
        };
        entries.into_iter().enumerate().map(checked).collect()
    }
}

/// The rollout of an entry with an id, or its result without a reward.
fn checked(
    entry: RolloutEntry,
    (place, origin): (Place, RowOrigin),
    index: usize,
    sharing: impl Fn(&RolloutId) -> Option<Place>,
) -> Result<Box<Rollout>, Box<RolloutResult>> {
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
    match rollout {
        Ok(mut rollout) => {
            rollout.id.get_or_insert_with(|| default_id(origin, place, index));
            Ok(Box::new(rollout))
        }
        Err(mut invalid) => {
            invalid.detail.insert_str(0, &format!("{place}: "));
            let id = entry.id.unwrap_or_else(|| match place {
                Place::Line(number) if origin == RowOrigin::File => {
                    RolloutId::from(format!("line-{number}"))
                }
                _ => default_id(origin, place, index),
            });
            Err(Box::new(without_reward(id, invalid.into())))
        }
    }
}

/// The id of a rollout without one: its index in the input. In a range, it is made of the place in
/// the whole file.
fn default_id(origin: RowOrigin, place: Place, index: usize) -> RolloutId {
    RolloutId::from(match origin {
        RowOrigin::File => index.to_string(),
        RowOrigin::Rows { first } => (first + index).to_string(),
        RowOrigin::Bytes { start } => format!("{start}-{}", place.number()),
    })
}

/// The result of a rollout that has no reward.
pub(crate) fn without_reward(id: RolloutId, problem: Problem) -> RolloutResult {
    RolloutResult { id, reward: None, advantage: None, turns: Vec::new(), error: Some(problem) }
}
