//! The groups of a request whose rollouts were not scored by the same sources.

use std::collections::BTreeMap;

use guerdon_types::{GroupComparison, GroupId, IncomparableGroup, RolloutEntry};

use crate::engine::scored_rollout::ScoredRollout;

/// Compares the rollouts of each group as their results become final.
#[derive(Debug)]
pub struct GroupReport {
    /// The number of the profile of each rollout, and the group.
    groups: Vec<(usize, Option<GroupId>)>,
    /// The comparison of the rollouts of each profile.
    comparisons: BTreeMap<usize, GroupComparison>,
}

impl GroupReport {
    /// A report on the groups of `entries`, without results. `profile` is the number of each
    /// rollout's profile: rollouts of two profiles are not of one group.
    pub(crate) fn new(entries: &[RolloutEntry], profile: impl Fn(usize) -> usize) -> Self {
        let group = |(index, entry): (usize, &RolloutEntry)| (profile(index), entry.group.clone());
        let groups = entries.iter().enumerate().map(group).collect();
        Self { groups, comparisons: BTreeMap::new() }
    }

    /// Adds one result. Results may come in any order.
    pub fn add(&mut self, scored: &ScoredRollout) {
        if let Some((profile, Some(group))) = self.groups.get(scored.index) {
            let comparison = self.comparisons.entry(*profile).or_default();
            comparison.add(scored.index, group, &scored.result);
        }
    }

    /// The groups that are not comparable, in the order of the request; those of the request's
    /// profile first.
    #[must_use]
    pub fn finish(self) -> Vec<IncomparableGroup> {
        self.comparisons.into_values().flat_map(GroupComparison::finish).collect()
    }
}
