//! The paper's fusion: a bounded, sign-keeping modulation of the reward model by judge and rules.

/// The enhancement `E = clip(points, -n, +n)`, in points. `bound` is `n > 0`.
#[must_use]
pub fn enhancement(points: f64, bound: f64) -> f64 {
    points.clamp(-bound, bound)
}

/// REPO's reward enhancement (arXiv 2510.04214, the reward formulation):
///
/// ```text
/// R_total = R + |R| · E / n,   E = clip(E_judge + E_func, -n, +n)
/// ```
///
/// which is `R (1 + E/n)` for `R >= 0` and `R (1 - E/n)` for `R < 0`. `rm` is the calibrated score
/// `R`, `enhancement` is `E` in points within `[-n, n]`, `bound` is `n > 0`. The result is in `R`'s
/// units.
///
/// Laws, each a test below: `|R_total| <= 2 |R|`; the sign of `R` is kept or becomes zero; it never
/// falls when `E` rises, nor when `R` rises; `E = 0` changes nothing. And one to know: `R = 0`
/// silences every patch.
///
/// ```
/// use guerdon_fusion::repo;
///
/// assert_eq!(repo(2.0, -50.0, 100.0), 1.0); // good reply, broke a rule: weakened
/// assert_eq!(repo(-2.0, -50.0, 100.0), -3.0); // bad reply, broke a rule: punished more
/// assert_eq!(repo(-2.0, 50.0, 100.0), -1.0); // bad reply, but comforting: punished less
/// ```
#[must_use]
pub fn repo(rm: f64, enhancement: f64, bound: f64) -> f64 {
    // The published two-case form, not `R + |R| E/n`: a product cannot overshoot zero by a rounding
    // error.
    let ratio = enhancement / bound;
    if rm >= 0.0 { rm * (1.0 + ratio) } else { rm * (1.0 - ratio) }
}

/// [`repo`] with a floor `delta >= 0` for the size of the score that points modulate, in `rm`'s
/// units:
///
/// ```text
/// R_total = R + max(|R|, delta) · E / n
/// ```
///
/// With `delta = 0` it is [`repo`], bit by bit. A greater one lets points act where the reward
/// model is undecided: [`repo`] leaves a score of 0 at 0, whatever the points are.
///
/// Laws: `|R_total| <= |R| + max(|R|, delta)`; the sign can change only where `|R| < delta`; it
/// never falls when `E` or `R` rises; `E = 0` changes nothing.
///
/// ```
/// use guerdon_fusion::{repo, repo_with_floor};
///
/// assert_eq!(repo(0.0, -50.0, 100.0), 0.0); // an undecided model silences the rule
/// assert_eq!(repo_with_floor(0.0, -50.0, 100.0, 0.2), -0.1); // with a floor the rule counts
/// assert_eq!(repo_with_floor(2.0, -50.0, 100.0, 0.2), repo(2.0, -50.0, 100.0));
/// ```
#[must_use]
pub fn repo_with_floor(rm: f64, enhancement: f64, bound: f64, delta: f64) -> f64 {
    if rm.abs() >= delta {
        repo(rm, enhancement, bound)
    } else {
        rm + delta * (enhancement / bound)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const N: f64 = 100.0;

    fn floored(rm: f64, points: f64, delta: f64) -> f64 {
        repo_with_floor(rm, enhancement(points, N), N, delta)
    }

    fn fused(rm: f64, points: f64) -> f64 {
        repo(rm, enhancement(points, N), N)
    }

    proptest! {
        #[test]
        fn the_reward_is_within_twice_the_rm(rm in -1e6..1e6f64, points in -1e4..1e4f64) {
            prop_assert!(fused(rm, points).abs() <= 2.0 * rm.abs());
        }

        #[test]
        fn the_sign_of_the_rm_is_never_flipped(rm in -1e3..1e3f64, points in -1e4..1e4f64) {
            prop_assert!(fused(rm, points) * rm >= 0.0);
        }

        #[test]
        fn more_points_never_earn_less(rm in -1e3..1e3f64, a in -300.0..300.0f64, b in -300.0..300.0f64) {
            prop_assert!(fused(rm, a.min(b)) <= fused(rm, a.max(b)));
        }

        #[test]
        fn a_better_rm_never_earns_less(points in -300.0..300.0f64, a in -1e3..1e3f64, b in -1e3..1e3f64) {
            prop_assert!(fused(a.min(b), points) <= fused(a.max(b), points));
        }

        #[test]
        fn no_points_change_nothing(rm in -1e3..1e3f64) {
            prop_assert_eq!(fused(rm, 0.0).to_bits(), rm.to_bits());
        }

        #[test]
        fn the_paper_s_two_forms_agree(rm in -1e3..1e3f64, points in -300.0..300.0f64) {
            let e = enhancement(points, N);
            prop_assert!((fused(rm, points) - (rm + rm.abs() * e / N)).abs() <= 1e-12 * rm.abs().max(1.0));
        }

        #[test]
        fn floor_of_zero_is_the_paper_s_method_bit_by_bit(
            rm in prop::num::f64::ANY, points in -300.0..300.0f64,
        ) {
            prop_assert_eq!(floored(rm, points, 0.0).to_bits(), fused(rm, points).to_bits());
        }

        #[test]
        fn floor_bounds_the_reward_and_keeps_the_sign_of_decided_scores(
            rm in -3.0..3.0f64, points in -300.0..300.0f64, delta in 0.0..2.0f64,
        ) {
            let reward = floored(rm, points, delta);
            prop_assert!(reward.abs() <= rm.abs() + rm.abs().max(delta) + 1e-12);
            if rm.abs() >= delta {
                prop_assert!(reward * rm >= 0.0);
            }
            prop_assert_eq!(floored(rm, 0.0, delta).to_bits(), rm.to_bits());
        }

        #[test]
        fn with_a_floor_more_points_and_a_better_rm_never_earn_less(
            rm in -3.0..3.0f64, points in -300.0..300.0f64, step in 0.0..3.0f64, delta in 0.0..2.0f64,
        ) {
            let here = floored(rm, points, delta);
            prop_assert!(floored(rm, points + 100.0 * step, delta) >= here - 1e-12);
            prop_assert!(floored(rm + step, points, delta) >= here - 1e-12);
        }

        #[test]
        fn with_a_floor_points_act_on_an_undecided_score(
            rm in -0.1..0.1f64, points in 1.0..100.0f64, delta in 0.2..2.0f64,
        ) {
            let change = floored(rm, points, delta) - rm;
            prop_assert!((change - delta * points / N).abs() < 1e-12);
        }

        #[test]
        fn the_reward_moves_at_most_twice_as_far_as_the_rm(points in -300.0..300.0f64, a in -1e3..1e3f64, b in -1e3..1e3f64) {
            prop_assert!((fused(a, points) - fused(b, points)).abs() <= 2.0 * (a - b).abs() + 1e-9);
        }
    }

    #[test]
    fn full_deduction_takes_a_good_reward_to_zero_and_doubles_a_bad_one() {
        assert!(fused(3.0, -250.0).abs() < f64::EPSILON);
        assert!((fused(-3.0, -250.0) + 6.0).abs() < 1e-12);
    }
}
