//! What comes of a question: an answer, as it is kept, or the reason why there is none.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use guerdon_types::{AbstainWhy, Usage};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::ask::reply::Finding;

/// What a judge found, and which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The prompt's id.
    pub(crate) prompt: String,
    /// When it was given, in seconds since 1970.
    pub(crate) at: u64,
    /// What it cost, failed attempts included.
    pub(crate) usage: Usage,
    /// The model that gave it.
    pub(crate) model: String,
    pub(crate) findings: Vec<Finding>,
}

impl Answer {
    pub(crate) fn is_older_than(&self, age: Duration) -> bool {
        now_seconds().saturating_sub(self.at) > age.as_secs()
    }
}

/// Why a question has no answer. Shared by all who asked it; never kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) why: AbstainWhy,
    pub(crate) detail: String,
    /// Set if only the first asker's patience ended: others may ask again.
    pub(crate) gave_up: Option<GaveUp>,
}

impl Failure {
    pub(crate) fn new(why: AbstainWhy, detail: impl Into<String>) -> Self {
        Self { why, detail: detail.into(), gave_up: None }
    }
}

/// How patience ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GaveUp {
    /// The asker hung up.
    HungUp,
    /// Its deadline passed, or would.
    Deadline(Instant),
}

impl GaveUp {
    /// Whether someone with this `deadline` has more time than the one who gave up.
    pub(crate) fn is_outlasted_by(self, deadline: Option<Instant>) -> bool {
        match self {
            Self::HungUp => true,
            Self::Deadline(theirs) => deadline.is_none_or(|own| own > theirs),
        }
    }
}

/// What came of a question.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) result: Result<Arc<Answer>, Failure>,
    pub(crate) usage: Usage,
    pub(crate) cached: bool,
}

/// Seconds since 1970, by the wall clock: an answer's age must survive a restart.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
