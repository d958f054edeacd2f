//! Correction of the gap between the engine that sampled the tokens and the policy as the trainer
//! evaluates it: importance weights, and masks for tokens and rows whose gap is too large.
//!
//! `x = old_logp - rollout_logp` is the log of `pi_old / pi_rollout`: the log-prob that the trainer
//! computes minus the log-prob that the engine computes, for the same network.

use crate::error::{OptimError, require};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::loss::kl::k3;
use crate::names::named;

/// Bound of log-ratios before they are exponentiated (verl's constant).
const LOG_RATIO_LIMIT: f64 = 20.0;

/// Log-probs of the same tokens from the trainer and from the engine that sampled them.
#[derive(Clone, Copy, Debug)]
pub struct CorrectionBatch<'a, F> {
    mask: RowMask<'a>,
    old_logp: &'a [F],
    rollout_logp: &'a [F],
}

impl<'a, F: Float> CorrectionBatch<'a, F> {
    /// A batch from two `[B, T]` slices of log-probs, in nats.
    pub fn new(mask: RowMask<'a>, old_logp: &'a [F], rollout_logp: &'a [F]) -> Self {
        Self { mask, old_logp, rollout_logp }
    }

    fn check(&self) -> Result<(), OptimError> {
        self.mask.check_all(&[
            ("old_logp", self.old_logp.len()),
            ("rollout_logp", self.rollout_logp.len()),
        ])?;
        let inputs = [("old_logp", self.old_logp), ("rollout_logp", self.rollout_logp)];
        for slot in (0..self.mask.rows()).flat_map(|row| self.mask.spans(row)).flatten() {
            if !self.log_ratio(slot).is_finite() {
                return Err(self.mask.non_finite_error("log ratio", &inputs));
            }
        }
        Ok(())
    }

    fn log_ratio(&self, slot: usize) -> f64 {
        self.old_logp[slot].to_f64() - self.rollout_logp[slot].to_f64()
    }

    /// The log-ratios of one row.
    fn row(&self, row: usize) -> impl Iterator<Item = f64> {
        self.mask.spans(row).flatten().map(|slot| self.log_ratio(slot))
    }
}

/// The scope of the ratio from which a weight is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CorrectionLevel {
    /// The token's own ratio.
    #[default]
    Token,
    /// The product of the row's ratios, for every token of the row.
    Sequence,
}

named!(CorrectionLevel, "correction level", { Token => "token", Sequence => "sequence" });

/// The treatment of weights that are too large or too small.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum WeightBound {
    /// Truncates weights at `high`: truncated importance sampling (TIS;
    /// fengyao.notion.site/off-policy-rl).
    Truncate {
        /// The upper bound of a weight, above 0. verl's is 2.
        high: f64,
    },
    /// Sets weights outside `low..=high` to 0: IcePop (Ring-1T, arXiv 2510.18855).
    Drop {
        /// The least weight kept, 0 or more.
        low: f64,
        /// The greatest weight kept, at least `low`.
        high: f64,
    },
    /// Sets the weights of a row to 0 if the geometric mean of its ratios is outside `low..=high`,
    /// and leaves other rows as they are: OpenRLHF's sequence mask TIS.
    DropRows {
        /// The least geometric mean kept, 0 or more.
        low: f64,
        /// The greatest geometric mean kept, at least `low`.
        high: f64,
    },
}

/// The settings of importance weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CorrectionConfig {
    /// The scope of the ratio: a token or its row.
    pub level: CorrectionLevel,
    /// The bound of the weights.
    pub bound: WeightBound,
    /// Divides weights by their mean over the batch (over tokens or rows, depending on `level`).
    pub normalise: bool,
}

impl Default for CorrectionConfig {
    fn default() -> Self {
        Self {
            level: CorrectionLevel::Token,
            bound: WeightBound::Truncate { high: 2.0 },
            normalise: false,
        }
    }
}

/// Statistics of [`importance_weights`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CorrectionReport {
    /// Mean weight over valid tokens, before normalising.
    pub mean_weight: f64,
    /// Share of valid tokens whose weight was truncated or dropped, within 0..=1.
    pub bounded: f64,
    /// Mean of `-x` over valid tokens: KL(rollout || old) in nats.
    pub kl: f64,
}

/// Writes the importance weight of every valid token into `out` (`[B, T]`, 0 in padded slots), for
/// [`PolicyBatch::with_correction`](crate::loss::policy::PolicyBatch::with_correction). Weights are
/// constants: no gradient flows through them.
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for bounds out of order or range,
/// [`OptimError::NonFinite`] for a NaN or infinity in a valid slot.
pub fn importance_weights<F: Float>(
    config: &CorrectionConfig,
    batch: &CorrectionBatch<'_, F>,
    out: &mut [F],
) -> Result<CorrectionReport, OptimError> {
    let (low, high) = match config.bound {
        WeightBound::Truncate { high } => (0.0, high),
        WeightBound::Drop { low, high } | WeightBound::DropRows { low, high } => (low, high),
    };
    check_band(low, high)?;
    batch.check()?;
    let mask = batch.mask;
    mask.check("weights", out.len())?;
    out.fill(F::ZERO);

    let ratio = |x: f64| x.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp();
    let (mut weights, mut row_weights, mut bounded, mut kl) = (0.0, 0.0, 0_usize, 0.0);
    for row in 0..mask.rows() {
        let (tokens, sum) = (mask.count(row), batch.row(row).sum::<f64>());
        let mean = (sum / tokens.max(1) as f64).exp();
        let row_kept = low <= mean && mean <= high;
        kl -= sum;
        let mut row_weight = 0.0;
        for slot in mask.spans(row).flatten() {
            let raw = ratio(if config.level == CorrectionLevel::Token {
                batch.log_ratio(slot)
            } else {
                sum
            });
            let (weight, changed) = match config.bound {
                WeightBound::Truncate { high } => (raw.min(high), raw > high),
                WeightBound::Drop { .. } if low <= raw && raw <= high => (raw, false),
                WeightBound::DropRows { .. } if row_kept => (raw, false),
                _ => (0.0, true),
            };
            out[slot] = F::from_f64(weight);
            row_weight += weight;
            bounded += usize::from(changed);
        }
        weights += row_weight;
        row_weights += row_weight / tokens.max(1) as f64;
    }
    let tokens = mask.tokens().max(1) as f64;
    if config.normalise {
        let mean = match config.level {
            CorrectionLevel::Token => weights / tokens,
            CorrectionLevel::Sequence => row_weights / mask.live_rows().max(1) as f64,
        };
        // If all weights are 0, there is nothing to scale.
        let scale = if mean > 1e-8 { mean.recip() } else { 1.0 };
        for weight in out.iter_mut() {
            *weight = *weight * F::from_f64(scale);
        }
    }
    Ok(CorrectionReport {
        mean_weight: weights / tokens,
        bounded: bounded as f64 / tokens,
        kl: kl / tokens,
    })
}

/// The scope of a rejection rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionScope {
    /// Each token on its own.
    #[default]
    Token,
    /// The sum over a row; the whole row is kept or dropped.
    RowSum,
    /// The mean over a row; the whole row is kept or dropped.
    RowMean,
    /// The maximum of a row; the whole row is kept or dropped.
    RowMax,
}

named!(RejectionScope, "rejection scope", {
    Token => "token",
    RowSum => "row_sum",
    RowMean => "row_mean",
    RowMax => "row_max",
});

/// The measure of a token's divergence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Divergence {
    /// `-x` (signed).
    #[default]
    K1,
    /// `x^2 / 2`.
    K2,
    /// `e^x - 1 - x`.
    K3,
}

named!(Divergence, "divergence", { K1 => "k1", K2 => "k2", K3 => "k3" });

/// A rule that drops tokens (or rows) whose divergence is outside `low..=high`, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rejection {
    /// The scope of the measure: a token or a row.
    pub scope: RejectionScope,
    /// The measure of divergence.
    pub divergence: Divergence,
    /// The least divergence kept; negative infinity for no limit.
    pub low: f64,
    /// The greatest divergence kept; infinity for no limit.
    pub high: f64,
}

impl Rejection {
    /// Drops ratios `pi_rollout / pi_old` outside `low..=high` (both above 0), as verl's `k1`
    /// options do.
    pub fn of_ratio(scope: RejectionScope, low: f64, high: f64) -> Self {
        Self { scope, divergence: Divergence::K1, low: low.ln(), high: high.ln() }
    }

    /// Drops divergences above `high`.
    pub fn above(scope: RejectionScope, divergence: Divergence, high: f64) -> Self {
        Self { scope, divergence, low: f64::NEG_INFINITY, high }
    }

    fn measure(&self, x: f64) -> f64 {
        let x = x.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT);
        match self.divergence {
            Divergence::K1 => -x,
            Divergence::K2 => 0.5 * x * x,
            Divergence::K3 => k3(-x),
        }
    }
}

/// Writes 1 for every token that all `rules` keep and 0 for all other slots into `kept` (`[B, T]`),
/// for [`RowMask::bytes`]. Returns the share of valid tokens kept (1 if there are none).
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for limits out of order or NaN,
/// [`OptimError::NonFinite`] for a NaN or infinity in a valid slot.
pub fn rejection_mask<F: Float>(
    rules: &[Rejection],
    batch: &CorrectionBatch<'_, F>,
    kept: &mut [u8],
) -> Result<f64, OptimError> {
    batch.check()?;
    let mask = batch.mask;
    mask.check("kept", kept.len())?;
    for rule in rules {
        require(rule.low <= rule.high, "rejection.low", rule.low, "at most rejection.high")?;
    }
    kept.fill(0);
    let mut count = 0_usize;
    for row in 0..mask.rows() {
        let tokens = mask.count(row).max(1) as f64;
        let row_kept = rules.iter().all(|rule| {
            let measures = batch.row(row).map(|x| rule.measure(x));
            let measure = match rule.scope {
                RejectionScope::Token => return true,
                RejectionScope::RowSum => measures.sum(),
                RejectionScope::RowMean => measures.sum::<f64>() / tokens,
                RejectionScope::RowMax => measures.fold(f64::NEG_INFINITY, f64::max),
            };
            rule.low <= measure && measure <= rule.high
        });
        for slot in mask.spans(row).flatten() {
            let token_kept =
                rules.iter().filter(|rule| rule.scope == RejectionScope::Token).all(|rule| {
                    let measure = rule.measure(batch.log_ratio(slot));
                    rule.low <= measure && measure <= rule.high
                });
            kept[slot] = u8::from(row_kept && token_kept);
            count += usize::from(kept[slot]);
        }
    }
    let tokens = mask.tokens();
    Ok(if tokens == 0 { 1.0 } else { count as f64 / tokens as f64 })
}

/// Writes 1 for every row to be dropped, else 0, into `dropped` (`[B]`, for [`RowMask::without`]).
///
/// Here `batch` compares the policy in training with the policy that sampled: its first slice holds
/// the current log-probs, its second slice the log-probs at sampling. A row is dropped if its
/// advantage is negative and its mean of the second minus the first exceeds `delta` nats: the
/// policy has already moved away from such answers. Source: DeepSeek-V3.2 (arXiv 2512.02556),
/// section 3.1; TRL's and slime's OPSM.
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for a NaN delta, [`OptimError::NonFinite`] for a
/// NaN or infinity in a valid slot.
pub fn off_policy_rows<F: Float>(
    delta: f64,
    batch: &CorrectionBatch<'_, F>,
    advantages: &[Option<f64>],
    dropped: &mut [u8],
) -> Result<(), OptimError> {
    require(!delta.is_nan(), "delta", delta, "a number")?;
    batch.check()?;
    batch.mask.check_rows("row advantages", advantages.len())?;
    batch.mask.check_rows("dropped", dropped.len())?;
    for (row, (drop, advantage)) in dropped.iter_mut().zip(advantages).enumerate() {
        let tokens = batch.mask.count(row).max(1) as f64;
        let mean = batch.row(row).sum::<f64>() / tokens;
        *drop = u8::from(advantage.is_some_and(|advantage| advantage < 0.0) && -mean > delta);
    }
    Ok(())
}

fn check_band(low: f64, high: f64) -> Result<(), OptimError> {
    require(low >= 0.0 && low.is_finite(), "bound.low", low, "finite and 0 or more")?;
    require(high > 0.0 && high >= low, "bound.high", high, "above 0 and at least bound.low")
}

#[cfg(test)]
mod tests;
