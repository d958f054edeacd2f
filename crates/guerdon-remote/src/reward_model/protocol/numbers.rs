//! Numbers in replies: alone, in lists, or missing.

use serde::Deserialize;

use super::exchange::Raw;
use crate::ask::Silence;

/// A number, a list of numbers, or nothing.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum NumberList {
    One(f64),
    Several(Vec<f64>),
    Nested(Vec<Vec<f64>>),
    Missing(()),
}

impl NumberList {
    /// The outputs of one turn. A vector for each token has more than one output a turn.
    pub(super) fn raw(self) -> Raw {
        match self {
            Self::One(number) => Raw::Numbers(vec![number]),
            Self::Several(numbers) => Raw::Numbers(numbers),
            Self::Nested(rows) => Raw::Numbers(rows.into_iter().flatten().collect()),
            Self::Missing(()) => {
                Raw::Silent(Silence::malformed("the reply has no number for this turn"))
            }
        }
    }
}

/// A label with its number.
#[derive(Debug, Deserialize)]
pub(super) struct LabelScore {
    label: String,
    score: Option<f64>,
}

/// The outputs in the order of the model's labels. Servers sort them by their numbers.
pub(super) fn in_label_order(mut labelled: Vec<LabelScore>) -> Raw {
    let index =
        |label: &str| label.rsplit('_').next().and_then(|digits| digits.parse::<usize>().ok());
    if labelled.iter().all(|one| index(&one.label).is_some()) {
        labelled.sort_by_key(|one| index(&one.label));
    }
    match labelled.into_iter().map(|one| one.score).collect::<Option<Vec<_>>>() {
        Some(numbers) => Raw::Numbers(numbers),
        None => Raw::Silent(Silence::malformed("the reply has no number for this turn")),
    }
}
