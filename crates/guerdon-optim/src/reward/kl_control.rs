//! The price of a nat over the course of training: constant, or steered towards a target.

use crate::error::{OptimError, require};

/// The coefficient of the KL charge, in reward units a nat.
///
/// ```
/// use guerdon_optim::KlController;
///
/// let mut beta = KlController::adaptive(0.2, 6.0, 10_000.0)?;
/// beta.update(7.5, 256); // more than the target: dearer
/// assert!(beta.value() > 0.2);
/// # Ok::<(), guerdon_optim::OptimError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlController {
    value: f64,
    target: Option<Target>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Target {
    kl: f64,
    horizon: f64,
}

/// A fixed 0.05.
impl Default for KlController {
    fn default() -> Self {
        Self { value: 0.05, target: None }
    }
}

impl KlController {
    /// No charge at all.
    pub fn free() -> Self {
        Self { value: 0.0, target: None }
    }

    /// Always `beta`, 0 or more.
    ///
    /// # Errors
    /// [`OptimError::Config`] for a negative or non-finite beta.
    pub fn fixed(beta: f64) -> Result<Self, OptimError> {
        require(beta >= 0.0 && beta.is_finite(), "beta", beta, "finite and 0 or more")?;
        Ok(Self { value: beta, target: None })
    }

    /// From `beta` towards a mean KL of `target` nats (above 0); `horizon` is how many rollouts a correction is
    /// spread over, 1 or more. Source: Ziegler et al. (arXiv 1909.08593), section 2.2.
    ///
    /// # Errors
    /// [`OptimError::Config`] for a number out of its range.
    pub fn adaptive(beta: f64, target: f64, horizon: f64) -> Result<Self, OptimError> {
        require(target > 0.0 && target.is_finite(), "target", target, "finite and above 0")?;
        require(horizon >= 1.0 && horizon.is_finite(), "horizon", horizon, "finite and 1 or more")?;
        Ok(Self { target: Some(Target { kl: target, horizon }), ..Self::fixed(beta)? })
    }

    /// The coefficient now.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// After a batch of `rollouts` with mean KL `kl`:
    /// `beta *= 1 + clip(kl / target - 1, -0.2, 0.2) * rollouts / horizon`, and never below 0. A KL that is not
    /// finite changes nothing.
    pub fn update(&mut self, kl: f64, rollouts: usize) {
        let Some(target) = self.target else { return };
        if !kl.is_finite() {
            return;
        }
        let error = (kl / target.kl - 1.0).clamp(-0.2, 0.2);
        self.value = (self.value * (1.0 + error * rollouts as f64 / target.horizon)).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::KlController;

    #[test]
    fn a_fixed_price_never_moves_and_an_adaptive_one_never_turns_negative() {
        let mut fixed = KlController::fixed(0.1).unwrap();
        fixed.update(100.0, 1000);
        assert_eq!(fixed, KlController::fixed(0.1).unwrap());
        let mut adaptive = KlController::adaptive(0.1, 1.0, 10.0).unwrap();
        adaptive.update(f64::NAN, 1000);
        assert!((adaptive.value() - 0.1).abs() < 1e-15);
        adaptive.update(-5.0, 1000);
        assert!(adaptive.value().abs() < 1e-15);
    }

    #[test]
    fn a_target_of_zero_is_refused() {
        assert!(KlController::adaptive(0.1, 0.0, 10.0).is_err());
        assert!(KlController::adaptive(0.1, 1.0, 0.0).is_err());
        assert!(KlController::fixed(f64::NAN).is_err());
    }
}
