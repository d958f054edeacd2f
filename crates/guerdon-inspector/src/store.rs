//! The rollouts that the pages read: a file in memory, or a ledger.

use std::fmt::Debug;

use crate::filter::Filter;
use crate::record::{Record, Row};

/// Scored rollouts, in the order of recording.
///
/// All reads may block; a server calls them on blocking threads.
pub trait Store: Debug + Send + Sync {
    /// The name of the file or the database, for the pages' head.
    fn name(&self) -> String;

    /// The runs, profiles and digests.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    fn overview(&self) -> Result<Overview, StoreError>;

    /// At most `limit` rollouts of `filter`, newest first, those before `after` in that order.
    ///
    /// # Errors
    /// As [`overview`](Self::overview).
    fn rollouts(
        &self,
        filter: &Filter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// The rollout at `key`.
    ///
    /// # Errors
    /// As [`overview`](Self::overview).
    fn record(&self, key: i64) -> Result<Option<Record>, StoreError>;

    /// At most `limit` rollouts of `filter` with their dialogues, newest first.
    ///
    /// # Errors
    /// As [`overview`](Self::overview).
    fn records(&self, filter: &Filter, limit: usize) -> Result<Vec<Record>, StoreError>;

    /// Visits the newest `limit` rollouts of `filter`, oldest first or newest first. Returns true
    /// if there are more.
    ///
    /// # Errors
    /// As [`overview`](Self::overview).
    fn scan(
        &self,
        filter: &Filter,
        limit: usize,
        visit: &mut dyn FnMut(Row),
    ) -> Result<bool, StoreError>;
}

/// The store cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {name}: {detail}")]
pub struct StoreError {
    /// The file or the database.
    pub name: String,
    /// The reason.
    pub detail: String,
}

/// The extent of a store.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overview {
    /// The number of rollouts.
    pub rollouts: u64,
    /// The runs, newest first; `None` for the rollouts without a run.
    pub runs: Vec<RunOverview>,
    /// The profiles, by name.
    pub profiles: Vec<String>,
}

/// A run in short.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunOverview {
    /// The run; `None` for the rollouts without one.
    pub run: Option<String>,
    /// The number of rollouts.
    pub rollouts: u64,
    /// Those without a reward.
    pub without_reward: u64,
    /// The first and the last step.
    pub steps: Option<(i64, i64)>,
    /// The mean reward.
    pub mean: Option<f64>,
    /// The number of different digests.
    pub digests: u64,
    /// The time of the newest rollout, in milliseconds since 1970.
    pub newest_ms: Option<i64>,
}
