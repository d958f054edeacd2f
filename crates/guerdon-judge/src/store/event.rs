//! What is told of every attempt and every cached answer, for metrics and the audit log.

use std::sync::Arc;
use std::time::Duration;

use guerdon_types::Usage;

/// One attempt, or one question answered without one; for metrics.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CallEvent {
    /// One of [`OUTCOMES`].
    pub outcome: &'static str,
    /// From sending to the reply's last byte; zero for a cached answer.
    pub duration: Duration,
    /// How long the attempt waited for the endpoint's limits.
    pub waited: Duration,
    /// Counts the attempts on one question from 1; 0 for a cached answer.
    pub attempt: u32,
    /// Whether the answer came from the cache, or from a call that another question was waiting for.
    pub cached: bool,
    /// What this attempt cost.
    pub usage: Usage,
}

/// Every value of [`CallEvent::outcome`].
pub const OUTCOMES: [&str; 15] = [
    "ok",
    "cached",
    "weakened",
    "hedged",
    "refused",
    "truncated",
    "ambiguous",
    "malformed",
    "rate_limited",
    "quota_gone",
    "transient",
    "unreachable",
    "bad_request",
    "too_long",
    "filtered",
];

/// What is told of every attempt.
pub(crate) type Observer = Arc<dyn Fn(&CallEvent) + Send + Sync>;
