//! Two digests on the same rollouts: how their rewards and their order within groups differ.

use std::collections::HashMap;

use super::{Quantiles, quantiles};
use crate::record::Row;

/// The rollouts of the lists of greatest changes.
const SHOWN: usize = 25;

/// The identity of a rollout under both digests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    run: Option<String>,
    step: Option<i64>,
    group: Option<String>,
    rollout: String,
}

/// Two digests on the rollouts that both scored.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Comparison {
    /// The rollouts of the digest before, those after, and those of both.
    pub(crate) counts: (usize, usize, usize),
    /// The rewards before and after of each rollout that has both.
    pub(crate) pairs: Vec<RewardChange>,
    /// The rewards before.
    pub(crate) before: Option<Quantiles>,
    /// The rewards after.
    pub(crate) after: Option<Quantiles>,
    /// Rollouts whose reward changed its sign.
    pub(crate) sign_changes: usize,
    /// Rollouts that lost or got a reward.
    pub(crate) lost: usize,
    /// See `lost`.
    pub(crate) gained: usize,
    /// The groups with at least two rewards on both sides.
    pub(crate) groups: usize,
    /// Those with another order.
    pub(crate) reordered: usize,
    /// The mean of Kendall's tau-b over the groups where it exists.
    pub(crate) tau: Option<f64>,
    /// The rollouts with the greatest change, greatest first.
    pub(crate) most_changed: Vec<RewardChange>,
}

/// A rollout with both rewards.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RewardChange {
    /// The id.
    pub(crate) rollout: String,
    /// The group.
    pub(crate) group: Option<String>,
    /// The place of the result before, and of the one after.
    pub(crate) keys: (i64, i64),
    /// The reward before.
    pub(crate) before: f64,
    /// The reward after.
    pub(crate) after: f64,
}

impl RewardChange {
    /// The change of the reward.
    #[must_use]
    pub(crate) fn change(&self) -> f64 {
        self.after - self.before
    }
}

/// Collects the rollouts of two digests.
#[derive(Debug, Default)]
pub(crate) struct ComparisonBuilder {
    before: HashMap<Identity, Row>,
    after: HashMap<Identity, Row>,
}

impl ComparisonBuilder {
    /// Adds a rollout of the digest before. Of several results of one rollout the newest counts.
    pub(crate) fn add_before(&mut self, row: Row) {
        add(&mut self.before, row);
    }

    /// Adds a rollout of the digest after.
    pub(crate) fn add_after(&mut self, row: Row) {
        add(&mut self.after, row);
    }

    /// The comparison.
    #[must_use]
    pub(crate) fn finish(self) -> Comparison {
        let mut found = Comparison {
            counts: (self.before.len(), self.after.len(), 0),
            ..Comparison::default()
        };
        for (identity, before) in &self.before {
            let Some(after) = self.after.get(identity) else { continue };
            found.counts.2 += 1;
            let (one, other) = match (before.reward, after.reward) {
                (Some(one), Some(other)) => (one, other),
                (Some(_), None) => {
                    found.lost += 1;
                    continue;
                }
                (None, Some(_)) => {
                    found.gained += 1;
                    continue;
                }
                (None, None) => continue,
            };
            found.sign_changes += usize::from(one * other < 0.0);
            found.pairs.push(RewardChange {
                rollout: identity.rollout.clone(),
                group: identity.group.clone(),
                keys: (before.key, after.key),
                before: one,
                after: other,
            });
        }
        found.pairs.sort_unstable_by_key(|pair| pair.keys);
        found.before = quantiles(&mut rewards(&self.before));
        found.after = quantiles(&mut rewards(&self.after));
        order(&mut found, &self.before);
        let mut changed: Vec<RewardChange> =
            found.pairs.iter().filter(|pair| pair.change() != 0.0).cloned().collect();
        changed.sort_by(|one, other| other.change().abs().total_cmp(&one.change().abs()));
        changed.truncate(SHOWN);
        found.most_changed = changed;
        found
    }
}

fn add(rows: &mut HashMap<Identity, Row>, row: Row) {
    let identity = Identity {
        run: row.labels.run.clone(),
        step: row.labels.step,
        group: row.labels.group.clone(),
        rollout: row.rollout.clone(),
    };
    let older = rows.get(&identity).is_none_or(|known| known.key < row.key);
    if older {
        rows.insert(identity, row);
    }
}

fn rewards(rows: &HashMap<Identity, Row>) -> Vec<f64> {
    rows.values().filter_map(|row| row.reward).collect()
}

/// Run, step and name of a group.
type GroupKey<'r> = (Option<&'r str>, Option<i64>, &'r str);

/// Compares the order within groups.
fn order(found: &mut Comparison, before: &HashMap<Identity, Row>) {
    let labels: HashMap<i64, &Row> = before.values().map(|row| (row.key, row)).collect();
    let mut groups: HashMap<GroupKey<'_>, Vec<(f64, f64)>> = HashMap::new();
    for pair in &found.pairs {
        let Some(row) = labels.get(&pair.keys.0) else { continue };
        let Some(group) = row.labels.group.as_deref() else { continue };
        let place = (row.labels.run.as_deref(), row.labels.step, group);
        groups.entry(place).or_default().push((pair.before, pair.after));
    }
    let (mut sum, mut count) = (0.0, 0_u32);
    let (mut several, mut reordered) = (0, 0);
    for pairs in groups.values().filter(|pairs| pairs.len() > 1) {
        several += 1;
        reordered += usize::from(is_reordered(pairs));
        if let Some(tau) = kendall_tau(pairs) {
            sum += tau;
            count += 1;
        }
    }
    found.groups = several;
    found.reordered = reordered;
    found.tau = (count > 0).then(|| sum / f64::from(count));
}

fn is_reordered(pairs: &[(f64, f64)]) -> bool {
    let order = |one: f64, other: f64| one.total_cmp(&other);
    pairs.iter().enumerate().any(|(place, one)| {
        pairs.iter().skip(place + 1).any(|other| order(one.0, other.0) != order(one.1, other.1))
    })
}

/// Kendall's tau-b of pairs of numbers: 1 for the same order, -1 for the opposite one. `None` if all
/// numbers of one side are equal.
#[must_use]
fn kendall_tau(pairs: &[(f64, f64)]) -> Option<f64> {
    let (mut sum, mut left, mut right) = (0_i64, 0_i64, 0_i64);
    for (place, one) in pairs.iter().enumerate() {
        for other in pairs.iter().skip(place + 1) {
            let (a, b) = (sign(one.0 - other.0), sign(one.1 - other.1));
            sum += a * b;
            left += a * a;
            right += b * b;
        }
    }
    if left == 0 || right == 0 {
        return None;
    }
    Some(as_f64(sum) / (as_f64(left) * as_f64(right)).sqrt())
}

fn sign(number: f64) -> i64 {
    i64::from(number > 0.0) - i64::from(number < 0.0)
}

#[expect(clippy::cast_precision_loss, reason = "a group has far fewer than 2^26 rollouts")]
const fn as_f64(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Labels;

    fn row(key: i64, rollout: &str, reward: Option<f64>) -> Row {
        let labels = Labels { group: Some("g".to_owned()), ..Labels::default() };
        Row { key, rollout: rollout.to_owned(), labels, reward, ..Row::default() }
    }

    #[test]
    fn rollouts_of_both_digests_are_paired() {
        let mut builder = ComparisonBuilder::default();
        for (key, id, reward) in [(1, "a", Some(1.0)), (2, "b", Some(2.0)), (3, "c", Some(-1.0))] {
            builder.add_before(row(key, id, reward));
        }
        builder.add_before(row(4, "d", Some(0.0)));
        for (key, id, reward) in [(5, "a", Some(3.0)), (6, "b", Some(2.0)), (7, "c", Some(1.0))] {
            builder.add_after(row(key, id, reward));
        }
        builder.add_after(row(8, "d", None));
        builder.add_after(row(9, "e", None));
        let found = builder.finish();
        assert_eq!(found.counts, (4, 5, 4));
        assert_eq!((found.sign_changes, found.lost, found.gained), (1, 1, 0));
        assert_eq!((found.groups, found.reordered), (1, 1));
        let changed: Vec<&str> = found.most_changed.iter().map(|one| &*one.rollout).collect();
        assert_eq!(changed.len(), 2);
        assert_eq!(found.tau, kendall_tau(&[(1.0, 3.0), (2.0, 2.0), (-1.0, 1.0)]));
    }

    #[test]
    fn tau_of_known_orders() {
        assert_eq!(kendall_tau(&[(1.0, 1.0), (2.0, 5.0), (3.0, 9.0)]), Some(1.0));
        assert_eq!(kendall_tau(&[(1.0, 9.0), (2.0, 5.0), (3.0, 1.0)]), Some(-1.0));
        assert_eq!(kendall_tau(&[(1.0, 1.0), (1.0, 2.0)]), None);
    }

    proptest! {
        #[test]
        fn tau_is_symmetric_and_bounded(pairs in prop::collection::vec((-3i8..3, -3i8..3), 0..12)) {
            let pairs: Vec<(f64, f64)> = pairs.into_iter().map(|(a, b)| (a.into(), b.into())).collect();
            let swapped: Vec<(f64, f64)> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
            let tau = kendall_tau(&pairs);
            prop_assert_eq!(tau, kendall_tau(&swapped));
            prop_assert!(tau.is_none_or(|tau| (-1.0 - 1e-12..=1.0 + 1e-12).contains(&tau)));
        }
    }
}
