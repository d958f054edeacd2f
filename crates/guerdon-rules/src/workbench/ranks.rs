//! The order of the rollouts of a group by their rewards, before and after an edit.

use guerdon_fusion::{GroupRanks, group_ranks};
use guerdon_types::GroupId;
use serde::Serialize;

/// A group whose rollouts are in another order.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GroupChange {
    /// The group.
    pub group: String,
    /// The number of its rollouts.
    pub rollouts: usize,
    /// The number of pairs of rollouts whose order differs.
    pub pairs: usize,
    /// The rollouts whose rank differs, with the rank before and after. The best has rank 1, and
    /// equal rewards share a rank. Without a reward there is no rank.
    pub ranks: Vec<RankChange>,
}

/// A rollout whose rank differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RankChange {
    /// The index of the rollout.
    pub rollout: usize,
    /// The rank before and after.
    pub ranks: [Option<usize>; 2],
}

/// The rewards of all rollouts on both sides, in their order.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    groups: Vec<Option<GroupId>>,
    rewards: [Vec<Option<f64>>; 2],
}

impl Ranking {
    pub(super) fn add(&mut self, group: Option<GroupId>, rewards: [Option<f64>; 2]) {
        self.groups.push(group);
        for (all, reward) in self.rewards.iter_mut().zip(rewards) {
            all.push(reward);
        }
    }

    /// The groups whose order differs, in the order of their names.
    pub(super) fn changes(&self) -> Vec<GroupChange> {
        let [before, after] = &self.rewards;
        let ranks = group_ranks(&self.groups, before, after);
        let mut changes: Vec<GroupChange> =
            ranks.iter().filter(|group| group.is_changed()).map(change).collect();
        changes.sort_by(|one, other| one.group.cmp(&other.group));
        changes
    }
}

fn change(ranks: &GroupRanks) -> GroupChange {
    let GroupRanks { group, rollouts, before, after, .. } = ranks;
    let both = rollouts.iter().zip(before.iter().zip(after));
    GroupChange {
        group: group.to_string(),
        rollouts: rollouts.len(),
        pairs: swapped(before, after),
        ranks: both
            .filter(|(_, (before, after))| before != after)
            .map(|(rollout, (before, after))| RankChange {
                rollout: *rollout,
                ranks: [*before, *after],
            })
            .collect(),
    }
}

/// The number of pairs whose order differs, among the first rollouts of a group.
fn swapped(before: &[Option<usize>], after: &[Option<usize>]) -> usize {
    let ranked: Vec<(usize, usize)> = before
        .iter()
        .zip(after)
        .filter_map(|(b, a)| Some(((*b)?, (*a)?)))
        .take(MAX_RANKED)
        .collect();
    let pairs = ranked.iter().enumerate().flat_map(|(at, one)| {
        ranked.iter().skip(at + 1).map(move |two| (one.0.cmp(&two.0), one.1.cmp(&two.1)))
    });
    pairs.filter(|(before, after)| before != after).count()
}

/// The greatest number of rollouts of a group whose pairs are counted.
const MAX_RANKED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_whose_order_changed_is_reported() {
        let mut ranking = Ranking::default();
        let group = || Some(GroupId::from("g"));
        ranking.add(group(), [Some(1.0), Some(1.0)]);
        ranking.add(None, [Some(5.0), Some(9.0)]);
        ranking.add(group(), [Some(0.0), Some(2.0)]);
        ranking.add(group(), [Some(-1.0), Some(-1.0)]);
        let [change] = ranking.changes().try_into().unwrap();
        assert_eq!((change.pairs, change.rollouts), (1, 3));
        let ranks: Vec<_> = change.ranks.iter().map(|rank| (rank.rollout, rank.ranks)).collect();
        assert_eq!(ranks, [(0, [Some(1), Some(2)]), (2, [Some(2), Some(1)])]);
    }
}
