//! The weighted sum of the sources, a baseline, and the soft minimum of its terms.

use guerdon_types::Weights;

use crate::ensemble::{Term, soft_min};
use crate::table::TurnSignals;
use crate::{Channel, Standing};

/// `R_total = w_rm R + Σ_k w_k · clip(E_k, -n, n) / n` over the sources that answered; `None` if
/// none did.
///
/// `R` is the calibrated RM score, `E_k` the points of each judge, rules and other source, `n > 0` the
/// bound that turns points into units of reward. A judge or rule source that abstained leaves the
/// sum. The sum is `None` if no source answered, or if a base source (RM) was asked and abstained:
/// without its term the number would be on another scale.
#[must_use]
pub fn weighted_sum(signals: &TurnSignals, weights: &Weights, bound: f64) -> Option<f64> {
    if signals.lacks_base() {
        return None;
    }
    let terms = terms(signals, weights, bound);
    terms.map(|term| term.weight * term.value).reduce(|sum, term| sum + term)
}

/// The soft minimum of the same terms, `-beta log(Σ w_k exp(-t_k / beta) / Σ w_k)`, with `t_k` the
/// calibrated RM score or `clip(E_k, -n, n) / n`, and `beta > 0` in their unit; see
/// [`soft_min`](crate::soft_min). Sources: RVPO (arXiv 2605.05750) and arXiv 2606.09073.
///
/// It lies between the lowest term and their weighted mean: a reply must be good for every source,
/// and a source cannot make up for another's low term. A source with weight 0 has no say. `None`
/// as for [`weighted_sum`], or if no source with a weight answered.
#[must_use]
pub fn soft_min_of_terms(
    signals: &TurnSignals,
    weights: &Weights,
    bound: f64,
    beta: f64,
) -> Option<f64> {
    if signals.lacks_base() {
        return None;
    }
    soft_min(terms(signals, weights, bound), beta)
}

/// The terms of the sources that answered, in the order RM, judge, rules, others.
fn terms<'a>(
    signals: &'a TurnSignals,
    weights: &Weights,
    bound: f64,
) -> impl Iterator<Item = Term> + Clone + use<'a> {
    let base = signals.rm.and_then(Standing::value);
    let base = base.map(|value| Term { value, weight: weights.rm.get() });
    let channels = [
        (Channel::Judge, weights.judge),
        (Channel::Rules, weights.rules),
        (Channel::Other, weights.other),
    ];
    let points = channels.into_iter().flat_map(move |(channel, weight)| {
        signals.points_of(channel).map(move |points| Term {
            value: points.clamp(-bound, bound) / bound,
            weight: weight.get(),
        })
    });
    base.into_iter().chain(points)
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
        fn soft_minimum_is_between_the_lowest_term_and_their_weighted_mean(
            rm in -9.0..9.0f64, judge in -500.0..500.0f64, rules in -500.0..500.0f64, beta in 0.01..50.0f64,
        ) {
            let scored = |value| Some(Standing::Scored(value));
            let signals = TurnSignals {
                rm: scored(rm), judge: scored(judge), rules: scored(rules), ..TurnSignals::default()
            };
            let weights = weights(0.5, 2.0, 3.0);
            let reward = soft_min_of_terms(&signals, &weights, 100.0, beta).unwrap();
            let lowest = rm.min(judge.clamp(-100.0, 100.0) / 100.0).min(rules.clamp(-100.0, 100.0) / 100.0);
            let mean = weighted_sum(&signals, &weights, 100.0).unwrap() / 5.5;
            prop_assert!(lowest - 1e-12 <= reward && reward <= mean + 1e-12);
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
