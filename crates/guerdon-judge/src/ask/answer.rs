//! Results of a question: an answer that can be cached, or the reason for its absence.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use guerdon_queue::CoordinatorError;
use guerdon_types::{AbstainReason, AbstainWhy, Usage};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::ask::reply::CriterionFinding;

/// The findings of a judge, with the model that made them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JudgeAnswer {
    /// The prompt's id.
    pub(crate) prompt: String,
    /// Time of the answer, in seconds since 1970.
    pub(crate) at: u64,
    /// Cost, including failed attempts.
    pub(crate) usage: Usage,
    /// The model that gave it.
    pub(crate) model: String,
    pub(crate) findings: Vec<CriterionFinding>,
}

impl JudgeAnswer {
    pub(crate) fn is_older_than(&self, age: Duration) -> bool {
        now_seconds().saturating_sub(self.at) > age.as_secs()
    }
}

/// The reason why a question has no answer. Shared by all callers that asked it; never cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) why: AbstainWhy,
    /// A narrower reason than `why`.
    pub(crate) reason: Option<AbstainReason>,
    pub(crate) detail: String,
    /// Set if the first caller gave up: other callers may ask again.
    pub(crate) patience_end: Option<PatienceEnd>,
}

impl Failure {
    pub(crate) fn new(why: AbstainWhy, detail: impl Into<String>) -> Self {
        Self { why, reason: None, detail: detail.into(), patience_end: None }
    }

    /// The failure of a question for which the budget has no money.
    pub(crate) fn over_budget(detail: String) -> Self {
        // Clients of the first version have no `why` for a used-up budget; this is the nearest.
        Self::new(AbstainWhy::RateLimited, detail).because(Some(AbstainReason::Budget))
    }

    /// The failure of a question for which the coordinator was needed and did not answer.
    pub(crate) fn uncoordinated(error: &CoordinatorError) -> Self {
        let detail = format!("{error}; the judge's shared limits do not allow a call without it");
        Self::new(AbstainWhy::Coordination, detail)
    }

    /// Adds the reason.
    pub(crate) fn because(self, reason: Option<AbstainReason>) -> Self {
        Self { reason, ..self }
    }

    /// True if the money is used up: no other judge is asked instead.
    pub(crate) fn is_over_budget(&self) -> bool {
        self.reason == Some(AbstainReason::Budget)
    }
}

/// The reason why a caller stopped waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatienceEnd {
    /// The caller disconnected.
    HungUp,
    /// Its deadline passed, or would.
    Deadline(Instant),
}

impl PatienceEnd {
    /// True if a caller with this `deadline` has more time left than the one that gave up.
    pub(crate) fn is_outlasted_by(self, deadline: Option<Instant>) -> bool {
        match self {
            Self::HungUp => true,
            Self::Deadline(theirs) => deadline.is_none_or(|own| own > theirs),
        }
    }
}

/// The result of one question, with its cost.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Arc<JudgeAnswer>, Failure>,
    pub(crate) usage: Usage,
    pub(crate) cached: bool,
}

/// Seconds since 1970, by the wall clock: an answer's age must survive a restart.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
