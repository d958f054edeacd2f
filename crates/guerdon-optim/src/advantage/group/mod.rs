//! Group-relative advantages: the reward of a rollout compared with those of its siblings, the
//! other answers to the same prompt.
//!
//! A rollout without a reward (its source abstained) or without tokens is not a sibling. It does
//! not enter the group's mean and deviation and gets no advantage. Counting it as reward 0, or
//! counting the reward of an empty row, would shift every sibling's baseline (OpenRLHF#1239).

use std::collections::HashMap;
use std::hash::Hash;

use crate::error::{OptimError, require, require_len};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::names::named;

/// The comparison of a reward with its group. `s` is the reward, `k` the number of *scored*
/// siblings, itself included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Estimator {
    /// `(s - mean_group) / (std_group + eps)`: Shao et al., "DeepSeekMath" (arXiv 2402.03300),
    /// section 4.1.2.
    #[default]
    Grpo,
    /// `s - mean_group`: Liu et al., "Understanding R1-Zero-Like Training" (arXiv 2503.20783),
    /// section 3.
    DrGrpo,
    /// `s - mean of the others = (s - mean_group) k / (k - 1)`: Ahmadian et al., "Back to Basics"
    /// (arXiv 2402.14740), from Kool et al. 2019.
    Rloo,
    /// `(s - mean_group) / (std_batch + eps)`: "Tricks or Traps?" (arXiv 2508.08221).
    BatchStd,
    /// `(best - second best) / (std_group + eps)` for the best, 0 for its siblings: pass@k training
    /// (arXiv 2503.19595). Among equals, the first is the best.
    PassAtK,
    /// `alpha (s - mean_group)` with `alpha` the number of scored rollouts divided by the number of
    /// rewards that are not 0: GPG (arXiv 2504.02546), section 3.2.
    Gpg,
}

named!(Estimator, "estimator", {
    Grpo => "grpo",
    DrGrpo => "dr_grpo",
    Rloo => "rloo",
    BatchStd => "batch_std",
    PassAtK => "pass_at_k",
    Gpg => "gpg",
});

impl Estimator {
    /// Returns true if an advantage depends on rollouts of other groups. If so, no group can be
    /// finished before the whole batch is scored.
    pub fn needs_whole_batch(self) -> bool {
        matches!(self, Self::BatchStd | Self::Gpg)
    }
}

/// An estimator and its constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupConfig {
    /// The comparison of rewards.
    pub estimator: Estimator,
    /// Added to the deviation in the denominator, in units of the reward, 0 or more. Default 1e-6
    /// (verl's).
    pub eps: f64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self { estimator: Estimator::default(), eps: 1e-6 }
    }
}

/// Computes one advantage per rollout with the default `eps`; see [`advantages_with`].
///
/// # Errors
/// As [`advantages_with`].
pub fn advantages<G: Eq + Hash>(
    estimator: Estimator,
    rewards: &[Option<f64>],
    groups: &[G],
) -> Result<Vec<Option<f64>>, OptimError> {
    advantages_with(&GroupConfig { estimator, ..GroupConfig::default() }, rewards, groups)
}

/// Computes one advantage per rollout: `rewards[i]` against the scored rollouts that share
/// `groups[i]`.
///
/// `rewards` and `groups` are `[B]`, in any order; a group id can be of any type that hashes. The
/// result keeps the order. `None` (abstained) stays `None`. A rollout gets exactly 0 if it has no
/// scored siblings or if all their rewards are equal. Deviations are Bessel-corrected (`n - 1`).
/// Advantages of `grpo` and `batch_std` have no unit; the others have the unit of the reward.
///
/// # Errors
/// [`OptimError::Shape`] if the lengths differ, [`OptimError::NonFinite`] for `Some` of a NaN or
/// infinity, [`OptimError::Config`] for a negative or non-finite `eps`, [`OptimError::Overflow`] if
/// the rewards are too far apart for `f64`.
pub fn advantages_with<G: Eq + Hash>(
    config: &GroupConfig,
    rewards: &[Option<f64>],
    groups: &[G],
) -> Result<Vec<Option<f64>>, OptimError> {
    require(
        config.eps >= 0.0 && config.eps.is_finite(),
        "eps",
        config.eps,
        "finite and 0 or more",
    )?;
    require_len("groups", groups.len(), rewards.len())?;
    if let Some(row) =
        rewards.iter().position(|reward| reward.is_some_and(|reward| !reward.is_finite()))
    {
        return Err(OptimError::NonFinite { what: "rewards", row, token: 0 });
    }

    let (member_of, stats) = group_stats(rewards, groups);
    // The contribution of the whole batch: a divisor or a factor.
    let batch = match config.estimator {
        Estimator::BatchStd => batch_stats(rewards).std(),
        Estimator::Gpg => {
            let nonzero = rewards.iter().flatten().filter(|reward| reward.abs() > 0.0).count();
            rewards.iter().flatten().count() as f64 / nonzero.max(1) as f64
        }
        _ => 0.0,
    };
    let one = |row: usize, reward: f64, group: &GroupStats| {
        if group.n < 2.0 {
            return 0.0;
        }
        let centred = (reward - group.first) - group.mean;
        match config.estimator {
            Estimator::Grpo => ratio(centred, group.std() + config.eps),
            Estimator::DrGrpo => centred,
            Estimator::Rloo => centred * group.n / (group.n - 1.0),
            Estimator::BatchStd => ratio(centred, batch + config.eps),
            Estimator::PassAtK if row == group.best => {
                ratio(reward - group.second, group.std() + config.eps)
            }
            Estimator::PassAtK => 0.0,
            Estimator::Gpg => batch * centred,
        }
    };
    let mut out = Vec::with_capacity(rewards.len());
    for (row, (&reward, &group)) in rewards.iter().zip(&member_of).enumerate() {
        let advantage = reward.map(|reward| one(row, reward, &stats[group]));
        if advantage.is_some_and(|advantage| !advantage.is_finite()) {
            return Err(OptimError::Overflow { what: "advantages" });
        }
        out.push(advantage);
    }
    Ok(out)
}

/// The rewards and groups of a padded batch.
#[derive(Clone, Copy, Debug)]
pub struct GroupBatch<'a, F, G> {
    mask: RowMask<'a>,
    rewards: &'a [F],
    groups: &'a [G],
}

impl<'a, F: Float, G: Eq + Hash> GroupBatch<'a, F, G> {
    /// `rewards` and `groups` are `[B]`; a NaN reward means abstained.
    pub fn new(mask: RowMask<'a>, rewards: &'a [F], groups: &'a [G]) -> Self {
        Self { mask, rewards, groups }
    }
}

/// Writes row `b`'s group-relative advantage to every valid token of row `b`. All other slots of
/// `out` (`[B, T]`) get 0, as do all slots of a row that abstained. A row without valid tokens
/// counts as abstained.
///
/// # Errors
/// [`OptimError::Shape`] for a slice of the wrong length, and the errors of [`advantages_with`].
pub fn token_advantages<F: Float, G: Eq + Hash>(
    config: &GroupConfig,
    batch: &GroupBatch<'_, F, G>,
    out: &mut [F],
) -> Result<(), OptimError> {
    let GroupBatch { mask, rewards, groups } = *batch;
    mask.check_rows("rewards", rewards.len())?;
    mask.check("advantages", out.len())?;
    let scored: Vec<Option<f64>> = (0..mask.rows())
        .map(|row| {
            (!rewards[row].is_nan() && mask.last(row).is_some()).then(|| rewards[row].to_f64())
        })
        .collect();
    let per_row = advantages_with(config, &scored, groups)?;
    spread(&mask, &per_row, out)
}

/// Writes row `b`'s advantage to every valid token of row `b`. All other slots of `out` (`[B, T]`)
/// get 0, as do all slots of a row without an advantage.
///
/// # Errors
/// [`OptimError::Shape`] for a slice of the wrong length, [`OptimError::Overflow`] for an advantage
/// beyond the range of the slice's type.
pub fn spread<F: Float>(
    mask: &RowMask<'_>,
    advantages: &[Option<f64>],
    out: &mut [F],
) -> Result<(), OptimError> {
    mask.check_rows("row advantages", advantages.len())?;
    mask.check("advantages", out.len())?;
    out.fill(F::ZERO);
    for (row, advantage) in advantages.iter().enumerate() {
        let advantage = F::from_f64(advantage.unwrap_or(0.0));
        if !advantage.is_finite() {
            return Err(OptimError::Overflow { what: "advantages" });
        }
        for span in mask.spans(row) {
            out[span].fill(advantage);
        }
    }
    Ok(())
}

/// Count, mean and squared deviations of a set of rewards, relative to its first member. Two passes
/// and a shift instead of `E[x^2] - mean^2`, whose cancellation gave an advantage of -2075
/// (NeMo-RL#4158). The shift also makes the deviation of equal rewards exactly 0.
#[derive(Clone, Copy, Debug, Default)]
struct GroupStats {
    n: f64,
    first: f64,
    mean: f64,
    squares: f64,
    /// The row of the greatest reward.
    best: usize,
    /// The greatest reward.
    top: f64,
    /// The second greatest reward.
    second: f64,
}

impl GroupStats {
    fn add(&mut self, row: usize, reward: f64) {
        if self.n < 1.0 {
            (self.first, self.best, self.top, self.second) =
                (reward, row, reward, f64::NEG_INFINITY);
        } else if reward > self.top {
            (self.best, self.second, self.top) = (row, self.top, reward);
        } else {
            self.second = self.second.max(reward);
        }
        self.n += 1.0;
        self.mean += reward - self.first;
    }

    fn finish_mean(&mut self) {
        self.mean /= self.n.max(1.0);
    }

    fn add_deviation(&mut self, reward: f64) {
        let deviation = (reward - self.first) - self.mean;
        self.squares += deviation * deviation;
    }

    fn std(&self) -> f64 {
        if self.n < 2.0 { 0.0 } else { (self.squares / (self.n - 1.0)).sqrt() }
    }
}

/// The group number of every rollout, and the statistics of every group over its scored members.
fn group_stats<G: Eq + Hash>(
    rewards: &[Option<f64>],
    groups: &[G],
) -> (Vec<usize>, Vec<GroupStats>) {
    let mut number: HashMap<&G, usize> = HashMap::new();
    let mut stats: Vec<GroupStats> = Vec::new();
    let mut member_of = Vec::with_capacity(groups.len());
    for (row, (group, &reward)) in groups.iter().zip(rewards).enumerate() {
        let at = *number.entry(group).or_insert_with(|| {
            stats.push(GroupStats::default());
            stats.len() - 1
        });
        member_of.push(at);
        if let Some(reward) = reward {
            stats[at].add(row, reward);
        }
    }
    stats.iter_mut().for_each(GroupStats::finish_mean);
    for (&at, &reward) in member_of.iter().zip(rewards) {
        if let Some(reward) = reward {
            stats[at].add_deviation(reward);
        }
    }
    (member_of, stats)
}

/// The statistics of all scored rollouts.
fn batch_stats(rewards: &[Option<f64>]) -> GroupStats {
    let mut stats = GroupStats::default();
    rewards.iter().flatten().enumerate().for_each(|(row, &reward)| stats.add(row, reward));
    stats.finish_mean();
    rewards.iter().flatten().for_each(|&reward| stats.add_deviation(reward));
    stats
}

/// `x / by`, or 0 if the deviation `by` is 0.
fn ratio(x: f64, by: f64) -> f64 {
    if by > 0.0 { x / by } else { 0.0 }
}

#[cfg(test)]
mod tests;
