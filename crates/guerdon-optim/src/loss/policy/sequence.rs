//! Surrogates with one ratio per row: GSPO, GSPO-token and GMPO.

use super::batch::PolicyBatch;
use super::clip_range::ClipRange;
use super::surrogate::{Objective, RatioRange, TokenInputs, TokenLoss};
use crate::kernel::float::Float;

/// The ratio of a row, and true if its mean log-ratio was clamped.
#[inline(always)]
fn row_ratio<F: Float>(row: usize, tokens: usize, batch: &PolicyBatch<'_, F>) -> (F, bool) {
    /// Bound of the row's mean log-ratio (verl's constant).
    const LIMIT: f64 = 10.0;
    let mean = row_sum(row, batch, |slot| batch.logp[slot] - batch.old_logp[slot]) / tokens as f64;
    (F::from_f64(mean.min(LIMIT).exp()), mean > LIMIT)
}

/// GSPO: PPO with one ratio per row.
#[derive(Clone, Copy)]
pub(super) struct SequenceRatio<F> {
    pub(super) range: RatioRange<F>,
}

impl<F: Float> Objective<F> for SequenceRatio<F> {
    const ROW_SLOPE: bool = true;
    /// The row's ratio, and the slope of its tokens: every log-prob moves the ratio that the
    /// losses of all of them have, by its share.
    type Row = (F, F);

    #[inline(always)]
    fn row(self, row: usize, tokens: usize, batch: &PolicyBatch<'_, F>) -> (F, F) {
        let (ratio, clamped) = row_ratio(row, tokens, batch);
        let slopes = row_sum(row, batch, |slot| {
            let slope = self.range.clipped_loss(ratio, clamped, batch.advantages[slot]).slope;
            batch.correction.map_or(slope, |weights| weights[slot] * slope)
        });
        (ratio, F::from_f64(slopes / tokens as f64))
    }

    #[inline(always)]
    fn token(self, (ratio, slope): (F, F), token: TokenInputs<F>) -> TokenLoss<F> {
        TokenLoss { slope, ..self.range.clipped_loss(ratio, false, token.advantage) }
    }
}

/// GSPO-token: the same loss, with the gradient of each token's own ratio.
#[derive(Clone, Copy)]
pub(super) struct SequenceTokenRatio<F> {
    pub(super) range: RatioRange<F>,
}

impl<F: Float> Objective<F> for SequenceTokenRatio<F> {
    /// The row's ratio, and true if the log-ratio was clamped.
    type Row = (F, bool);

    #[inline(always)]
    fn row(self, row: usize, tokens: usize, batch: &PolicyBatch<'_, F>) -> (F, bool) {
        row_ratio(row, tokens, batch)
    }

    #[inline(always)]
    fn token(self, (ratio, clamped): (F, bool), token: TokenInputs<F>) -> TokenLoss<F> {
        self.range.clipped_loss(ratio, clamped, token.advantage)
    }
}

/// GMPO: a geometric mean of clipped ratios. `low` and `high` limit the log-ratio.
#[derive(Clone, Copy)]
pub(super) struct GeometricMean<F> {
    low: F,
    high: F,
}

impl<F: Float> GeometricMean<F> {
    pub(super) fn new(clip: ClipRange) -> Self {
        Self { low: F::from_f64(-clip.low), high: F::from_f64(clip.high) }
    }

    /// The log-ratio clipped on the optimistic side, and true if it was clipped. With an advantage
    /// of 0 the log-ratio counts as 0.
    #[inline(always)]
    fn clip(self, log_ratio: F, advantage: F) -> (F, bool) {
        if advantage > F::ZERO {
            (if log_ratio > self.high { self.high } else { log_ratio }, log_ratio > self.high)
        } else if advantage < F::ZERO {
            (if log_ratio < self.low { self.low } else { log_ratio }, log_ratio < self.low)
        } else {
            (F::ZERO, true)
        }
    }
}

impl<F: Float> Objective<F> for GeometricMean<F> {
    const PER_TOKEN: bool = false;
    /// The loss of the row.
    type Row = F;

    #[inline(always)]
    fn row(self, row: usize, tokens: usize, batch: &PolicyBatch<'_, F>) -> F {
        let advantage = row_sum(row, batch, |slot| batch.advantages[slot]) / tokens as f64;
        let mut log_ratio = row_sum(row, batch, |slot| {
            self.clip(batch.logp[slot] - batch.old_logp[slot], batch.advantages[slot]).0
        });
        if let Some(weights) = batch.correction {
            log_ratio += batch
                .mask
                .spans(row)
                .flatten()
                .map(|slot| weights[slot].to_f64().ln())
                .sum::<f64>();
        }
        F::from_f64(-advantage * (log_ratio / tokens as f64).exp())
    }

    #[inline(always)]
    fn token(self, loss: F, token: TokenInputs<F>) -> TokenLoss<F> {
        let (_, clipped) = self.clip(token.log_ratio, token.advantage);
        let slope = if clipped { F::ZERO } else { loss };
        let counted = clipped & ((token.advantage > F::ZERO) | (token.advantage < F::ZERO));
        TokenLoss { loss, slope, clipped: F::flag(counted), dual_clipped: F::ZERO }
    }
}

/// Sums `term` over the valid slots of a row, in `f64`.
#[inline(always)]
fn row_sum<F: Float>(row: usize, batch: &PolicyBatch<'_, F>, term: impl Fn(usize) -> F) -> f64 {
    batch.mask.spans(row).flatten().map(|slot| term(slot).to_f64()).sum()
}
