//! The order of the rollouts of a group by their rewards, before and after an edit.

use std::collections::BTreeMap;

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

/// A rollout with its rewards on both sides.
#[derive(Debug, Clone, Copy)]
struct RewardedRollout {
    index: usize,
    rewards: [Option<f64>; 2],
}

/// Rollouts by group.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    groups: BTreeMap<String, Vec<RewardedRollout>>,
}

impl Ranking {
    pub(super) fn add(&mut self, group: &GroupId, index: usize, rewards: [Option<f64>; 2]) {
        let rollout = RewardedRollout { index, rewards };
        self.groups.entry(group.to_string()).or_default().push(rollout);
    }

    /// The groups whose order differs, in the order of their names.
    pub(super) fn changes(self) -> Vec<GroupChange> {
        self.groups.into_iter().filter_map(|(group, rollouts)| change(group, &rollouts)).collect()
    }
}

fn change(group: String, rollouts: &[RewardedRollout]) -> Option<GroupChange> {
    let [before, after] = [0, 1].map(|side| {
        let rewards = rollouts.iter().map(|of| of.rewards.get(side).copied().flatten());
        ranks(&rewards.collect::<Vec<_>>())
    });
    let changed: Vec<RankChange> = rollouts
        .iter()
        .zip(before.iter().zip(&after))
        .filter(|(_, (before, after))| before != after)
        .map(|(rollout, (before, after))| RankChange {
            rollout: rollout.index,
            ranks: [*before, *after],
        })
        .collect();
    (!changed.is_empty()).then(|| GroupChange {
        group,
        rollouts: rollouts.len(),
        pairs: swapped(&before, &after),
        ranks: changed,
    })
}

/// The rank of each reward, the greatest first.
fn ranks(rewards: &[Option<f64>]) -> Vec<Option<usize>> {
    let mut sorted: Vec<f64> = rewards.iter().copied().flatten().collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let rank = |reward: f64| sorted.partition_point(|other| other.total_cmp(&reward).is_gt()) + 1;
    rewards.iter().map(|reward| reward.map(rank)).collect()
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
    fn equal_rewards_share_a_rank_and_missing_ones_have_none() {
        let ranked = ranks(&[Some(1.0), Some(3.0), None, Some(3.0), Some(2.0)]);
        assert_eq!(ranked, [Some(4), Some(1), None, Some(1), Some(3)]);
    }

    #[test]
    fn a_group_whose_order_changed_is_reported() {
        let mut ranking = Ranking::default();
        let group: GroupId = serde_json::from_str("\"g\"").unwrap();
        ranking.add(&group, 0, [Some(1.0), Some(1.0)]);
        ranking.add(&group, 1, [Some(0.0), Some(2.0)]);
        ranking.add(&group, 2, [Some(-1.0), Some(-1.0)]);
        let [change] = ranking.changes().try_into().unwrap();
        assert_eq!((change.pairs, change.rollouts), (1, 3));
        let ranks: Vec<_> = change.ranks.iter().map(|rank| (rank.rollout, rank.ranks)).collect();
        assert_eq!(ranks, [(0, [Some(1), Some(2)]), (1, [Some(2), Some(1)])]);
    }
}
