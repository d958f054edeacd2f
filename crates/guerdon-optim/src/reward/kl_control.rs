//! The KL coefficient over the course of training: constant, or adapted to reach a target.

use crate::error::{OptimError, require};

/// The coefficient of the KL charge, in reward units per nat.
///
/// ```
/// use guerdon_optim::KlController;
///
/// let mut beta = KlController::adaptive(0.2, 6.0, 10_000.0)?;
/// beta.update(7.5, 256); // above the target: the coefficient rises
/// assert!(beta.value() > 0.2);
/// # Ok::<(), guerdon_optim::OptimError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlController {
    value: f64,
    target: Option<KlTarget>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct KlTarget {
    kl: f64,
    horizon: f64,
}

/// A fixed coefficient of 0.05.
impl Default for KlController {
    fn default() -> Self {
        Self { value: 0.05, target: None }
    }
}

impl KlController {
    /// A fixed coefficient of 0.
    pub fn free() -> Self {
        Self { value: 0.0, target: None }
    }

    /// A fixed coefficient `beta`, 0 or more.
    ///
    /// # Errors
    /// [`OptimError::Config`] for a negative or non-finite beta.
    pub fn fixed(beta: f64) -> Result<Self, OptimError> {
        require(beta >= 0.0 && beta.is_finite(), "beta", beta, "finite and 0 or more")?;
        Ok(Self { value: beta, target: None })
    }

    /// A coefficient that starts at `beta` and is adapted to a mean KL of `target` nats (above 0).
    /// `horizon` is the number of rollouts over which a correction is spread, 1 or more. Source:
    /// Ziegler et al. (arXiv 1909.08593), section 2.2.
    ///
    /// # Errors
    /// [`OptimError::Config`] for an argument out of its range.
    pub fn adaptive(beta: f64, target: f64, horizon: f64) -> Result<Self, OptimError> {
        require(target > 0.0 && target.is_finite(), "target", target, "finite and above 0")?;
        require(horizon >= 1.0 && horizon.is_finite(), "horizon", horizon, "finite and 1 or more")?;
        Ok(Self { target: Some(KlTarget { kl: target, horizon }), ..Self::fixed(beta)? })
    }

    /// The current coefficient.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// The target KL in nats and the horizon in rollouts, if the coefficient is adapted.
    pub fn target(&self) -> Option<(f64, f64)> {
        self.target.map(|target| (target.kl, target.horizon))
    }

    /// This controller with another current coefficient, 0 or more, for a resumed run.
    ///
    /// # Errors
    /// [`OptimError::Config`] for a negative or non-finite beta.
    pub fn at(&self, beta: f64) -> Result<Self, OptimError> {
        Ok(Self { target: self.target, ..Self::fixed(beta)? })
    }

    /// True if a batch can be charged, now or after an update.
    pub(crate) fn charges(&self) -> bool {
        self.value > 0.0 || self.target.is_some()
    }

    /// Adapts the coefficient after a batch of `rollouts` with mean KL `kl`: `beta *= 1 + clip(kl /
    /// target - 1, -0.2, 0.2) * rollouts / horizon`, but not below 0. A KL that is not finite
    /// changes nothing.
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
    fn a_fixed_coefficient_is_constant_and_an_adaptive_one_never_negative() {
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
    fn arguments_out_of_range_are_refused() {
        assert!(KlController::adaptive(0.1, 0.0, 10.0).is_err());
        assert!(KlController::adaptive(0.1, 1.0, 0.0).is_err());
        assert!(KlController::fixed(f64::NAN).is_err());
    }
}
