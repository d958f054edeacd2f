//! What each surrogate makes of one token: its cost, and the derivative of that cost by the token's log-prob.
//!
//! Written without branches, since a compiler vectorises a select and not a jump.

use super::{ClipRange, PolicyBatch};
use crate::kernel::float::Float;

/// One token, as every surrogate sees it.
#[derive(Clone, Copy)]
pub(super) struct Token<F> {
    pub(super) logp: F,
    pub(super) log_ratio: F,
    /// `e^log_ratio`, with the log-ratio held within its limit.
    pub(super) ratio: F,
    /// Whether it had to be held; then a cost that follows the ratio has no slope.
    pub(super) held: bool,
    pub(super) advantage: F,
}

/// Cost and slope before any weight; flags are 0 or 1.
#[derive(Clone, Copy)]
pub(super) struct Verdict<F> {
    pub(super) loss: F,
    pub(super) slope: F,
    pub(super) clipped: F,
    pub(super) dual_clipped: F,
}

impl<F: Float> Verdict<F> {
    #[inline(always)]
    fn unclipped(loss: F, slope: F) -> Self {
        Self { loss, slope, clipped: F::ZERO, dual_clipped: F::ZERO }
    }
}

/// A surrogate in the number type of the batch.
pub(super) trait Judge<F: Float>: Copy + Sync {
    /// Whether a token's correction multiplies its own cost; else [`Judge::row`] reads the corrections.
    const PER_TOKEN: bool = true;
    /// What it needs to know of a token's row.
    type Row: Copy;

    fn row(self, row: usize, tokens: usize, batch: &PolicyBatch<'_, F>) -> Self::Row;

    fn token(self, row: Self::Row, token: Token<F>) -> Verdict<F>;
}

/// The limits of a ratio.
#[derive(Clone, Copy)]
pub(super) struct Range<F> {
    low: F,
    high: F,
}

impl ClipRange {
    /// Around 1.
    pub(super) fn of<F: Float>(self) -> Range<F> {
        Range { low: F::from_f64(1.0 - self.low), high: F::from_f64(1.0 + self.high) }
    }
}

impl<F: Float> Range<F> {
    /// The pessimistic of the free and the clipped cost.
    #[inline(always)]
    fn judge(self, ratio: F, held: bool, advantage: F) -> Verdict<F> {
        let free = -advantage * ratio;
        let fixed = -advantage * ratio.clamp(self.low, self.high);
        let clipped = fixed > free;
        Verdict {
            loss: if clipped { fixed } else { free },
            slope: if clipped | held { F::ZERO } else { free },
            clipped: F::flag(clipped),
            dual_clipped: F::ZERO,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Clipped<F> {
    pub(super) range: Range<F>,
    pub(super) dual: Option<F>,
}

impl<F: Float> Judge<F> for Clipped<F> {
    type Row = ();

    #[inline(always)]
    fn row(self, _row: usize, _tokens: usize, _batch: &PolicyBatch<'_, F>) {}

    #[inline(always)]
    fn token(self, (): (), token: Token<F>) -> Verdict<F> {
        let verdict = self.range.judge(token.ratio, token.held, token.advantage);
        let Some(c) = self.dual else { return verdict };
        let most = -token.advantage * c;
        let over = (token.advantage < F::ZERO) & (verdict.loss > most);
        Verdict {
            loss: if over { most } else { verdict.loss },
            slope: if over { F::ZERO } else { verdict.slope },
            dual_clipped: F::flag(over),
            ..verdict
        }
    }
}

/// GSPO.
#[derive(Clone, Copy)]
pub(super) struct SequenceRatio<F> {
    pub(super) range: Range<F>,
}

impl<F: Float> Judge<F> for SequenceRatio<F> {
    /// The row's ratio, and whether it had to be held.
    type Row = (F, bool);

    #[inline(always)]
    fn row(self, row: usize, tokens: usize, batch: &PolicyBatch<'_, F>) -> (F, bool) {
        /// verl's constant: `e^10` for a mean over tokens is past any use.
        const LIMIT: f64 = 10.0;
        let mean =
            row_sum(row, batch, |slot| batch.logp[slot] - batch.old_logp[slot]) / tokens as f64;
        (F::from_f64(mean.min(LIMIT).exp()), mean > LIMIT)
    }

    #[inline(always)]
    fn token(self, (ratio, held): (F, bool), token: Token<F>) -> Verdict<F> {
        self.range.judge(ratio, held, token.advantage)
    }
}

/// GMPO.
#[derive(Clone, Copy)]
pub(super) struct GeometricMean<F> {
    low: F,
    high: F,
}

impl<F: Float> GeometricMean<F> {
    pub(super) fn new(clip: ClipRange) -> Self {
        Self { low: F::from_f64(-clip.low), high: F::from_f64(clip.high) }
    }

    /// The log-ratio clipped on the optimistic side, and whether it was. An advantage of 0 counts as ratio 1.
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

impl<F: Float> Judge<F> for GeometricMean<F> {
    const PER_TOKEN: bool = false;
    /// The row's cost.
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
    fn token(self, loss: F, token: Token<F>) -> Verdict<F> {
        let (_, clipped) = self.clip(token.log_ratio, token.advantage);
        let slope = if clipped { F::ZERO } else { loss };
        let counted = clipped & ((token.advantage > F::ZERO) | (token.advantage < F::ZERO));
        Verdict { loss, slope, clipped: F::flag(counted), dual_clipped: F::ZERO }
    }
}

#[inline(always)]
fn row_sum<F: Float>(row: usize, batch: &PolicyBatch<'_, F>, term: impl Fn(usize) -> F) -> f64 {
    batch.mask.spans(row).flatten().map(|slot| term(slot).to_f64()).sum()
}

#[derive(Clone, Copy)]
pub(super) struct Cispo<F> {
    pub(super) range: Range<F>,
}

impl<F: Float> Judge<F> for Cispo<F> {
    type Row = ();

    #[inline(always)]
    fn row(self, _row: usize, _tokens: usize, _batch: &PolicyBatch<'_, F>) {}

    #[inline(always)]
    fn token(self, (): (), token: Token<F>) -> Verdict<F> {
        let slope = -(token.advantage * token.ratio.clamp(self.range.low, self.range.high));
        let clipped = (token.ratio < self.range.low) | (token.ratio > self.range.high);
        Verdict { clipped: F::flag(clipped), ..Verdict::unclipped(slope * token.logp, slope) }
    }
}

/// SAPO.
#[derive(Clone, Copy)]
pub(super) struct SoftGate<F> {
    pub(super) tau_positive: F,
    pub(super) tau_negative: F,
}

impl<F: Float> Judge<F> for SoftGate<F> {
    type Row = ();

    #[inline(always)]
    fn row(self, _row: usize, _tokens: usize, _batch: &PolicyBatch<'_, F>) {}

    #[inline(always)]
    fn token(self, (): (), token: Token<F>) -> Verdict<F> {
        let four = F::from_f64(4.0);
        let tau = if token.advantage > F::ZERO { self.tau_positive } else { self.tau_negative };
        let gate = (tau * (token.ratio - F::ONE)).sigmoid();
        let slope = -(token.advantage * four * gate * (F::ONE - gate) * token.ratio);
        let slope = if token.held { F::ZERO } else { slope };
        Verdict::unclipped(-(token.advantage * (four / tau) * gate), slope)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Dro<F> {
    pub(super) beta: F,
}

impl<F: Float> Judge<F> for Dro<F> {
    type Row = ();

    #[inline(always)]
    fn row(self, _row: usize, _tokens: usize, _batch: &PolicyBatch<'_, F>) {}

    #[inline(always)]
    fn token(self, (): (), token: Token<F>) -> Verdict<F> {
        let pull = self.beta * token.log_ratio;
        let loss = F::HALF * pull * token.log_ratio - token.advantage * token.logp;
        Verdict::unclipped(loss, pull - token.advantage)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Reinforce;

impl<F: Float> Judge<F> for Reinforce {
    type Row = ();

    #[inline(always)]
    fn row(self, _row: usize, _tokens: usize, _batch: &PolicyBatch<'_, F>) {}

    #[inline(always)]
    fn token(self, (): (), token: Token<F>) -> Verdict<F> {
        Verdict::unclipped(-(token.advantage * token.logp), -token.advantage)
    }
}
