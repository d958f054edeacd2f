//! The answer about one turn, or the reason for its absence.

use std::collections::BTreeMap;
use std::sync::Arc;

use guerdon_types::{AbstainReason, AbstainWhy, Abstention, Finite, SourceId};
use serde_json::Value;

/// The largest number of characters of another server's text in an abstention.
const MAX_DETAIL: usize = 300;

/// The answer about one turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TurnAnswer {
    pub(crate) value: Finite,
    pub(crate) components: BTreeMap<String, Finite>,
    /// Half-open ranges of Unicode scalar values in the content of the turn.
    pub(crate) spans: Vec<[usize; 2]>,
    pub(crate) veto: bool,
    pub(crate) detail: Value,
    /// The version that the other side declared.
    pub(crate) version: Option<Arc<str>>,
}

impl TurnAnswer {
    /// An answer that is only a number.
    pub(crate) fn number(value: Finite) -> Self {
        Self {
            value,
            components: BTreeMap::new(),
            spans: Vec::new(),
            veto: false,
            detail: Value::Null,
            version: None,
        }
    }
}

/// The reason why there is no answer about a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silence {
    pub(crate) why: AbstainWhy,
    pub(crate) reason: Option<AbstainReason>,
    pub(crate) detail: String,
}

impl Silence {
    /// A reason whose `detail` is cut to a bound.
    pub(crate) fn new(why: AbstainWhy, detail: impl AsRef<str>) -> Self {
        let detail = guerdon_text::cut(detail.as_ref(), MAX_DETAIL).into_owned();
        Self { why, reason: None, detail }
    }

    pub(crate) fn malformed(detail: impl AsRef<str>) -> Self {
        Self::new(AbstainWhy::Malformed, detail)
    }

    pub(crate) fn late() -> Self {
        Self::new(AbstainWhy::Deadline, "the request's deadline passed before there was an answer")
    }

    /// The same with a narrower reason.
    pub(crate) fn because(self, reason: Option<AbstainReason>) -> Self {
        Self { reason, ..self }
    }

    /// The abstention of `source`.
    pub(crate) fn of(self, source: &SourceId) -> Abstention {
        Abstention::new(source.clone(), self.why, self.detail).because(self.reason)
    }
}
