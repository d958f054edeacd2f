//! Calibration: the reward model's raw output as the score that enters the fusion.

use guerdon_types::Calibration;

/// Applies `calibration` to one raw output.
///
/// `raw`, `raw - mean`, or `(raw - mean) / std`; in units of the raw output, the same, and standard
/// deviations. A Bradley-Terry model is defined up to a constant, and the paper's modulation scales
/// patches by the score's size, so the choice of zero decides how much judge and rules can do. It
/// is explicit, and reported with every reward.
#[must_use]
pub fn calibrate(calibration: &Calibration, raw: f64) -> f64 {
    match calibration {
        Calibration::Raw => raw,
        Calibration::Centred { mean } => raw - mean.get(),
        Calibration::Standardised { mean, std } => (raw - mean.get()) / std.get(),
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::Finite;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_calibration_keeps_the_order(a in -50.0..50.0f64, b in -50.0..50.0f64, mean in -5.0..5.0f64, std in 0.1..9.0f64) {
            let (mean, std) = (Finite::new(mean).unwrap(), Finite::new(std).unwrap());
            for calibration in [Calibration::Raw, Calibration::Centred { mean }, Calibration::Standardised { mean, std }] {
                let (low, high) = (calibrate(&calibration, a.min(b)), calibrate(&calibration, a.max(b)));
                prop_assert!(low <= high);
            }
        }
    }

    #[test]
    fn the_reference_mean_lands_on_zero_and_one_std_on_one() {
        let (mean, std) = (Finite::new(1.5).unwrap(), Finite::from(2));
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        near(calibrate(&Calibration::Centred { mean }, 1.5), 0.0);
        near(calibrate(&Calibration::Standardised { mean, std }, 3.5), 1.0);
        near(calibrate(&Calibration::Raw, 3.5), 3.5);
    }
}
