//! Settings of a ledger.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The ledger: a record of every scored rollout. Without `path`, nothing is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// The file, made if it is missing. Default: no ledger.
    pub path: Option<PathBuf>,
    /// The texts to keep: `full` keeps dialogues, quotes and explanations, `hash` a hash of each
    /// dialogue, `none` nothing. Numbers, names of rules and spans are kept in any case.
    pub texts: Texts,
    /// Age at which rollouts are removed. Default: none.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub keep: Option<Duration>,
    /// Bytes of the file beyond which the oldest rollouts are removed. Default: none.
    pub max_bytes: Option<u64>,
    /// Handling of results while the queue of the ledger is full: `drop` counts and drops them,
    /// `wait` lets their replies wait.
    pub full: OnFull,
    /// Bytes of rollouts that wait to be written.
    pub queue_bytes: u64,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            path: None,
            texts: Texts::Full,
            keep: None,
            max_bytes: None,
            full: OnFull::Drop,
            queue_bytes: 64 << 20,
        }
    }
}

/// The texts that a ledger keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Texts {
    /// Everything that the request and the reply have.
    #[default]
    Full,
    /// A hash of each dialogue in its place. Quotes and explanations in results are left out.
    Hash,
    /// None. Quotes and explanations in results are left out.
    None,
}

/// The handling of results while the queue of the ledger is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Drops them and counts them. Replies never wait.
    #[default]
    Drop,
    /// Lets their replies wait.
    Wait,
}
