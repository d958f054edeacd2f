//! Functions that combine several rewards of one rollout into one, other than a weighted sum.
//!
//! They take numbers only; the caller decides what to do if a source abstained.

use crate::error::{OptimError, require};

/// Computes REPO's reward enhancement (arXiv 2510.04214): `rm + |rm| E / n` with
/// `E = clip(points, -n, n)`.
///
/// `rm` is the calibrated score of the reward model, `points` is the sum of the judge's and the
/// rules' points, and `bound` is `n`, above 0 (the paper's is 100). The result has the sign of `rm`
/// or is 0, and its magnitude is at most `2 |rm|`. If `rm` is near 0, the points have no effect:
/// see [`dead_zone`](crate::monitors::MonitorReport::dead_zone).
///
/// # Errors
/// [`OptimError::Config`] for a bound that is not finite and above 0.
pub fn repo(rm: f64, points: f64, bound: f64) -> Result<f64, OptimError> {
    require(bound > 0.0 && bound.is_finite(), "bound", bound, "finite and above 0")?;
    // The published two-case form: a product cannot change its sign by a rounding error.
    let ratio = points.clamp(-bound, bound) / bound;
    Ok(if rm >= 0.0 { rm * (1.0 + ratio) } else { rm * (1.0 - ratio) })
}

/// Computes preference as reward: `sigmoid(reward - reference)`, the probability that the reward
/// model prefers this answer to a reference answer. It is within 0..=1 and independent of the
/// model's offset. Source: Fu et al. (arXiv 2502.18770), equation 5.
pub fn preference(reward: f64, reference: f64) -> f64 {
    (1.0 + (reference - reward).exp()).recip()
}

/// Computes the soft minimum `-(1/k) ln(mean(e^(-k z)))` of standardised rewards `z`; `None` if
/// there are none.
///
/// `sharpness` is `k`, 0 or more: 0 gives the mean, infinity the minimum. For small `k` it is about
/// `mean - (k / 2) variance`, a penalty for rewards that disagree. Source: RVPO (arXiv 2605.05750).
///
/// # Errors
/// [`OptimError::Config`] for a negative or NaN sharpness.
pub fn soft_min(sharpness: f64, rewards: &[f64]) -> Result<Option<f64>, OptimError> {
    require(sharpness >= 0.0, "sharpness", sharpness, "0 or more")?;
    if rewards.is_empty() {
        return Ok(None);
    }
    let (least, count) =
        (rewards.iter().copied().fold(f64::INFINITY, f64::min), rewards.len() as f64);
    if sharpness.is_infinite() {
        return Ok(Some(least));
    }
    // Relative to the minimum, so that no exponential overflows. exp_m1 and ln_1p stay accurate for
    // a small k.
    let excess =
        rewards.iter().map(|reward| (-sharpness * (reward - least)).exp_m1()).sum::<f64>() / count;
    let mean = rewards.iter().map(|reward| reward - least).sum::<f64>() / count;
    let above = if sharpness * mean < 1e-12 { mean } else { -excess.ln_1p() / sharpness };
    Ok(Some(least + above))
}

/// Applies a hard gate: returns `reward` if `passed`, else the lower of `reward` and `floor`.
/// REPO's enhancement alone cannot forbid anything: a good `rm` with all points lost is 0 and never
/// negative. Source: CGPO (arXiv 2409.20370).
pub fn veto(reward: f64, passed: bool, floor: f64) -> f64 {
    if passed { reward } else { reward.min(floor) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};

    use super::{preference, repo, soft_min, veto};
    use crate::testing::assert_close;

    #[test]
    fn a_veto_never_raises_a_reward() {
        assert_close(
            &[veto(2.0, true, -1.0), veto(2.0, false, -1.0), veto(-3.0, false, -1.0)],
            &[2.0, -1.0, -3.0],
            0.0,
        );
    }

    #[test]
    fn a_preference_is_bounded_and_one_half_at_the_reference() {
        assert_close(
            &[preference(3.0, 3.0), preference(1e9, 0.0), preference(-1e9, 0.0)],
            &[0.5, 1.0, 0.0],
            1e-15,
        );
    }

    #[test]
    fn a_soft_minimum_goes_from_the_mean_to_the_minimum() {
        let z = [1.0, -2.0, 0.5];
        let at = |k| soft_min(k, &z).unwrap().unwrap();
        assert_close(
            &[at(0.0), at(1e-9), at(f64::INFINITY), at(1e3)],
            &[-0.5 / 3.0, -0.5 / 3.0, -2.0, -2.0],
            2e-3,
        );
        assert_eq!(soft_min(1.0, &[]).unwrap(), None);
        assert!(soft_min(-1.0, &z).is_err());
    }

    proptest! {
        #[test]
        fn a_soft_minimum_is_between_minimum_and_mean_and_falls_as_it_sharpens(
            z in prop::collection::vec(-3.0_f64..3.0, 1..6),
            k in 0.0_f64..20.0,
            more in 0.0_f64..20.0,
        ) {
            let at = |k| soft_min(k, &z).unwrap().unwrap();
            let (soft, sharper) = (at(k), at(k + more));
            let mean = z.iter().sum::<f64>() / z.len() as f64;
            let least = z.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(least - 1e-9 <= sharper && sharper <= soft + 1e-9 && soft <= mean + 1e-9);
        }

        #[test]
        fn the_enhancement_is_monotonic_bounded_and_keeps_the_sign(
            rm in -5.0_f64..5.0,
            a in -300.0_f64..300.0,
            b in -300.0_f64..300.0,
            step in 0.0_f64..3.0,
        ) {
            let at = |rm, points| repo(rm, points, 100.0).unwrap();
            assert!(at(rm, a) * rm >= 0.0 && at(rm, a).abs() <= 2.0 * rm.abs());
            assert!(at(rm, a.min(b)) <= at(rm, a.max(b)));
            assert!(at(rm, a) <= at(rm + step, a));
            assert!(at(rm + step, a) - at(rm, a) <= 2.0 * step + 1e-12);
            assert_eq!(at(rm, 0.0).to_bits(), rm.to_bits());
            assert_eq!(at(rm, a).to_bits(), at(rm, a.clamp(-100.0, 100.0)).to_bits());
            assert_close(&[at(-rm.abs(), -100.0)], &[-2.0 * rm.abs()], 1e-15);
            // The paper's two-case form equals the one-line form.
            assert_close(&[at(rm, a)], &[rm + rm.abs() * a.clamp(-100.0, 100.0) / 100.0], 1e-12);
        }
    }
}
