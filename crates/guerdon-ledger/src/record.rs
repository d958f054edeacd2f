//! A scored rollout on its way into the ledger.

use std::sync::Arc;

use guerdon_types::{Rollout, RolloutEntry, RolloutResult, Usage, Versions};

/// Labels of a request: the place of its rollouts in a training run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// The run, such as `exp-12`.
    pub run: Option<String>,
    /// The step of the run, from 0.
    pub step: Option<u64>,
    /// The part of the data, such as `train` or `eval`.
    pub split: Option<String>,
}

/// A rollout to record, with its result. Holds what a request shares by reference, so that making one
/// copies no text.
#[derive(Debug, Clone)]
pub struct RolloutRecord {
    /// The time of the reply, in milliseconds since 1970.
    pub recorded_ms: i64,
    /// The id of the request.
    pub request_id: Arc<str>,
    /// The labels of the request.
    pub labels: Arc<Labels>,
    /// The attempt of the trainer at this sample.
    pub attempt: Option<u32>,
    /// The place of the sample in its group.
    pub sample: Option<u32>,
    /// The versions of the rollout's profile.
    pub versions: Arc<Versions>,
    /// The rollout as it was received.
    pub rollout: SharedRollout,
    /// The result as it was sent.
    pub result: RolloutResult,
    /// The cost of the rollout.
    pub usage: Usage,
    /// The time from the start of the scoring to the result, in milliseconds.
    pub scoring_ms: Option<f64>,
}

/// A rollout of a request whose entries are shared.
#[derive(Debug, Clone)]
pub struct SharedRollout {
    entries: Arc<Vec<RolloutEntry>>,
    index: usize,
}

impl SharedRollout {
    /// Rollout `index` of the entries of a request.
    #[must_use]
    pub const fn new(entries: Arc<Vec<RolloutEntry>>, index: usize) -> Self {
        Self { entries, index }
    }

    /// The entry.
    pub(crate) fn entry(&self) -> Option<&RolloutEntry> {
        self.entries.get(self.index)
    }

    /// The rollout; `None` if the request's entry was not valid.
    #[must_use]
    pub fn get(&self) -> Option<&Rollout> {
        self.entry()?.rollout.as_ref().ok()
    }

    /// The group, which is known of an invalid entry, too.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        Some(self.entry()?.group.as_ref()?.as_str())
    }
}

impl From<Rollout> for SharedRollout {
    fn from(rollout: Rollout) -> Self {
        Self::new(Arc::new(vec![rollout.into()]), 0)
    }
}
