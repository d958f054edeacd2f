//! PPO's clipped loss, the most common [policy loss](crate::loss::policy), with flat settings.

use crate::error::OptimError;
use crate::kernel::float::Float;
use crate::loss::aggregate::Aggregation;
use crate::loss::policy::{
    ClipRange, PolicyBatch, PolicyConfig, PolicyReport, Surrogate, policy_loss,
};

/// The clip range and the aggregation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PpoConfig {
    /// Clip distance of the ratio below 1, within 0..=1. Default 0.2.
    pub clip_low: f64,
    /// Clip distance of the ratio above 1, finite and 0 or more. Greater than `clip_low`, it is
    /// DAPO's clip-higher (arXiv 2503.14476, section 3.1). Default 0.2.
    pub clip_high: f64,
    /// Dual clip `c > 1` (Ye et al., arXiv 1912.09729, equation 5): with a negative advantage the
    /// loss of a token is at most `-c * A`. Default none; verl always applies 3.
    pub dual_clip: Option<f64>,
    /// The weight of a token. Default `token_mean`.
    pub aggregation: Aggregation,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self { clip_low: 0.2, clip_high: 0.2, dual_clip: None, aggregation: Aggregation::default() }
    }
}

impl From<PpoConfig> for PolicyConfig {
    fn from(config: PpoConfig) -> Self {
        let clip = ClipRange { low: config.clip_low, high: config.clip_high };
        Self {
            surrogate: Surrogate::Ppo { clip, dual: config.dual_clip },
            aggregation: config.aggregation,
        }
    }
}

/// Computes [`policy_loss`] with PPO's surrogate:
///
/// ```text
/// r     = e^(logp - old_logp)
/// l     = max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high))
/// l     = min(l, -c A)                     if A < 0 and dual_clip = c
/// loss  = sum w l
/// dlogp = -w A r, or 0 where a clip is active or |logp - old_logp| > 20
/// ```
///
/// # Errors
/// The errors of [`policy_loss`].
pub fn ppo_loss<F: Float>(
    config: &PpoConfig,
    batch: &PolicyBatch<'_, F>,
    dlogp: &mut [F],
) -> Result<PolicyReport, OptimError> {
    policy_loss(&(*config).into(), batch, dlogp)
}
