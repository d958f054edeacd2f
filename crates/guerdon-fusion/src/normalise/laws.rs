//! The laws of normalisers, as properties of any normaliser and any reference set.

use guerdon_types::{Calibration, Finite};
use proptest::prelude::*;

use super::*;
use crate::calibrate;

fn number() -> impl Strategy<Value = Finite> {
    (-1e3..1e3f64).prop_map(|value| Finite::new(value).unwrap())
}

/// Any normaliser that passes its check.
fn any_normaliser() -> impl Strategy<Value = Normaliser> {
    let std = (1e-3..1e3f64).prop_map(|value| Finite::new(value).unwrap());
    let running = prop::collection::vec(-1e3..1e3f64, 0..9).prop_map(|values| {
        let samples: Vec<_> = values.iter().map(|&value| Sample { value, length: 0 }).collect();
        fit_running(&samples)
    });
    let knots = prop::collection::vec(-20..20i32, 2..30).prop_map(|mut knots| {
        knots.sort_unstable();
        knots.push(21);
        Normaliser::Quantile { knots: knots.into_iter().map(Finite::from).collect() }
    });
    prop_oneof![
        Just(Normaliser::Raw),
        number().prop_map(|mean| Normaliser::Centred { mean }),
        (number(), std).prop_map(|(mean, std)| Normaliser::Standardised { mean, std }),
        running,
        knots,
        (number(), any::<bool>())
            .prop_map(|(reference, centred)| Normaliser::Par { reference, centred }),
        (number(), number())
            .prop_map(|(slope, mean_length)| Normaliser::LengthDebias { slope, mean_length }),
    ]
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -30.0..30.0f64,
        2 => -1e4..1e4f64,
        1 => prop::num::f64::NORMAL,
        1 => (-21..22i32).prop_map(f64::from),
    ]
}

const KINDS: [FitKind; 6] = [
    FitKind::Centred,
    FitKind::Standardised,
    FitKind::Running,
    FitKind::Quantile,
    FitKind::Par,
    FitKind::LengthDebias,
];

fn samples(values: &[f64]) -> Vec<Sample> {
    let length = |place: usize| (place * 37) % 101;
    values.iter().enumerate().map(|(i, &value)| Sample { value, length: length(i) }).collect()
}

proptest! {
    #[test]
    fn every_normaliser_is_total_and_never_reverses_an_order(
        normaliser in any_normaliser(), a in any_value(), b in any_value(), length in 0usize..10_000,
    ) {
        prop_assert!(normaliser.check().is_ok(), "{normaliser:?}");
        let at = |value| normalise(&normaliser, value, length);
        prop_assert!(at(a).is_finite() && at(b).is_finite());
        prop_assert!(at(a.min(b)) <= at(a.max(b)), "{normaliser:?}");
    }

    #[test]
    fn bounded_kinds_stay_within_their_bounds(normaliser in any_normaliser(), value in any_value()) {
        let result = normalise(&normaliser, value, 7);
        match normaliser {
            Normaliser::Quantile { .. } => prop_assert!(result.abs() <= 1.0),
            Normaliser::Par { centred: true, .. } => prop_assert!(result.abs() <= 0.5),
            Normaliser::Par { .. } => prop_assert!((0.0..=1.0).contains(&result)),
            _ => {}
        }
    }

    /// A fit on `scale x + shift` gives `scale x + shift` what a fit on `x` gives `x`.
    #[test]
    fn fitted_normalisers_are_equivariant(
        values in prop::collection::vec(-9.0..9.0f64, 3..30), scale in 0.1..9.0f64, shift in -9.0..9.0f64,
    ) {
        let moved: Vec<f64> = values.iter().map(|value| scale * value + shift).collect();
        let (one, other) = (samples(&values), samples(&moved));
        for kind in KINDS {
            let (Ok(fitted), Ok(fitted_moved)) = (fit(kind, &one), fit(kind, &other)) else { continue };
            for (sample, sample_moved) in one.iter().zip(&other) {
                let result = normalise(&fitted, sample.value, sample.length);
                let result_moved = normalise(&fitted_moved, sample_moved.value, sample_moved.length);
                let expected = match kind {
                    FitKind::Standardised | FitKind::Running | FitKind::Quantile => result,
                    FitKind::Centred => scale * result,
                    FitKind::LengthDebias => scale * result + shift,
                    // A sigmoid knows its unit: only the shift is taken out.
                    FitKind::Par if (scale - 1.0).abs() < f64::EPSILON => result,
                    _ => continue,
                };
                prop_assert!((result_moved - expected).abs() < 1e-6, "{kind:?}: {result_moved} is not {expected}");
            }
        }
    }

    #[test]
    fn preference_as_reward_ignores_the_model_s_offset(
        values in prop::collection::vec(-9.0..9.0f64, 1..30), shift in -9.0..9.0f64,
    ) {
        let moved: Vec<f64> = values.iter().map(|value| value + shift).collect();
        let one = fit(FitKind::Par, &samples(&values)).unwrap();
        let other = fit(FitKind::Par, &samples(&moved)).unwrap();
        for (value, moved) in values.iter().zip(&moved) {
            prop_assert!((normalise(&one, *value, 0) - normalise(&other, *moved, 0)).abs() < 1e-9);
        }
    }

    #[test]
    fn a_second_fit_on_normalised_values_changes_nothing(
        values in prop::collection::vec(-9.0..9.0f64, 3..30),
    ) {
        for kind in [FitKind::Centred, FitKind::Standardised, FitKind::Running, FitKind::LengthDebias] {
            let first = samples(&values);
            let Ok(fitted) = fit(kind, &first) else { continue };
            let again: Vec<Sample> = first
                .iter()
                .map(|one| Sample { value: normalise(&fitted, one.value, one.length), ..*one })
                .collect();
            let Ok(second) = fit(kind, &again) else { continue };
            for one in &again {
                let result = normalise(&second, one.value, one.length);
                prop_assert!((result - one.value).abs() < 1e-6, "{kind:?}");
            }
        }
    }

    #[test]
    fn standardised_reference_values_have_mean_zero_and_deviation_one(
        values in prop::collection::vec(-9.0..9.0f64, 3..30),
    ) {
        for kind in [FitKind::Standardised, FitKind::Running] {
            let Ok(fitted) = fit(kind, &samples(&values)) else { continue };
            let moments = Moments::of(values.iter().map(|value| normalise(&fitted, *value, 0)));
            prop_assert!(moments.mean().abs() < 1e-6);
            prop_assert!((moments.std().unwrap() - 1.0).abs() < 1e-6);
        }
    }

    /// Length explains nothing of what is left.
    #[test]
    fn debiased_values_do_not_depend_on_length(
        values in prop::collection::vec(-9.0..9.0f64, 3..30),
    ) {
        let samples = samples(&values);
        let fitted = fit(FitKind::LengthDebias, &samples).unwrap();
        let rest: Vec<Sample> = samples
            .iter()
            .map(|one| Sample { value: normalise(&fitted, one.value, one.length), ..*one })
            .collect();
        let Ok(Normaliser::LengthDebias { slope, .. }) = fit(FitKind::LengthDebias, &rest) else {
            panic!("a slope")
        };
        prop_assert!(slope.get().abs() < 1e-9);
    }

    #[test]
    fn calibrations_and_normalisers_agree_bit_by_bit(
        value in -1e6..1e6f64, mean in number(), std in 1e-3..1e3f64,
    ) {
        let std = Finite::new(std).unwrap();
        for calibration in
            [Calibration::Raw, Calibration::Centred { mean }, Calibration::Standardised { mean, std }]
        {
            let normalised = normalise(&calibration.into(), value, 5);
            prop_assert_eq!(normalised.to_bits(), calibrate(&calibration, value).to_bits());
        }
    }

    #[test]
    fn frozen_moments_are_standardised_numbers(
        values in prop::collection::vec(-9.0..9.0f64, 3..30), value in -30.0..30.0f64,
    ) {
        let samples = samples(&values);
        let running = fit(FitKind::Running, &samples).unwrap();
        if let Ok(standardised) = fit(FitKind::Standardised, &samples) {
            prop_assert!((normalise(&running, value, 0) - normalise(&standardised, value, 0)).abs() < 1e-9);
        }
    }
}
