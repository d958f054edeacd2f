//! The plain weighted sum of the sources, a baseline.

use guerdon_types::Weights;

use crate::Standing;
use crate::table::TurnSignals;

/// `R_total = w_rm R + Σ_k w_k · clip(E_k, -n, n) / n` over the sources that answered; `None` if
/// none did.
///
/// `R` is the calibrated RM score, `E_k` the points of judge, rules and other sources, `n > 0` the
/// bound that turns points into units of reward. A judge or rule source that abstained leaves the
/// sum. The sum is `None` if no source answered, or if a base source (RM) was asked and abstained:
/// without its term the number would be on another scale.
#[must_use]
pub fn weighted_sum(signals: &TurnSignals, weights: &Weights, bound: f64) -> Option<f64> {
    if signals.lacks_base() {
        return None;
    }
    let value = |standing: Option<Standing>| standing.and_then(Standing::value);
    let scaled = |points: f64| points.clamp(-bound, bound) / bound;
    let terms = [
        value(signals.rm).map(|rm| weights.rm.get() * rm),
        value(signals.judge).map(|points| weights.judge.get() * scaled(points)),
        value(signals.rules).map(|points| weights.rules.get() * scaled(points)),
        value(signals.other).map(|points| weights.other.get() * scaled(points)),
    ];
    terms.into_iter().flatten().reduce(|sum, term| sum + term)
}

#[cfg(test)]
mod tests {
    use guerdon_types::Finite;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn weights(rm: f64, judge: f64, rules: f64) -> Weights {
        let finite = |value| Finite::new(value).unwrap();
        Weights { rm: finite(rm), judge: finite(judge), rules: finite(rules), other: Finite::ONE }
    }

    proptest! {
        #[test]
        fn sum_is_bounded_by_the_rm_and_the_weights(rm in -9.0..9.0f64, judge in -500.0..500.0f64, rules in -500.0..500.0f64) {
            let [rm_term, judge, rules] = [rm, judge, rules].map(|value| Some(Standing::Scored(value)));
            let signals = TurnSignals { rm: rm_term, judge, rules, ..TurnSignals::default() };
            let reward = weighted_sum(&signals, &weights(0.5, 2.0, 3.0), 100.0).unwrap();
            prop_assert!(reward.abs() <= 0.5 * rm.abs() + 5.0 + 1e-12);
        }

        #[test]
        fn sum_never_falls_when_a_part_rises(rm in -9.0..9.0f64, a in -500.0..500.0f64, b in -500.0..500.0f64) {
            let with = |points| {
                let (rm, judge) = (Some(Standing::Scored(rm)), Some(Standing::Scored(points)));
                TurnSignals { rm, judge, ..TurnSignals::default() }
            };
            let weights = weights(1.0, 0.7, 1.0);
            prop_assert!(weighted_sum(&with(a.min(b)), &weights, 100.0) <= weighted_sum(&with(a.max(b)), &weights, 100.0));
        }

        #[test]
        fn sum_of_a_single_source_is_its_term(rm in option::of(-9.0..9.0f64)) {
            let signals = TurnSignals { rm: rm.map(Standing::Scored), ..TurnSignals::default() };
            prop_assert_eq!(weighted_sum(&signals, &Weights::default(), 100.0), rm);
        }
    }

    #[test]
    fn sum_without_signals_is_none_and_not_zero() {
        assert_eq!(weighted_sum(&TurnSignals::default(), &Weights::default(), 100.0), None);
    }
}
