//! DPPO: tokens that have left the trust region in the direction of their advantage are left out.

use super::batch::PolicyBatch;
use super::clip_range::ClipRange;
use super::surrogate::{Objective, TokenInputs, TokenLoss};
use crate::kernel::float::Float;

/// Added to probabilities within a logarithm (verl's constant).
const EPS: f64 = 1e-8;

/// The limits of the divergence; with `KL` that of the token against all others, else the change
/// of its probability.
#[derive(Clone, Copy)]
pub(super) struct TrustRegion<F, const KL: bool> {
    low: F,
    high: F,
    max_ratio: F,
}

impl<F: Float, const KL: bool> TrustRegion<F, KL> {
    pub(super) fn new(clip: ClipRange, max_ratio: f64) -> Self {
        let [low, high, max_ratio] = [clip.low, clip.high, max_ratio].map(F::from_f64);
        Self { low, high, max_ratio }
    }

    /// True if the token is within the region, or has left it against its advantage.
    #[inline(always)]
    fn contains(self, token: TokenInputs<F>) -> bool {
        let (now, old) = (token.logp.exp(), (token.logp - token.log_ratio).exp());
        let up = token.advantage > F::ZERO;
        if !KL {
            return if up { now - old <= self.high } else { now - old >= -self.low };
        }
        let [p, q, log_ratio] = [now, old, token.log_ratio].map(F::to_f64);
        let others = ((1.0 - q + EPS) / (1.0 - p + EPS)).ln();
        let divergence = F::from_f64((1.0 - q) * others - q * log_ratio);
        if up {
            (divergence <= self.high) | (now <= old)
        } else {
            (divergence <= self.low) | (now >= old)
        }
    }
}

impl<F: Float, const KL: bool> Objective<F> for TrustRegion<F, KL> {
    type Row = ();

    #[inline(always)]
    fn row(self, _row: usize, _tokens: usize, _batch: &PolicyBatch<'_, F>) {}

    #[inline(always)]
    fn token(self, (): (), token: TokenInputs<F>) -> TokenLoss<F> {
        let within = F::flag(self.contains(token));
        let over = token.ratio > self.max_ratio;
        let ratio = if over { self.max_ratio } else { token.ratio };
        let slope = -(token.advantage * ratio * within);
        TokenLoss {
            loss: slope * token.logp,
            slope,
            clipped: F::ONE - within,
            dual_clipped: F::flag(over) * within,
        }
    }
}
