//! The clipped policy loss of PPO and its gradient.

use crate::aggregate::{Aggregation, Normaliser};
use crate::error::{OptimError, require};
use crate::float::Float;
use crate::kl::k3;
use crate::rows::RowMask;

/// Log-ratios beyond this are held there, with gradient 0: `e^20` is 5e8, past any use (verl's constant).
const LOG_RATIO_LIMIT: f64 = 20.0;

/// The clip range and the aggregation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PpoConfig {
    /// How far the ratio may fall below 1, within 0..=1. Default 0.2.
    pub clip_low: f64,
    /// How far the ratio may rise above 1, finite and 0 or more; above `clip_low` it is DAPO's clip-higher
    /// (arXiv 2503.14476, section 3.1). Default 0.2.
    pub clip_high: f64,
    /// Dual clip `c > 1` (Ye et al., arXiv 1912.09729, equation 5): where the advantage is negative the loss of a
    /// token is at most `-c * A`. Default none; verl always applies 3.
    pub dual_clip: Option<f64>,
    /// The weight of a token. Default `token_mean`.
    pub aggregation: Aggregation,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self { clip_low: 0.2, clip_high: 0.2, dual_clip: None, aggregation: Aggregation::default() }
    }
}

impl PpoConfig {
    fn check(&self) -> Result<(), OptimError> {
        require((0.0..=1.0).contains(&self.clip_low), "clip_low", self.clip_low, "within 0..=1")?;
        let high = self.clip_high;
        require(high >= 0.0 && high.is_finite(), "clip_high", high, "finite and 0 or more")?;
        match self.dual_clip {
            Some(c) => require(c > 1.0 && c.is_finite(), "dual_clip", c, "finite and above 1"),
            None => Ok(()),
        }
    }
}

/// Log-probs and advantages of a batch or micro-batch.
#[derive(Clone, Copy, Debug)]
pub struct PpoBatch<'a, F> {
    mask: RowMask<'a>,
    logp: &'a [F],
    old_logp: &'a [F],
    advantages: &'a [F],
    normaliser: Option<Normaliser>,
}

impl<'a, F: Float> PpoBatch<'a, F> {
    /// All `[B, T]`: log-probs (nats) under the policy being trained and under the one that sampled the tokens,
    /// and the advantages.
    pub fn new(mask: RowMask<'a>, logp: &'a [F], old_logp: &'a [F], advantages: &'a [F]) -> Self {
        Self { mask, logp, old_logp, advantages, normaliser: None }
    }

    /// For a micro-batch: the divisors of the whole batch, so that losses and gradients of the parts add up.
    #[must_use]
    pub fn with_normaliser(mut self, normaliser: Normaliser) -> Self {
        self.normaliser = Some(normaliser);
        self
    }
}

/// The loss and what to watch beside it. All but `loss` are plain means over this batch's valid tokens, 0 where
/// there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PpoReport {
    /// The aggregated loss, to be minimised; units of the advantage.
    pub loss: f64,
    /// Share of tokens whose ratio clip is active, within 0..=1.
    pub clip_fraction: f64,
    /// Share of tokens whose dual clip is active, within 0..=1.
    pub dual_clip_fraction: f64,
    /// `old_logp - logp` (k1), an estimate of KL(old || new) in nats; may be negative.
    pub approx_kl: f64,
    /// The same KL by k3, `r - 1 - log r`, never negative.
    pub approx_kl_k3: f64,
    /// The greatest ratio.
    pub max_ratio: f64,
    /// Valid tokens, for weighing the means of micro-batches together.
    pub tokens: usize,
}

/// Computes the clipped loss and writes its gradient by `logp` into `dlogp` (`[B, T]`, 0 in padded slots).
///
/// With `r = e^(logp - old_logp)` and `w` the aggregation's weight:
///
/// ```text
/// l     = max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high))
/// l     = min(l, -c A)                     if A < 0 and dual_clip = c
/// loss  = sum w l
/// dlogp = -w A r, or 0 where a clip is active or |logp - old_logp| > 20
/// ```
///
/// On the edge of the clip range the gradient is the unclipped one (as PyTorch's `clamp`). `dlogp` is complete:
/// `sum(dlogp * logp)` with `dlogp` held constant is a surrogate that any autograd can differentiate. Source:
/// Schulman et al., "Proximal Policy Optimization Algorithms" (arXiv 1707.06347), equation 7.
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for a clip or divisor out of range, [`OptimError::NonFinite`] for
/// a NaN or infinity in a valid slot that reaches the loss, [`OptimError::Overflow`].
pub fn ppo_loss<F: Float>(
    config: &PpoConfig,
    batch: &PpoBatch<'_, F>,
    dlogp: &mut [F],
) -> Result<PpoReport, OptimError> {
    config.check()?;
    let PpoBatch { mask, logp, old_logp, advantages, normaliser } = *batch;
    mask.check("logp", logp.len())?;
    mask.check("old_logp", old_logp.len())?;
    mask.check("advantages", advantages.len())?;
    mask.check("dlogp", dlogp.len())?;
    let weigher = config.aggregation.weigher(&mask, normaliser)?;

    dlogp.fill(F::ZERO);
    let kernel = Kernel::new(config);
    let (mut report, mut sums) = (PpoReport::default(), Sums::default());
    for row in 0..mask.rows() {
        let tokens = mask.count(row);
        let weight = weigher.weight(tokens);
        sums.loss = 0.0;
        for span in mask.spans(row) {
            let inputs =
                logp[span.clone()].iter().zip(&old_logp[span.clone()]).zip(&advantages[span.clone()]);
            for (((&new, &old), &advantage), slope) in inputs.zip(&mut dlogp[span]) {
                *slope = kernel.token(new - old, advantage, &mut sums) * F::from_f64(weight);
            }
        }
        report.loss += weight * sums.loss;
        report.tokens += tokens;
    }
    if !(report.loss.is_finite() && sums.kl.is_finite()) {
        let inputs = [("logp", logp), ("old_logp", old_logp), ("advantages", advantages)];
        return Err(mask.blame("loss", &inputs));
    }
    let per_token = (report.tokens.max(1) as f64).recip();
    report.clip_fraction = sums.clipped as f64 * per_token;
    report.dual_clip_fraction = sums.dual_clipped as f64 * per_token;
    report.approx_kl = sums.kl * per_token;
    report.approx_kl_k3 = sums.kl_k3 * per_token;
    report.max_ratio = sums.max_ratio;
    Ok(report)
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    loss: f64,
    kl: f64,
    kl_k3: f64,
    max_ratio: f64,
    clipped: usize,
    dual_clipped: usize,
}

/// The settings in the number type of the batch.
#[derive(Clone, Copy, Debug)]
struct Kernel<F> {
    limit: F,
    low: F,
    high: F,
    dual: Option<F>,
}

impl<F: Float> Kernel<F> {
    fn new(config: &PpoConfig) -> Self {
        Self {
            limit: F::from_f64(LOG_RATIO_LIMIT),
            low: F::from_f64(1.0 - config.clip_low),
            high: F::from_f64(1.0 + config.clip_high),
            dual: config.dual_clip.map(F::from_f64),
        }
    }

    /// Adds one token's loss and metrics to `sums`, returns its derivative before weighing.
    fn token(&self, log_ratio: F, advantage: F, sums: &mut Sums) -> F {
        let x = log_ratio.clamp(-self.limit, self.limit);
        let r = x.exp();
        let free = -advantage * r;
        let fixed = -advantage * r.clamp(self.low, self.high);
        let clipped = fixed > free;
        let (mut loss, mut slope) = if clipped { (fixed, F::ZERO) } else { (free, free) };
        if log_ratio.abs() > self.limit {
            slope = F::ZERO;
        }
        if let Some(c) = self.dual
            && advantage < F::ZERO
            && loss > -advantage * c
        {
            (loss, slope) = (-advantage * c, F::ZERO);
            sums.dual_clipped += 1;
        }
        sums.clipped += usize::from(clipped);
        sums.loss += loss.to_f64();
        sums.kl += -x.to_f64();
        sums.kl_k3 += k3(-x).to_f64();
        sums.max_ratio = sums.max_ratio.max(r.to_f64());
        slope
    }
}

#[cfg(test)]
mod tests;
