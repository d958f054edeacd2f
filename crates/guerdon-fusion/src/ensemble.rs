//! Ensembles: the values of several sources as one value, with their disagreement.

use guerdon_types::{Combine, CombineMethod};

use crate::normalise::{Moments, finite};

/// The value of an ensemble.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnsembleValue {
    /// The value, in the unit of the members' values.
    pub value: f64,
    /// The disagreement of the members: the standard deviation of a sample,
    /// `sqrt(sum (v - mean)^2 / (n - 1))`; 0 for a single member.
    pub uncertainty: f64,
}

/// Combines the `values` of an ensemble's members, which are finite and on one scale; `None` if
/// there are none.
///
/// | method | value | source |
/// |---|---|---|
/// | `mean` | `m = sum v / n` | |
/// | `median` | the middle value, or the mean of both middle ones | |
/// | `min` | the lowest value | worst-case optimisation, arXiv 2310.02743 |
/// | `lcb` | `m - k s`, with `s` the uncertainty | lower confidence bound; arXiv 2310.02743 subtracts the variance |
/// | `soft_min` | `-beta log(sum exp(-v / beta) / n)` | arXiv 2606.09073 |
///
/// The result is always finite. It never falls when a value rises, except for `lcb`: a member that
/// rises away from the others raises the disagreement, too. `min <= soft_min <= mean`, and
/// `lcb <= mean`. The order of the values does not matter beyond rounding.
///
/// ```
/// use guerdon_fusion::combine;
/// use guerdon_types::Combine;
///
/// let lcb: Combine = serde_json::from_str(r#"{"method": "lcb", "k": 0.5}"#)?;
/// let combined = combine(&lcb, &[1.0, 2.0, 3.0]).unwrap();
/// assert_eq!((combined.value, combined.uncertainty), (1.5, 1.0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn combine(combine: &Combine, values: &[f64]) -> Option<EnsembleValue> {
    let lowest = values.iter().copied().reduce(f64::min)?;
    let highest = values.iter().copied().reduce(f64::max)?;
    let moments = Moments::of(values.iter().copied());
    // Rounding must not take the mean out of the range of the values.
    let mean = moments.mean().clamp(lowest, highest);
    let uncertainty = moments.std().unwrap_or(0.0);
    let value = match combine.method {
        CombineMethod::Median => median(values),
        CombineMethod::Min => lowest,
        CombineMethod::Lcb => mean - combine.k.get() * uncertainty,
        CombineMethod::SoftMin => {
            let terms = values.iter().map(|&value| Term { value, weight: 1.0 });
            soft_min(terms, combine.beta.get()).unwrap_or(mean)
        }
        // `CombineMethod` is non_exhaustive; every method of this version has an arm.
        _ => mean,
    };
    Some(EnsembleValue { value: finite(value), uncertainty: finite(uncertainty) })
}

/// A value with its weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// The value; finite.
    pub value: f64,
    /// Its weight; finite, 0 or more.
    pub weight: f64,
}

/// The weighted soft minimum `-beta log(sum w exp(-v / beta) / sum w)` with `beta > 0`; `None` if
/// no term has a weight above 0. It lies between the lowest of these values and their weighted
/// mean.
#[must_use]
pub fn soft_min(terms: impl Iterator<Item = Term> + Clone, beta: f64) -> Option<f64> {
    let counted = terms.filter(|term| term.weight > 0.0);
    let lowest = counted.clone().map(|term| term.value).reduce(f64::min)?;
    let highest = counted.clone().map(|term| term.value).reduce(f64::max)?;
    // Weights relative to the greatest, and values relative to the lowest: nothing overflows.
    let heaviest = counted.clone().map(|term| term.weight).fold(0.0, f64::max);
    let (mut total, mut above, mut excess) = (0.0, 0.0, 0.0);
    for term in counted {
        let weight = term.weight / heaviest;
        let distance = finite(term.value - lowest);
        total += weight;
        above += weight * (distance / 2.0);
        excess += weight * (-distance / beta).exp_m1();
    }
    let mean = (lowest / 2.0 + above / total) * 2.0;
    let mean = mean.clamp(lowest, highest);
    // exp_m1 and ln_1p keep small differences exact, down to a temperature near infinity.
    let soft = lowest - beta * (excess / total).ln_1p();
    // Rounding must not take the result out of its range.
    Some(if soft.is_finite() { soft.clamp(lowest, mean) } else { lowest })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let at = |place: usize| sorted.get(place).copied().unwrap_or(0.0);
    if sorted.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle - 1), at(middle)) }
}

#[cfg(test)]
mod tests {
    use guerdon_types::Finite;
    use proptest::prelude::*;

    use super::*;

    const METHODS: [CombineMethod; 5] = [
        CombineMethod::Mean,
        CombineMethod::Median,
        CombineMethod::Min,
        CombineMethod::Lcb,
        CombineMethod::SoftMin,
    ];

    fn of(method: CombineMethod, values: &[f64]) -> f64 {
        with(Combine { method, ..Combine::default() }, values)
    }

    fn with(how: Combine, values: &[f64]) -> f64 {
        combine(&how, values).unwrap().value
    }

    fn any_values() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(-50.0..50.0f64, 1..9)
    }

    proptest! {
        #[test]
        fn soft_minimum_is_between_minimum_and_mean(values in any_values(), beta in 1e-3..1e6f64) {
            let beta = Finite::new(beta).unwrap();
            let soft = with(Combine { method: CombineMethod::SoftMin, beta, ..Combine::default() }, &values);
            prop_assert!(of(CombineMethod::Min, &values) <= soft);
            prop_assert!(soft <= of(CombineMethod::Mean, &values));
        }

        #[test]
        fn soft_minimum_tends_to_the_minimum_and_to_the_mean(values in any_values()) {
            let at = |beta: f64| {
                let beta = Finite::new(beta).unwrap();
                with(Combine { method: CombineMethod::SoftMin, beta, ..Combine::default() }, &values)
            };
            prop_assert!((at(1e-4) - of(CombineMethod::Min, &values)).abs() < 1e-2);
            prop_assert!((at(1e9) - of(CombineMethod::Mean, &values)).abs() < 1e-3);
            prop_assert!(at(0.5) <= at(2.0) + 1e-9, "a higher temperature is milder");
        }

        #[test]
        fn higher_members_never_lower_the_value(
            values in any_values(), place in 0usize..9, step in 0.0..50.0f64,
        ) {
            let mut raised = values.clone();
            let place = place % values.len();
            raised[place] += step;
            for method in METHODS.into_iter().filter(|method| *method != CombineMethod::Lcb) {
                prop_assert!(of(method, &values) <= of(method, &raised) + 1e-9, "{method:?}");
            }
        }

        #[test]
        fn shifted_and_scaled_members_shift_and_scale_the_value(
            values in any_values(), shift in -9.0..9.0f64, scale in 0.1..9.0f64,
        ) {
            let moved: Vec<f64> = values.iter().map(|value| scale * value + shift).collect();
            for method in METHODS.into_iter().filter(|method| *method != CombineMethod::SoftMin) {
                let expected = scale * of(method, &values) + shift;
                prop_assert!((of(method, &moved) - expected).abs() < 1e-6, "{method:?}");
            }
            // A temperature has the unit of the values.
            let beta = Finite::new(scale).unwrap();
            let soft = with(Combine { method: CombineMethod::SoftMin, beta, ..Combine::default() }, &moved);
            prop_assert!((soft - (scale * of(CombineMethod::SoftMin, &values) + shift)).abs() < 1e-6);
        }

        #[test]
        fn order_of_members_does_not_matter(values in any_values()) {
            let mut reversed = values.clone();
            reversed.reverse();
            for method in METHODS {
                prop_assert!((of(method, &values) - of(method, &reversed)).abs() < 1e-9);
            }
        }

        #[test]
        fn equal_members_agree_whatever_the_method(value in -50.0..50.0f64, count in 1usize..9) {
            for method in METHODS {
                let how = Combine { method, ..Combine::default() };
                let combined = combine(&how, &vec![value; count]).unwrap();
                prop_assert!((combined.value - value).abs() < 1e-12 && combined.uncertainty < 1e-12);
            }
        }

        #[test]
        fn any_finite_members_have_a_finite_value(
            values in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 1..6),
        ) {
            for method in METHODS {
                let combined = combine(&Combine { method, ..Combine::default() }, &values).unwrap();
                prop_assert!(combined.value.is_finite() && combined.uncertainty.is_finite(), "{method:?}");
                prop_assert!(combined.uncertainty >= 0.0);
            }
        }

        #[test]
        fn disagreement_never_raises_the_lower_bound_above_the_mean(values in any_values(), k in 0.0..9.0f64) {
            let k = Finite::new(k).unwrap();
            let bound = with(Combine { method: CombineMethod::Lcb, k, ..Combine::default() }, &values);
            prop_assert!(bound <= of(CombineMethod::Mean, &values));
        }
    }

    #[test]
    fn no_members_have_no_value() {
        for method in METHODS {
            assert_eq!(combine(&Combine { method, ..Combine::default() }, &[]), None);
        }
        assert_eq!(soft_min([Term { value: 1.0, weight: 0.0 }].into_iter(), 1.0), None);
    }

    #[test]
    fn known_values() {
        let values = [4.0, 1.0, 3.0, 2.0];
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
        near(of(CombineMethod::Mean, &values), 2.5);
        near(of(CombineMethod::Median, &values), 2.5);
        near(of(CombineMethod::Median, &values[..3]), 3.0);
        near(of(CombineMethod::Min, &values), 1.0);
        let soft =
            -((-4f64).exp() + (-1f64).exp() + (-3f64).exp() + (-2f64).exp()).ln() + 4f64.ln();
        assert!((of(CombineMethod::SoftMin, &values) - soft).abs() < 1e-12);
        let std = (5f64 / 3.0).sqrt();
        assert!((of(CombineMethod::Lcb, &values) - (2.5 - std)).abs() < 1e-12);
        // A term of weight 2 counts twice.
        let weighted = soft_min(
            [(1.0, 2.0), (3.0, 1.0)].map(|(value, weight)| Term { value, weight }).into_iter(),
            1.0,
        );
        let expected = of(CombineMethod::SoftMin, &[1.0, 1.0, 3.0]);
        assert!((weighted.unwrap() - expected).abs() < 1e-12);
    }
}
