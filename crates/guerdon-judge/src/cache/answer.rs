//! An answer as it is kept: what was found, who found it, when, and what it cost.

use std::time::{Duration, SystemTime};

use guerdon_types::Usage;
use serde::{Deserialize, Serialize};

use crate::read::Finding;

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

/// Seconds since 1970, by the wall clock: an answer's age must survive a restart.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
