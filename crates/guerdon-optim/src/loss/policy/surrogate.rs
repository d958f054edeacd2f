//! The surrogate objectives: the loss of one token and its derivative by the token's log-prob. The
//! formulas and their sources are in the documentation of [`Surrogate`](super::Surrogate).
//!
//! The code selects between values instead of branching, so that compilers can vectorise it.

use super::batch::PolicyBatch;
use super::clip_range::ClipRange;
use crate::kernel::float::Float;

/// Bound of log-ratios (verl's constant; `e^20` is 5e8). Beyond it the gradient is 0 for surrogates
/// that follow the ratio.
pub(super) const LOG_RATIO_LIMIT: f64 = 20.0;

/// The inputs of a surrogate for one token.
#[derive(Clone, Copy)]
pub(super) struct TokenInputs<F> {
    pub(super) logp: F,
    pub(super) log_ratio: F,
    /// `e^log_ratio`, with the log-ratio clamped to its limit.
    pub(super) ratio: F,
    /// Set if the log-ratio was clamped. The slope of a loss that depends on the ratio is then 0.
    pub(super) clamped: bool,
    pub(super) advantage: F,
}

/// The loss of one token and its slope (the derivative by `logp`), without weights. `clipped` and
/// `dual_clipped` are 0 or 1.
#[derive(Clone, Copy)]
pub(super) struct TokenLoss<F> {
    pub(super) loss: F,
    pub(super) slope: F,
    pub(super) clipped: F,
    pub(super) dual_clipped: F,
}

impl<F: Float> TokenLoss<F> {
    #[inline(always)]
    fn unclipped(loss: F, slope: F) -> Self {
        Self { loss, slope, clipped: F::ZERO, dual_clipped: F::ZERO }
    }
}

/// A surrogate objective in the number type of the batch.
pub(super) trait Objective<F: Float>: Copy + Sync {
    /// True if each token's loss is multiplied by its correction. Otherwise [`Objective::row`]
    /// applies the corrections.
    const PER_TOKEN: bool = true;
    /// True if the slope of a token is that of its row, in which the corrections of all its tokens
    /// are already.
    const ROW_SLOPE: bool = false;
    /// State shared by the tokens of a row.
    type Row: Copy;

    /// Computes the state of a row with `tokens` valid tokens.
    fn row(self, row: usize, tokens: usize, batch: &PolicyBatch<'_, F>) -> Self::Row;

    /// Computes the loss of one token.
    fn token(self, row: Self::Row, token: TokenInputs<F>) -> TokenLoss<F>;
}

/// The lower and upper clip limits of a ratio.
#[derive(Clone, Copy)]
pub(super) struct RatioRange<F> {
    low: F,
    high: F,
}

impl ClipRange {
    /// The limits `1 - low` and `1 + high`.
    pub(super) fn around_one<F: Float>(self) -> RatioRange<F> {
        RatioRange { low: F::from_f64(1.0 - self.low), high: F::from_f64(1.0 + self.high) }
    }
}

impl<F: Float> RatioRange<F> {
    /// No limits.
    pub(super) fn unbounded() -> Self {
        Self { low: F::NEG_INFINITY, high: -F::NEG_INFINITY }
    }

    /// The greater (pessimistic) of the unclipped and the clipped loss.
    #[inline(always)]
    pub(super) fn clipped_loss(self, ratio: F, clamped: bool, advantage: F) -> TokenLoss<F> {
        let unclipped = -advantage * ratio;
        let fixed = -advantage * ratio.clamp(self.low, self.high);
        let clipped = fixed > unclipped;
        TokenLoss {
            loss: if clipped { fixed } else { unclipped },
            slope: if clipped | clamped { F::ZERO } else { unclipped },
            clipped: F::flag(clipped),
            dual_clipped: F::ZERO,
        }
    }
}

/// PPO with optional dual clip.
#[derive(Clone, Copy)]
pub(super) struct PpoClip<F> {
    pub(super) range: RatioRange<F>,
    pub(super) dual: Option<F>,
}

impl<F: Float> Objective<F> for PpoClip<F> {
    type Row = ();

    #[inline(always)]
    fn row(self, _row: usize, _tokens: usize, _batch: &PolicyBatch<'_, F>) {}

    #[inline(always)]
    fn token(self, (): (), token: TokenInputs<F>) -> TokenLoss<F> {
        let clipped = self.range.clipped_loss(token.ratio, token.clamped, token.advantage);
        let Some(c) = self.dual else { return clipped };
        let bound = -token.advantage * c;
        let over = (token.advantage < F::ZERO) & (clipped.loss > bound);
        TokenLoss {
            loss: if over { bound } else { clipped.loss },
            slope: if over { F::ZERO } else { clipped.slope },
            dual_clipped: F::flag(over),
            ..clipped
        }
    }
}

/// CISPO: the clipped ratio as a constant weight of the log-prob.
#[derive(Clone, Copy)]
pub(super) struct Cispo<F> {
    pub(super) range: RatioRange<F>,
}

impl<F: Float> Objective<F> for Cispo<F> {
    type Row = ();

    #[inline(always)]
    fn row(self, _row: usize, _tokens: usize, _batch: &PolicyBatch<'_, F>) {}

    #[inline(always)]
    fn token(self, (): (), token: TokenInputs<F>) -> TokenLoss<F> {
        let slope = -(token.advantage * token.ratio.clamp(self.range.low, self.range.high));
        let clipped = (token.ratio < self.range.low) | (token.ratio > self.range.high);
        TokenLoss { clipped: F::flag(clipped), ..TokenLoss::unclipped(slope * token.logp, slope) }
    }
}

/// SAPO: a sigmoid of the ratio instead of a clip.
#[derive(Clone, Copy)]
pub(super) struct SoftGate<F> {
    pub(super) tau_positive: F,
    pub(super) tau_negative: F,
}

impl<F: Float> Objective<F> for SoftGate<F> {
    type Row = ();

    #[inline(always)]
    fn row(self, _row: usize, _tokens: usize, _batch: &PolicyBatch<'_, F>) {}

    #[inline(always)]
    fn token(self, (): (), token: TokenInputs<F>) -> TokenLoss<F> {
        let four = F::from_f64(4.0);
        let tau = if token.advantage > F::ZERO { self.tau_positive } else { self.tau_negative };
        let gate = (tau * (token.ratio - F::ONE)).sigmoid();
        let slope = -(token.advantage * four * gate * (F::ONE - gate) * token.ratio);
        let slope = if token.clamped { F::ZERO } else { slope };
        TokenLoss::unclipped(-(token.advantage * (four / tau) * gate), slope)
    }
}

/// DRO: a quadratic penalty on the log-ratio, with coefficient `beta`.
#[derive(Clone, Copy)]
pub(super) struct Dro<F> {
    pub(super) beta: F,
}

impl<F: Float> Objective<F> for Dro<F> {
    type Row = ();

    #[inline(always)]
    fn row(self, _row: usize, _tokens: usize, _batch: &PolicyBatch<'_, F>) {}

    #[inline(always)]
    fn token(self, (): (), token: TokenInputs<F>) -> TokenLoss<F> {
        let pull = self.beta * token.log_ratio;
        let loss = F::HALF * pull * token.log_ratio - token.advantage * token.logp;
        TokenLoss::unclipped(loss, pull - token.advantage)
    }
}

/// REINFORCE: the log-prob weighted by the advantage, without a ratio.
#[derive(Clone, Copy)]
pub(super) struct Reinforce;

impl<F: Float> Objective<F> for Reinforce {
    type Row = ();

    #[inline(always)]
    fn row(self, _row: usize, _tokens: usize, _batch: &PolicyBatch<'_, F>) {}

    #[inline(always)]
    fn token(self, (): (), token: TokenInputs<F>) -> TokenLoss<F> {
        TokenLoss::unclipped(-(token.advantage * token.logp), -token.advantage)
    }
}
