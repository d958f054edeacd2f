//! Settings of a ledger.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{DatabaseUrl, Error};

/// The ledger: a record of every scored rollout. Without `path` and `url`, nothing is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// The file, made if it is missing. Default: no ledger.
    pub path: Option<PathBuf>,
    /// A `PostgreSQL` database in the place of `path`, for several servers:
    /// `postgres://user:password@host/database`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<DatabaseUrl>,
    /// The texts to keep: `full` keeps dialogues, quotes and explanations, `hash` a hash of each
    /// dialogue, `none` nothing. Numbers, names of rules and spans are kept in any case.
    pub texts: Texts,
    /// Age at which rollouts are removed. Default: none.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub keep: Option<Duration>,
    /// Bytes of the file, or of the rows in the database, beyond which the oldest rollouts are
    /// removed. Default: none.
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
            url: None,
            texts: Texts::Full,
            keep: None,
            max_bytes: None,
            full: OnFull::Drop,
            queue_bytes: 64 << 20,
        }
    }
}

impl LedgerConfig {
    /// Checks the place of the ledger. Nothing is opened.
    ///
    /// # Errors
    /// Both a file and a database are named, or the URL is not one of a database or asks for TLS.
    pub fn check(&self) -> Result<(), Error> {
        match &self.url {
            Some(_) if self.path.is_some() => Err(Error::TwoPlaces),
            Some(url) => url.settings().map(|_| ()),
            None => Ok(()),
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
