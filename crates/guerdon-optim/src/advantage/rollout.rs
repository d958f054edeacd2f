//! One advantage per rollout, by the name of an estimator: every estimator that needs no numbers
//! per token, behind one function.

use std::hash::Hash;

use crate::advantage::gdpo::{RewardPart, gdpo, standardise};
use crate::advantage::group::{Estimator, GroupConfig, advantages_with};
use crate::advantage::opo::opo;
use crate::error::{OptimError, require_len};
use crate::names::named;

/// Added to the variance where a whole batch is standardised, in squared units of its numbers.
const BATCH_EPS: f64 = 1e-6;

/// An estimator of one advantage per rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RolloutEstimator {
    /// [`Estimator::Grpo`].
    Grpo,
    /// [`Estimator::DrGrpo`].
    DrGrpo,
    /// [`Estimator::Rloo`].
    Rloo,
    /// [`Estimator::BatchStd`].
    BatchStd,
    /// [`Estimator::PassAtK`].
    PassAtK,
    /// [`Estimator::Gpg`].
    Gpg,
    /// [`gdpo`] with GRPO for each part, then [`standardise`] over the batch's rollouts. Needs
    /// parts.
    Gdpo,
    /// [`opo`]. Needs lengths.
    Opo,
    /// The reward less the reward of the greedy answer to the same prompt: ReMax (arXiv
    /// 2310.10505), algorithm 1. Needs baselines, and no groups.
    ReMax,
    /// The reward, standardised over the batch's rollouts: REINFORCE++ (arXiv 2501.03262) without
    /// a discount and a KL charge. Needs no groups.
    ReinforcePlusPlus,
    /// `s - mean_group`, standardised over the batch's rollouts: REINFORCE++-baseline.
    ReinforcePlusPlusBaseline,
}

named!(RolloutEstimator, "estimator", {
    Grpo => "grpo",
    DrGrpo => "dr_grpo",
    Rloo => "rloo",
    BatchStd => "batch_std",
    PassAtK => "pass_at_k",
    Gpg => "gpg",
    Gdpo => "gdpo",
    Opo => "opo",
    ReMax => "remax",
    ReinforcePlusPlus => "reinforce_plus_plus",
    ReinforcePlusPlusBaseline => "reinforce_plus_plus_baseline",
});

impl RolloutEstimator {
    /// The estimator of group advantages behind it, if it is one of those.
    #[must_use]
    pub const fn group(self) -> Option<Estimator> {
        match self {
            Self::Grpo => Some(Estimator::Grpo),
            Self::DrGrpo => Some(Estimator::DrGrpo),
            Self::Rloo => Some(Estimator::Rloo),
            Self::BatchStd => Some(Estimator::BatchStd),
            Self::PassAtK => Some(Estimator::PassAtK),
            Self::Gpg => Some(Estimator::Gpg),
            Self::Gdpo
            | Self::Opo
            | Self::ReMax
            | Self::ReinforcePlusPlus
            | Self::ReinforcePlusPlusBaseline => None,
        }
    }

    /// True if an advantage depends on rollouts of other groups. If so, no group can be finished
    /// before the whole batch is scored.
    #[must_use]
    pub fn needs_whole_batch(self) -> bool {
        match self.group() {
            Some(estimator) => estimator.needs_whole_batch(),
            None => !matches!(self, Self::Opo | Self::ReMax),
        }
    }

    /// True if the rollouts of one prompt are compared with each other.
    #[must_use]
    pub const fn needs_groups(self) -> bool {
        !matches!(self, Self::ReMax | Self::ReinforcePlusPlus)
    }

    /// True if each source's rewards are needed apart.
    #[must_use]
    pub const fn needs_parts(self) -> bool {
        matches!(self, Self::Gdpo)
    }

    /// True if the length of each rollout is needed.
    #[must_use]
    pub const fn needs_lens(self) -> bool {
        matches!(self, Self::Opo)
    }

    /// True if the reward of a greedy answer is needed for each rollout.
    #[must_use]
    pub const fn needs_baselines(self) -> bool {
        matches!(self, Self::ReMax)
    }
}

/// The rewards of a batch, with what some estimators need. All slices are `[B]`.
#[derive(Clone, Copy, Debug)]
pub struct RolloutBatch<'a, G> {
    /// The fused reward of each rollout; `None` if it has none. A rollout without a reward gets no
    /// advantage and enters no statistic.
    pub rewards: &'a [Option<f64>],
    /// The group of each rollout.
    pub groups: &'a [G],
    /// The rewards of each source, with its weight.
    pub parts: &'a [RewardPart<'a>],
    /// The length of each rollout in tokens.
    pub lens: Option<&'a [usize]>,
    /// The reward of the greedy answer to each rollout's prompt; `None` if it has none, and then
    /// the rollout gets no advantage.
    pub baselines: Option<&'a [Option<f64>]>,
}

impl<'a, G> RolloutBatch<'a, G> {
    /// A batch of fused rewards.
    #[must_use]
    pub const fn new(rewards: &'a [Option<f64>], groups: &'a [G]) -> Self {
        Self { rewards, groups, parts: &[], lens: None, baselines: None }
    }
}

/// Computes one advantage per rollout; `None` for a rollout without a reward.
///
/// ```
/// use guerdon_optim::{RewardPart, RolloutBatch, RolloutEstimator, rollout_advantages};
///
/// // The parts cancel in the sum, so GRPO sees no difference; GDPO compares each part by itself.
/// let (rewards, groups) = ([Some(1.0); 2], ["p"; 2]);
/// let (helpful, short) = ([Some(1.0), Some(0.0)], [Some(0.0), Some(1.0)]);
/// let parts = [(2.0, &helpful), (1.0, &short)];
/// let parts = parts.map(|(weight, rewards)| RewardPart { weight, rewards });
/// let batch = RolloutBatch { parts: &parts, ..RolloutBatch::new(&rewards, &groups) };
/// assert_eq!(rollout_advantages(RolloutEstimator::Grpo, &batch)?, [Some(0.0); 2]);
/// assert!(rollout_advantages(RolloutEstimator::Gdpo, &batch)?[0] > Some(0.5));
/// # Ok::<(), guerdon_optim::OptimError>(())
/// ```
///
/// # Errors
/// [`OptimError::Missing`] if the estimator needs parts, lengths or baselines that the batch does
/// not have, and the errors of the estimator's own function.
pub fn rollout_advantages<G: Eq + Hash>(
    estimator: RolloutEstimator,
    batch: &RolloutBatch<'_, G>,
) -> Result<Vec<Option<f64>>, OptimError> {
    let RolloutBatch { rewards, groups, parts, lens, baselines } = *batch;
    let by_group = |estimator| {
        advantages_with(&GroupConfig { estimator, ..GroupConfig::default() }, rewards, groups)
    };
    if let Some(estimator) = estimator.group() {
        return by_group(estimator);
    }
    match estimator {
        RolloutEstimator::Gdpo => {
            if parts.is_empty() {
                let why = "gdpo compares the rewards of each source by themselves";
                return Err(OptimError::Missing { what: "parts", why });
            }
            let rewarded = parts_of_rewarded(parts, rewards)?;
            let parts: Vec<RewardPart<'_>> = parts
                .iter()
                .zip(&rewarded)
                .map(|(part, rewards)| RewardPart { weight: part.weight, rewards })
                .collect();
            let mut sums = gdpo(&GroupConfig::default(), &parts, groups)?;
            standardise(&mut sums, BATCH_EPS);
            Ok(sums)
        }
        RolloutEstimator::Opo => {
            let why = "opo weights each sibling by its length";
            opo(rewards, lens.ok_or(OptimError::Missing { what: "lens", why })?, groups)
        }
        RolloutEstimator::ReMax => {
            let why = "remax subtracts the reward of the greedy answer";
            let baselines = baselines.ok_or(OptimError::Missing { what: "baselines", why })?;
            require_len("baselines", baselines.len(), rewards.len())?;
            check_finite("rewards", rewards)?;
            check_finite("baselines", baselines)?;
            let pairs = rewards.iter().zip(baselines);
            Ok(pairs.map(|(reward, baseline)| Some((*reward)? - (*baseline)?)).collect())
        }
        RolloutEstimator::ReinforcePlusPlusBaseline => {
            let mut centred = by_group(Estimator::DrGrpo)?;
            standardise(&mut centred, BATCH_EPS);
            Ok(centred)
        }
        _ => {
            check_finite("rewards", rewards)?;
            let mut scores = rewards.to_vec();
            standardise(&mut scores, BATCH_EPS);
            Ok(scores)
        }
    }
}

/// The parts of the rollouts that have a reward.
fn parts_of_rewarded(
    parts: &[RewardPart<'_>],
    rewards: &[Option<f64>],
) -> Result<Vec<Vec<Option<f64>>>, OptimError> {
    let of = |part: &RewardPart<'_>| {
        require_len("part", part.rewards.len(), rewards.len())?;
        let pairs = part.rewards.iter().zip(rewards);
        Ok(pairs.map(|(part, reward)| part.filter(|_| reward.is_some())).collect())
    };
    parts.iter().map(of).collect()
}

fn check_finite(what: &'static str, numbers: &[Option<f64>]) -> Result<(), OptimError> {
    match numbers.iter().position(|number| number.is_some_and(|number| !number.is_finite())) {
        Some(row) => Err(OptimError::NonFinite { what, row, token: 0 }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A batch that has what every estimator needs.
    fn all(
        estimator: RolloutEstimator,
        rewards: &[Option<f64>],
        groups: &[usize],
    ) -> Vec<Option<f64>> {
        let halved: Vec<_> = rewards.iter().map(|reward| reward.map(|it| it / 2.0)).collect();
        let parts =
            [RewardPart { weight: 1.0, rewards }, RewardPart { weight: 0.5, rewards: &halved }];
        let lens = vec![3; rewards.len()];
        let baselines = vec![Some(1.0); rewards.len()];
        let batch = RolloutBatch {
            parts: &parts,
            lens: Some(&lens),
            baselines: Some(&baselines),
            ..RolloutBatch::new(rewards, groups)
        };
        rollout_advantages(estimator, &batch).unwrap()
    }

    proptest! {
        /// A rollout without a reward changes no sibling's advantage, and every other has one.
        #[test]
        fn rollouts_without_a_reward_are_left_out(
            rows in prop::collection::vec((-5.0..5.0f64, 0usize..3), 1..12), place in 0usize..12,
        ) {
            let (rewards, groups): (Vec<_>, Vec<_>) =
                rows.into_iter().map(|(reward, group)| (Some(reward), group)).unzip();
            let place = place % (rewards.len() + 1);
            let (mut more, mut more_groups) = (rewards.clone(), groups.clone());
            more.insert(place, None);
            more_groups.insert(place, 0);
            for estimator in RolloutEstimator::ALL {
                let alone = all(*estimator, &rewards, &groups);
                let mut among = all(*estimator, &more, &more_groups);
                prop_assert_eq!(among.remove(place), None);
                prop_assert!(alone.iter().all(Option::is_some), "{estimator}");
                prop_assert_eq!(&alone, &among, "{}", estimator);
            }
        }

        #[test]
        fn advantages_of_a_group_change_with_other_groups_only_where_the_batch_is_needed(
            rewards in prop::collection::vec(-5.0..5.0f64, 2..6), others in prop::collection::vec(-9.0..9.0f64, 1..6),
        ) {
            let own: Vec<_> = rewards.iter().copied().map(Some).collect();
            let both: Vec<_> = rewards.iter().chain(&others).copied().map(Some).collect();
            let groups: Vec<_> = (0..both.len()).map(|row| usize::from(row >= own.len())).collect();
            for estimator in RolloutEstimator::ALL.iter().filter(|one| !one.needs_whole_batch()) {
                let among = all(*estimator, &both, &groups);
                prop_assert_eq!(&among[..own.len()], &all(*estimator, &own, &groups[..own.len()])[..]);
            }
        }
    }

    #[test]
    fn group_estimators_keep_their_names() {
        for estimator in Estimator::ALL {
            let same: RolloutEstimator = estimator.name().parse().unwrap();
            assert_eq!(same.group(), Some(*estimator));
            assert_eq!(same.needs_whole_batch(), estimator.needs_whole_batch());
        }
    }

    #[test]
    fn missing_inputs_are_reported_by_name() {
        let batch = RolloutBatch::new(&[Some(1.0)], &[0]);
        for (estimator, missing) in [
            (RolloutEstimator::Gdpo, "parts"),
            (RolloutEstimator::Opo, "lens"),
            (RolloutEstimator::ReMax, "baselines"),
        ] {
            let error = rollout_advantages(estimator, &batch).unwrap_err();
            assert!(
                matches!(error, OptimError::Missing { what, .. } if what == missing),
                "{error}"
            );
        }
    }

    #[test]
    fn known_values() {
        let rewards = [Some(1.0), Some(3.0), None];
        let batch = RolloutBatch {
            baselines: Some(&[Some(0.5), None, Some(1.0)]),
            ..RolloutBatch::new(&rewards, &[0; 3])
        };
        assert_eq!(
            rollout_advantages(RolloutEstimator::ReMax, &batch).unwrap(),
            [Some(0.5), None, None]
        );
        let standardised = rollout_advantages(RolloutEstimator::ReinforcePlusPlus, &batch).unwrap();
        assert!((standardised[0].unwrap() + 0.5_f64.sqrt()).abs() < 1e-6, "{standardised:?}");
    }
}
