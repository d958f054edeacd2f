//! The groups of a request: those whose rollouts were not scored by the same sources, and the
//! spread of their rewards for the metrics.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use guerdon_types::{Finite, GroupComparison, GroupId, IncomparableGroup, RolloutEntry};

use crate::engine::request_profiles::RequestProfiles;
use crate::engine::scored_rollout::ScoredRollout;

/// The number of a profile, and an attempt at a group: rollouts of two are not compared.
type ComparisonKey = (usize, Option<u64>);

/// Compares the rollouts of each group as their results become final.
#[derive(Debug)]
pub struct GroupReport {
    profiles: Arc<RequestProfiles>,
    /// The group of each rollout, and the attempt at it.
    groups: Vec<(Option<GroupId>, Option<u64>)>,
    /// The comparison of the rollouts of each profile and attempt.
    comparisons: BTreeMap<ComparisonKey, GroupComparison>,
    /// The rewards of each group of a profile and attempt.
    spreads: HashMap<(ComparisonKey, GroupId), RewardSpread>,
}

/// The rewards of one group.
#[derive(Debug, Clone, Copy)]
struct RewardSpread {
    first: Finite,
    rewards: usize,
    is_equal: bool,
}

impl GroupReport {
    /// A report on the groups of `entries`, without results. Rollouts of two profiles are not of one
    /// group.
    pub(crate) fn new(entries: &[RolloutEntry], profiles: Arc<RequestProfiles>) -> Self {
        let group = |entry: &RolloutEntry| (entry.group.clone(), entry.attempt);
        let groups = entries.iter().map(group).collect();
        Self { profiles, groups, comparisons: BTreeMap::new(), spreads: HashMap::new() }
    }

    /// Adds one result. Results may come in any order.
    pub fn add(&mut self, scored: &ScoredRollout) {
        let Some((Some(group), attempt)) = self.groups.get(scored.index) else { return };
        let compared = (self.profiles.number(scored.index), *attempt);
        self.comparisons.entry(compared).or_default().add(scored.index, group, &scored.result);
        if let Some(reward) = scored.result.reward {
            let spread = self.spreads.entry((compared, group.clone()));
            let spread =
                spread.or_insert(RewardSpread { first: reward, rewards: 0, is_equal: true });
            spread.rewards += 1;
            spread.is_equal &= spread.first == reward;
        }
    }

    /// The groups that are not comparable, in the order of the request; those of the request's
    /// profile first.
    #[must_use]
    pub fn finish(self) -> Vec<IncomparableGroup> {
        for (((profile, _), _), spread) in &self.spreads {
            if spread.rewards > 1 {
                self.profiles.numbered(*profile).metrics.group(spread.is_equal);
            }
        }
        self.comparisons.into_values().flat_map(GroupComparison::finish).collect()
    }
}
