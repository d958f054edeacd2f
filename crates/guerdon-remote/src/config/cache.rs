//! The cache of a source's answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The cache of a source's answers, in memory. An answer is found by the content of the turn and
/// the version that the other side declares: answers of another version are not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TurnCacheConfig {
    /// The largest number of answers. 0: no cache. Equal turns in flight still share one call.
    pub max_entries: u64,
    /// Time after which an answer is asked again, so that a new version is noticed even if every
    /// turn is known.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
}

impl Default for TurnCacheConfig {
    fn default() -> Self {
        Self { max_entries: 100_000, ttl: Duration::from_secs(3600) }
    }
}
