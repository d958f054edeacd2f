//! The inputs of the policy loss.

use crate::error::OptimError;
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::loss::aggregate::Normaliser;

/// Log-probs and advantages of a batch or micro-batch.
#[derive(Clone, Copy, Debug)]
pub struct PolicyBatch<'a, F> {
    pub(super) mask: RowMask<'a>,
    pub(super) logp: &'a [F],
    pub(super) old_logp: &'a [F],
    pub(super) advantages: &'a [F],
    pub(super) correction: Option<&'a [F]>,
    pub(super) normaliser: Option<Normaliser>,
}

impl<'a, F: Float> PolicyBatch<'a, F> {
    /// All slices are `[B, T]`: log-probs (nats) under the policy being trained, log-probs under
    /// the policy that sampled the tokens, and the advantages.
    pub fn new(mask: RowMask<'a>, logp: &'a [F], old_logp: &'a [F], advantages: &'a [F]) -> Self {
        Self { mask, logp, old_logp, advantages, correction: None, normaliser: None }
    }

    /// Sets importance weights (`[B, T]`, 0 or more), constant factors of the tokens' losses: see
    /// [`importance_weights`](crate::loss::correction::importance_weights).
    #[must_use]
    pub fn with_correction(mut self, weights: &'a [F]) -> Self {
        self.correction = Some(weights);
        self
    }

    /// Sets the divisors of the whole batch, for a micro-batch: the losses and gradients of the
    /// parts then add up.
    #[must_use]
    pub fn with_normaliser(mut self, normaliser: Normaliser) -> Self {
        self.normaliser = Some(normaliser);
        self
    }

    pub(super) fn non_finite_error(&self) -> OptimError {
        let correction = self.correction.unwrap_or(self.logp);
        let inputs = [
            ("logp", self.logp),
            ("old_logp", self.old_logp),
            ("advantages", self.advantages),
            ("correction", correction),
        ];
        self.mask.non_finite_error("loss", &inputs)
    }
}
