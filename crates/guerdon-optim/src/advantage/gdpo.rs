//! GDPO: several rewards, each compared within its group before they are added up.
//!
//! If they were added first, the reward with the widest scale would dominate the others, and
//! different combinations of rewards could give the same sum (arXiv 2601.05242, section 3).

use std::hash::Hash;

use crate::advantage::group::{GroupConfig, advantages_with};
use crate::error::{OptimError, require, require_len};

/// One of several rewards, with its weight.
#[derive(Clone, Copy, Debug)]
pub struct RewardPart<'a> {
    /// The weight of its advantage in the sum; finite.
    pub weight: f64,
    /// One reward per rollout (`[B]`); `None` if this source abstained.
    pub rewards: &'a [Option<f64>],
}

/// Computes one advantage per rollout: the sum of `weight * advantage(part)` over the parts that
/// scored it, each compared with its own siblings; `None` if no part did.
///
/// The result is not whitened. [`standardise`] whitens it over rollouts (as TRL and NeMo-RL do);
/// [`whiten`](crate::advantage::whiten::whiten) after [`spread`](crate::advantage::group::spread)
/// whitens it over tokens (as verl does, where long answers count more: verl#6497).
///
/// # Errors
/// The errors of [`advantages_with`] for every part, and [`OptimError::Config`] for a weight that
/// is not finite.
pub fn gdpo<G: Eq + Hash>(
    config: &GroupConfig,
    parts: &[RewardPart<'_>],
    groups: &[G],
) -> Result<Vec<Option<f64>>, OptimError> {
    let mut out = vec![None; groups.len()];
    for part in parts {
        require(part.weight.is_finite(), "weight", part.weight, "finite")?;
        require_len("part", part.rewards.len(), groups.len())?;
        for (sum, advantage) in out.iter_mut().zip(advantages_with(config, part.rewards, groups)?) {
            if let Some(advantage) = advantage {
                *sum = Some(sum.unwrap_or(0.0) + part.weight * advantage);
            }
        }
    }
    Ok(out)
}

/// Scales the numbers of the scored rollouts to mean 0 and deviation 1 (Bessel-corrected), in
/// place: `(x - mean) / sqrt(variance + eps)` with `eps` 0 or more. Equal numbers and a single
/// number become 0.
pub fn standardise(scores: &mut [Option<f64>], eps: f64) {
    let Some(first) = scores.iter().flatten().next().copied() else { return };
    let count = scores.iter().flatten().count() as f64;
    let mean = scores.iter().flatten().map(|score| score - first).sum::<f64>() / count;
    let squares: f64 = scores.iter().flatten().map(|score| (score - first - mean).powi(2)).sum();
    let deviation = (squares / (count - 1.0).max(1.0) + eps).sqrt();
    let scale = if deviation > 0.0 { deviation.recip() } else { 0.0 };
    for score in scores.iter_mut().flatten() {
        *score = (*score - first - mean) * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::{RewardPart, gdpo, standardise};
    use crate::advantage::group::{Estimator, GroupConfig};
    use crate::testing::assert_close;

    fn scored(rewards: &[f64]) -> Vec<Option<f64>> {
        rewards.iter().copied().map(Some).collect()
    }

    #[test]
    fn eps_is_added_to_the_variance() {
        let mut scores = scored(&[1.0, 3.0]);
        standardise(&mut scores, 2.0);
        let got: Vec<f64> = scores.into_iter().flatten().collect();
        assert_close(&got, &[-0.5, 0.5], 1e-15);
    }

    /// NovaSky-AI/SkyRL#2104: a filter on the summed reward dropped this group, whose sums are
    /// equal.
    #[test]
    fn parts_that_cancel_in_the_sum_still_give_advantages() {
        let (a, b) = (scored(&[1.0, 0.0, 0.0]), scored(&[0.0, 1.0, 1.0]));
        let parts =
            [RewardPart { weight: 1.0, rewards: &a }, RewardPart { weight: 0.5, rewards: &b }];
        let got =
            gdpo(&GroupConfig { eps: 0.0, ..GroupConfig::default() }, &parts, &[0; 3]).unwrap();
        let third = 0.5 / 3.0_f64.sqrt();
        let got: Vec<f64> = got.into_iter().flatten().collect();
        assert_close(&got, &[2.0 * third, -third, -third], 1e-12);
    }

    #[test]
    fn an_abstained_part_is_left_out_of_the_sum() {
        let (a, b) = (scored(&[1.0, 3.0]), vec![Some(5.0), None]);
        let config = GroupConfig { estimator: Estimator::DrGrpo, ..GroupConfig::default() };
        let parts =
            [RewardPart { weight: 1.0, rewards: &a }, RewardPart { weight: 9.0, rewards: &b }];
        assert_eq!(gdpo(&config, &parts, &[0, 0]).unwrap(), [Some(-1.0), Some(1.0)]);
        let none = RewardPart { weight: 1.0, rewards: &[None, None] };
        assert_eq!(gdpo(&config, &[none], &[0, 0]).unwrap(), [None, None]);
    }

    #[test]
    fn standardised_scores_have_mean_zero_and_deviation_one() {
        let mut scores = vec![Some(1e6 + 1.0), None, Some(1e6 + 2.0), Some(1e6 + 3.0)];
        standardise(&mut scores, 0.0);
        assert_eq!(scores, [Some(-1.0), None, Some(0.0), Some(1.0)]);
        let mut equal = vec![Some(0.3); 3];
        standardise(&mut equal, 0.0);
        assert_eq!(equal, [Some(0.0); 3]);
        let mut lone = vec![Some(7.0), None];
        standardise(&mut lone, 0.0);
        assert_eq!(lone, [Some(0.0), None]);
    }
}
