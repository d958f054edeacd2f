//! HERO: the reward model orders replies within the strata of a verifier, right and wrong.

use guerdon_types::HeroConfig;

use crate::normalise::{Moments, finite};

/// Keeps the range of a stratum whose scores are all equal above 0, in units of the score.
const EPSILON: f64 = 1e-6;

/// One sample of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeroSample {
    /// The reward model's calibrated score `R`; finite.
    pub score: f64,
    /// The verifier's verdict: no veto fired, and the points reach
    /// [`pass`](HeroConfig::pass) if it is set.
    pub right: bool,
}

/// The rewards of the samples of one group, in their order: HERO's stratified normalisation and
/// its weight of a group (arXiv 2510.07242, section 3).
///
/// ```text
/// ρ_i = (R_i - min R) / (max R - min R + 1e-6)     over the samples with the verdict of i
/// r_i = w (1 - β + 2 β ρ_i)                        if i is right
/// r_i = w (-α + 2 α ρ_i)                           if i is wrong
/// w   = w_min + (w_max - w_min) sigmoid(k (s - σ)) with s the standard deviation of all R
/// ```
///
/// `α`, `β`, `w_min`, `w_max`, `k` (steepness) and `σ` (spread) are of `config`, which has passed
/// its check; `w = 1` without a spread. `s` is that of a sample (`n - 1`), and 0 for one sample. The
/// paper's running mean of `s` is a fixed number here, so that the same numbers always give the
/// same reward.
///
/// Laws: with `w > 0` every right sample earns more than every wrong one; within a stratum the
/// order is the model's; rewards are within `[-α w, (1 + β) w]`; only the order and the relative
/// distances of scores matter, so the model's offset does not.
///
/// ```
/// use guerdon_fusion::{HeroSample, hero};
/// use guerdon_types::HeroConfig;
///
/// let sample = |score, right| HeroSample { score, right };
/// let group = [sample(9.0, false), sample(1.0, true), sample(2.0, true)];
/// let rewards = hero(&HeroConfig::default(), &group);
/// assert!(rewards[0] < rewards[1] && rewards[1] < rewards[2]);
/// ```
#[must_use]
pub fn hero(config: &HeroConfig, samples: &[HeroSample]) -> Vec<f64> {
    let right = ScoreRange::of(samples, true);
    let wrong = ScoreRange::of(samples, false);
    let (alpha, beta) = (config.alpha.get(), config.beta.get());
    let weight = weight(config, samples);
    let reward = |sample: &HeroSample| {
        let stratified = if sample.right {
            1.0 - beta + 2.0 * beta * right.place(sample.score)
        } else {
            -alpha + 2.0 * alpha * wrong.place(sample.score)
        };
        finite(weight * stratified)
    };
    samples.iter().map(reward).collect()
}

/// The weight of a group.
fn weight(config: &HeroConfig, samples: &[HeroSample]) -> f64 {
    let Some(usual) = config.spread else { return 1.0 };
    let spread = Moments::of(samples.iter().map(|sample| sample.score)).std().unwrap_or(0.0);
    let (low, high) = (config.min_weight.get(), config.max_weight.get());
    let above = config.steepness.get() * (spread - usual.get());
    low + (high - low) / (1.0 + (-above).exp())
}

/// The range of the scores of one stratum.
struct ScoreRange {
    low: f64,
    high: f64,
}

impl ScoreRange {
    fn of(samples: &[HeroSample], right: bool) -> Self {
        let scores = samples.iter().filter(|sample| sample.right == right);
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for sample in scores {
            (low, high) = (low.min(sample.score), high.max(sample.score));
        }
        Self { low, high }
    }

    /// The place of a score in the range, within `[0, 1]`.
    fn place(&self, score: f64) -> f64 {
        // Halved, so that differences of great numbers stay finite.
        let (low, high) = (self.low / 2.0, self.high / 2.0);
        ((score / 2.0 - low) / (high - low + EPSILON / 2.0)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::Finite;
    use proptest::prelude::*;

    use super::*;

    fn any_config() -> impl Strategy<Value = HeroConfig> {
        let weights = (0.01..2.0f64, 0.0..2.0f64, 0.0..9.0f64, prop::option::of(0.0..5.0f64));
        (0.0..0.49f64, 0.0..0.49f64, weights).prop_map(|(alpha, beta, (low, more, k, spread))| {
            let finite = |value| Finite::new(value).unwrap();
            let config = HeroConfig {
                alpha: finite(alpha),
                beta: finite(beta),
                pass: None,
                spread: spread.map(finite),
                min_weight: finite(low),
                max_weight: finite(low + more),
                steepness: finite(k),
            };
            config.check().unwrap();
            config
        })
    }

    fn any_group() -> impl Strategy<Value = Vec<HeroSample>> {
        let sample = (-9.0..9.0f64, any::<bool>());
        prop::collection::vec(sample.prop_map(|(score, right)| HeroSample { score, right }), 1..12)
    }

    proptest! {
        #[test]
        fn right_samples_earn_more_than_wrong_ones_whatever_the_model_says(
            config in any_config(), group in any_group(),
        ) {
            let rewards = hero(&config, &group);
            for (one, reward) in group.iter().zip(&rewards) {
                for (other, other_reward) in group.iter().zip(&rewards) {
                    if one.right && !other.right {
                        prop_assert!(reward > other_reward);
                    }
                    if one.right == other.right && one.score <= other.score {
                        prop_assert!(*reward <= other_reward + 1e-12, "the model's order");
                    }
                }
            }
        }

        #[test]
        fn rewards_are_within_the_strata(config in any_config(), group in any_group()) {
            let weight = weight(&config, &group);
            prop_assert!(weight >= config.min_weight.get().min(1.0) - 1e-12);
            prop_assert!(weight <= config.max_weight.get().max(1.0) + 1e-12);
            let (alpha, beta) = (config.alpha.get() * weight, config.beta.get() * weight);
            for (sample, reward) in group.iter().zip(hero(&config, &group)) {
                let from = if sample.right { reward - weight } else { reward };
                let half = if sample.right { beta } else { alpha };
                prop_assert!(from.abs() <= half + 1e-9);
            }
        }

        #[test]
        fn offset_of_the_model_does_not_matter(
            config in any_config(), group in any_group(), shift in -9.0..9.0f64,
        ) {
            let moved: Vec<_> =
                group.iter().map(|one| HeroSample { score: one.score + shift, ..*one }).collect();
            for (one, other) in hero(&config, &group).into_iter().zip(hero(&config, &moved)) {
                prop_assert!((one - other).abs() < 1e-6);
            }
        }

        #[test]
        fn order_of_samples_does_not_matter(config in any_config(), group in any_group()) {
            let mut reversed: Vec<_> = group.clone();
            reversed.reverse();
            let mut rewards = hero(&config, &reversed);
            rewards.reverse();
            for (one, other) in hero(&config, &group).into_iter().zip(rewards) {
                prop_assert!((one - other).abs() < 1e-9);
            }
        }

        #[test]
        fn groups_that_spread_further_weigh_more(config in any_config(), group in any_group()) {
            let wide: Vec<_> =
                group.iter().map(|one| HeroSample { score: 3.0 * one.score, ..*one }).collect();
            prop_assert!(weight(&config, &group) <= weight(&config, &wide) + 1e-12);
        }
    }

    #[test]
    fn known_group() {
        let group = [(4.0, true), (2.0, true), (3.0, true), (9.0, false), (1.0, false)]
            .map(|(score, right)| HeroSample { score, right });
        let rewards = hero(&HeroConfig::default(), &group);
        for (reward, expected) in rewards.iter().zip([1.05, 0.95, 1.0, 0.05, -0.05]) {
            assert!((reward - expected).abs() < 1e-6, "{rewards:?}");
        }
        assert!(hero(&HeroConfig::default(), &[]).is_empty());
        let far = [f64::MAX, f64::MIN].map(|score| HeroSample { score, right: true });
        assert!(hero(&HeroConfig::default(), &far).iter().all(|reward| reward.is_finite()));
    }
}
