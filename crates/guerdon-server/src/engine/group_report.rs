//! The groups of a request whose rollouts were not scored by the same sources.

use guerdon_types::{GroupComparison, GroupId, IncomparableGroup, RolloutEntry};

use crate::engine::scored_rollout::ScoredRollout;

/// Compares the rollouts of each group as their results become final.
#[derive(Debug)]
pub struct GroupReport {
    /// The group of each rollout.
    names: Vec<Option<GroupId>>,
    comparison: GroupComparison,
}

impl GroupReport {
    /// A report on the groups of `entries`, without results.
    pub(crate) fn new(entries: &[RolloutEntry]) -> Self {
        let names = entries.iter().map(|entry| entry.group.clone()).collect();
        Self { names, comparison: GroupComparison::default() }
    }

    /// Adds one result. Results may come in any order.
    pub fn add(&mut self, scored: &ScoredRollout) {
        if let Some(Some(group)) = self.names.get(scored.index) {
            self.comparison.add(scored.index, group, &scored.result);
        }
    }

    /// The groups that are not comparable, in the order of the request.
    #[must_use]
    pub fn finish(self) -> Vec<IncomparableGroup> {
        self.comparison.finish()
    }
}
