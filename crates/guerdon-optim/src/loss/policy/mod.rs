//! The policy loss: one entry point for all surrogate objectives, each with its analytic gradient.
//!
//! A surrogate defines the loss of one token and its derivative by the token's log-prob
//! (`surrogate.rs`; `sequence.rs` for those with one ratio per row, `trust_region.rs` for DPPO,
//! `covariance.rs` for what depends on all tokens). This file has the parts that surrogates share: the ratio, the weights, the
//! rollout correction, the metrics and the walk over the batch.

mod batch;
mod clip_range;
mod covariance;
mod sequence;
mod surrogate;
#[cfg(test)]
mod tests;
mod trust_region;

use self::sequence::{GeometricMean, SequenceRatio, SequenceTokenRatio};
use self::surrogate::{
    Cispo, Dro, LOG_RATIO_LIMIT, Objective, PpoClip, RatioRange, Reinforce, SoftGate, TokenInputs,
};
use self::trust_region::TrustRegion;
use crate::error::{OptimError, require};
use crate::kernel::blocks::{Merge, TokenChunk, TokenKernel, over_tokens};
use crate::kernel::float::Float;
use crate::kernel::lanes::{CHUNK, ChunkArray, is_token, tree_fold, tree_sum};
use crate::loss::aggregate::{Aggregation, Weigher};

pub use self::batch::PolicyBatch;
pub use self::clip_range::ClipRange;

/// The loss of a token, to be minimised. `r = pi / pi_old` for the token, `A` is its advantage.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Surrogate {
    /// `max(-A r, -A clip(r, 1 - low, 1 + high))`, and at most `-c A` where `A < 0` and `dual = c`.
    /// Schulman et al. (arXiv 1707.06347), equation 7; dual clip: Ye et al. (arXiv 1912.09729),
    /// equation 5; `high > low` is DAPO's clip-higher (arXiv 2503.14476, section 3.1).
    Ppo {
        /// The clip range.
        clip: ClipRange,
        /// The dual clip `c`, above 1; verl always applies 3.
        dual: Option<f64>,
    },
    /// PPO with one ratio for the whole row, `exp(mean of log r)`, whose gradient is the same for
    /// every token. GSPO (arXiv 2507.18071), equation 7. The paper weights rows equally
    /// (`seq_mean_token_mean`) and uses the clip range 3e-4 and 4e-4. The gradient is the
    /// derivative of the loss also where advantages vary within a row.
    Gspo {
        /// The clip range.
        clip: ClipRange,
    },
    /// GSPO-token (the same paper, equation 13): the loss of [`Gspo`](Self::Gspo), with the row's
    /// ratio held constant and each token's own ratio, which has the value 1, differentiated. The
    /// gradient of a token is `-s A` with the ratio `s` of the row and its own advantage; this is
    /// verl's `gspo`. Equal to [`Gspo`](Self::Gspo) if advantages are constant within rows.
    GspoToken {
        /// The clip range.
        clip: ClipRange,
    },
    /// `-mean(A) exp(mean of log r)`, each log-ratio clipped within `-low..high` on the optimistic
    /// side. GMPO (arXiv 2507.20673), equation 4. Use it with `seq_mean_token_mean`.
    Gmpo {
        /// The clip range, of log-ratios.
        clip: ClipRange,
    },
    /// `-clip(r) A log pi` with the ratio as a constant, so that clipped tokens keep a gradient.
    /// CISPO (MiniMax-M1, arXiv 2506.13585), equation 4.
    Cispo {
        /// The clip range.
        clip: ClipRange,
    },
    /// `-A (4 / tau) sigmoid(tau (r - 1))`, a soft gate instead of a clip. SAPO (arXiv 2511.20347).
    Sapo {
        /// `tau` where `A > 0`, above 0; the paper's is 1.
        tau_positive: f64,
        /// `tau` where `A <= 0`, above 0; the paper's is 1.05.
        tau_negative: f64,
    },
    /// `-(A log pi - beta / 2 (log r)^2)`. DRO (arXiv 2405.19107), equation 5.
    Dro {
        /// The coefficient of the penalty for leaving the old policy, above 0.
        beta: f64,
    },
    /// `-A log pi`. Williams 1992; also the loss of GPG (arXiv 2504.02546).
    Reinforce,
    /// `-min(r, max_ratio) A log pi` with the ratio as a constant, and 0 for a token that has left
    /// the trust region in the direction of its advantage: `pi - pi_old` above `high` (or below
    /// `-low` where `A <= 0`). DPPO with the total variation (arXiv 2602.04879).
    DppoTv {
        /// The limits of the change of probability.
        clip: ClipRange,
        /// The greatest ratio, 1 or more; verl's is 20.
        max_ratio: f64,
    },
    /// The same with the KL divergence of the token against all others, in nats.
    DppoKl {
        /// The limits of the divergence.
        clip: ClipRange,
        /// The greatest ratio, 1 or more; verl's is 20.
        max_ratio: f64,
    },
    /// PPO without some of the tokens whose log-prob and advantage vary together most, which
    /// entropy is lost by. Clip-Cov (arXiv 2505.22617), equation 11. The covariance is that of the
    /// batch or minibatch that the loss is computed for.
    ClipCov {
        /// The clip range.
        clip: ClipRange,
        /// The share of tokens to leave out, above 0 and at most 1; the paper's is 2e-4.
        share: f64,
        /// Only tokens with a covariance above this are left out; the paper's is 1.
        low: f64,
        /// And below this; the paper's is 5.
        high: f64,
        /// The seed of the choice among those tokens: equal seeds choose the same ones.
        seed: u64,
    },
    /// `-A r`, and `coefficient |log r|` more for the tokens whose log-prob and advantage vary
    /// together most. KL-Cov (arXiv 2505.22617), equation 12.
    KlCov {
        /// The share of tokens, above 0 and at most 1; the paper's is 2e-4.
        share: f64,
        /// The coefficient per nat, 0 or more; the paper's is 1.
        coefficient: f64,
    },
}

impl Default for Surrogate {
    fn default() -> Self {
        Self::Ppo { clip: ClipRange::default(), dual: None }
    }
}

impl Surrogate {
    pub(crate) fn check(&self) -> Result<(), OptimError> {
        let positive =
            |field, x: f64| require(x > 0.0 && x.is_finite(), field, x, "finite and above 0");
        match *self {
            Self::Ppo { clip, dual } => {
                clip.check()?;
                dual.map_or(Ok(()), |c| {
                    require(c > 1.0 && c.is_finite(), "dual", c, "finite and above 1")
                })
            }
            Self::Gspo { clip }
            | Self::GspoToken { clip }
            | Self::Gmpo { clip }
            | Self::Cispo { clip } => clip.check(),
            Self::DppoTv { clip, max_ratio } | Self::DppoKl { clip, max_ratio } => {
                clip.check()?;
                let range = "finite and 1 or more";
                require(max_ratio >= 1.0 && max_ratio.is_finite(), "max_ratio", max_ratio, range)
            }
            Self::ClipCov { clip, share, low, high, .. } => {
                clip.check()?;
                covariance::check_share(share)?;
                require(low.is_finite(), "cov_low", low, "finite")?;
                require(
                    high > low && high.is_finite(),
                    "cov_high",
                    high,
                    "finite and above cov_low",
                )
            }
            Self::KlCov { share, coefficient } => {
                covariance::check_share(share)?;
                let range = "finite and 0 or more";
                let fits = coefficient >= 0.0 && coefficient.is_finite();
                require(fits, "kl_coefficient", coefficient, range)
            }
            Self::Sapo { tau_positive, tau_negative } => {
                positive("tau_positive", tau_positive)?;
                positive("tau_negative", tau_negative)
            }
            Self::Dro { beta } => positive("beta", beta),
            Self::Reinforce => Ok(()),
        }
    }
}

/// The surrogate and the weight of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PolicyConfig {
    /// The loss of a token. Default PPO, clip 0.2.
    pub surrogate: Surrogate,
    /// The weight of a token. Default `token_mean`.
    pub aggregation: Aggregation,
}

/// The loss and its metrics. All fields but `loss` and `tokens` are unweighted statistics of this
/// batch's valid tokens, 0 if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PolicyReport {
    /// The aggregated loss, to be minimised; units of the advantage.
    pub loss: f64,
    /// Share of tokens whose clip is active, within 0..=1.
    pub clip_fraction: f64,
    /// Share of tokens whose dual clip is active, within 0..=1.
    pub dual_clip_fraction: f64,
    /// Mean of `old_logp - logp` (k1), an estimate of KL(old || new) in nats; may be negative
    /// (TRL#1005).
    pub approx_kl: f64,
    /// The same KL by k3, `r - 1 - log r`, never negative.
    pub approx_kl_k3: f64,
    /// The greatest ratio of any token.
    pub max_ratio: f64,
    /// Valid tokens: the weight of this report in a mean over micro-batches.
    pub tokens: usize,
}

/// Computes the loss and writes its gradient by `logp` into `dlogp` (`[B, T]`, 0 in padded slots).
///
/// With `w` the aggregation's weight, `c` the correction and `l` the surrogate's loss of a token,
/// `loss = sum w c l` and `dlogp = w c dl/dlogp`. At the edge of a clip range the gradient is the
/// unclipped one (as in PyTorch's `clamp`). `dlogp` is complete: any autograd can differentiate the
/// scalar `sum(dlogp * logp)` with `dlogp` held constant.
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for a setting or divisor out of range,
/// [`OptimError::NonFinite`] for a NaN or infinity in a valid slot, [`OptimError::Overflow`].
pub fn policy_loss<F: Float>(
    config: &PolicyConfig,
    batch: &PolicyBatch<'_, F>,
    dlogp: &mut [F],
) -> Result<PolicyReport, OptimError> {
    let mut sums = policy_sums(config, batch, dlogp)?;
    sums.add_covariance(config, batch, dlogp)?;
    Ok(sums.report())
}

/// The sums behind [`policy_loss`], which can be merged over the parts of a batch. What depends on
/// the whole batch is added later: [`PolicySums::add_covariance`].
pub(crate) fn policy_sums<F: Float>(
    config: &PolicyConfig,
    batch: &PolicyBatch<'_, F>,
    dlogp: &mut [F],
) -> Result<PolicySums, OptimError> {
    config.surrogate.check()?;
    let mask = batch.mask;
    mask.check_all(&[
        ("logp", batch.logp.len()),
        ("old_logp", batch.old_logp.len()),
        ("advantages", batch.advantages.len()),
        ("correction", batch.correction.map_or(mask.slots(), <[F]>::len)),
        ("dlogp", dlogp.len()),
    ])?;
    let weigher = config.aggregation.weigher(&mask, batch.normaliser)?;
    let sums = match config.surrogate {
        Surrogate::Ppo { clip, dual } => walk(
            PpoClip { range: clip.around_one(), dual: dual.map(F::from_f64) },
            weigher,
            batch,
            dlogp,
        ),
        Surrogate::Gspo { clip } => {
            walk(SequenceRatio { range: clip.around_one() }, weigher, batch, dlogp)
        }
        Surrogate::GspoToken { clip } => {
            walk(SequenceTokenRatio { range: clip.around_one() }, weigher, batch, dlogp)
        }
        Surrogate::Gmpo { clip } => walk(GeometricMean::new(clip), weigher, batch, dlogp),
        Surrogate::Cispo { clip } => {
            walk(Cispo { range: clip.around_one() }, weigher, batch, dlogp)
        }
        Surrogate::Sapo { tau_positive, tau_negative } => {
            let tau = (F::from_f64(tau_positive), F::from_f64(tau_negative));
            walk(SoftGate { tau_positive: tau.0, tau_negative: tau.1 }, weigher, batch, dlogp)
        }
        Surrogate::Dro { beta } => walk(Dro { beta: F::from_f64(beta) }, weigher, batch, dlogp),
        Surrogate::Reinforce => walk(Reinforce, weigher, batch, dlogp),
        Surrogate::DppoTv { clip, max_ratio } => {
            walk(TrustRegion::<F, false>::new(clip, max_ratio), weigher, batch, dlogp)
        }
        Surrogate::DppoKl { clip, max_ratio } => {
            walk(TrustRegion::<F, true>::new(clip, max_ratio), weigher, batch, dlogp)
        }
        Surrogate::ClipCov { clip, .. } => {
            walk(PpoClip { range: clip.around_one(), dual: None }, weigher, batch, dlogp)
        }
        Surrogate::KlCov { .. } => {
            walk(PpoClip { range: RatioRange::unbounded(), dual: None }, weigher, batch, dlogp)
        }
    };
    if !(sums.loss.is_finite() && sums.kl.is_finite()) {
        return Err(batch.non_finite_error());
    }
    Ok(sums)
}

fn walk<F: Float, O: Objective<F>>(
    objective: O,
    weigher: Weigher,
    batch: &PolicyBatch<'_, F>,
    dlogp: &mut [F],
) -> PolicySums {
    let kernel = PolicyKernel { objective, weigher, batch: *batch };
    let ins = [batch.logp, batch.old_logp, batch.advantages];
    match batch.correction {
        Some(weights) if O::PER_TOKEN => {
            over_tokens(&kernel, &batch.mask, [ins[0], ins[1], ins[2], weights], [dlogp])
        }
        _ => over_tokens(&kernel, &batch.mask, ins, [dlogp]),
    }
}

/// Sums of the policy loss over a part of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PolicySums {
    loss: f64,
    kl: f64,
    kl_k3: f64,
    clipped: f64,
    dual_clipped: f64,
    max_ratio: f64,
    tokens: usize,
}

impl PolicySums {
    pub(crate) fn report(self) -> PolicyReport {
        let per_token = (self.tokens.max(1) as f64).recip();
        PolicyReport {
            loss: self.loss,
            clip_fraction: self.clipped * per_token,
            dual_clip_fraction: self.dual_clipped * per_token,
            approx_kl: self.kl * per_token,
            approx_kl_k3: self.kl_k3 * per_token,
            max_ratio: self.max_ratio,
            tokens: self.tokens,
        }
    }
}

impl PolicySums {
    /// Adds what Clip-Cov and KL-Cov do to some tokens of the whole batch; nothing for other
    /// surrogates.
    pub(crate) fn add_covariance<F: Float>(
        &mut self,
        config: &PolicyConfig,
        batch: &PolicyBatch<'_, F>,
        dlogp: &mut [F],
    ) -> Result<(), OptimError> {
        let chosen = match config.surrogate {
            Surrogate::ClipCov { clip, share, low, high, seed } => {
                let clip = [clip.low, clip.high];
                covariance::random_in_band(batch, clip, [low, high], (seed, share))
            }
            Surrogate::KlCov { share, .. } => covariance::greatest_share(batch, share),
            _ => return Ok(()),
        };
        let weigher = config.aggregation.weigher(&batch.mask, batch.normaliser)?;
        for &slot in &chosen {
            let row = slot / batch.mask.width().max(1);
            let correction = batch.correction.map_or(1.0, |weights| weights[slot].to_f64());
            let scale = weigher.weight(batch.mask.count(row)) * correction;
            match config.surrogate {
                Surrogate::KlCov { coefficient, .. } => {
                    let log_ratio = (batch.logp[slot] - batch.old_logp[slot]).to_f64();
                    let sign =
                        f64::from(u8::from(log_ratio > 0.0)) - f64::from(u8::from(log_ratio < 0.0));
                    self.loss += scale * coefficient * log_ratio.abs();
                    dlogp[slot] += F::from_f64(scale * coefficient * sign);
                }
                Surrogate::ClipCov { clip, .. } => {
                    let (free, fixed) = covariance::ppo(batch, slot, clip.low, clip.high);
                    self.loss -= scale * free.max(fixed);
                    dlogp[slot] = F::ZERO;
                }
                _ => {}
            }
        }
        if let Surrogate::ClipCov { .. } = config.surrogate {
            // As in verl, the share of tokens that were left out.
            self.clipped = chosen.len() as f64;
        }
        if self.loss.is_finite() { Ok(()) } else { Err(OptimError::Overflow { what: "loss" }) }
    }
}

impl Merge for PolicySums {
    fn merge(self, later: Self) -> Self {
        Self {
            loss: self.loss + later.loss,
            kl: self.kl + later.kl,
            kl_k3: self.kl_k3 + later.kl_k3,
            clipped: self.clipped + later.clipped,
            dual_clipped: self.dual_clipped + later.dual_clipped,
            max_ratio: self.max_ratio.max(later.max_ratio),
            tokens: self.tokens + later.tokens,
        }
    }
}

struct PolicyKernel<'a, F, O> {
    objective: O,
    weigher: Weigher,
    batch: PolicyBatch<'a, F>,
}

/// `IN` is 3, or 4 with a correction.
impl<F: Float, O: Objective<F>, const IN: usize> TokenKernel<F, IN, 1> for PolicyKernel<'_, F, O> {
    /// The weight of a token, and the objective's state of its row.
    type Row = (F, O::Row);
    type Lanes = PolicyLanes<F>;
    type Sums = PolicySums;

    #[inline(always)]
    fn lanes(&self) -> PolicyLanes<F> {
        let zeros = ChunkArray::zeros();
        PolicyLanes {
            loss: zeros,
            kl: zeros,
            kl_k3: zeros,
            clipped: zeros,
            dual_clipped: zeros,
            ratio: zeros,
        }
    }

    #[inline(always)]
    fn fold(&self, lanes: PolicyLanes<F>, sums: &mut PolicySums) {
        sums.loss += tree_sum(*lanes.loss);
        sums.kl -= tree_sum(*lanes.kl);
        sums.kl_k3 += tree_sum(*lanes.kl_k3);
        sums.clipped += tree_sum(*lanes.clipped);
        sums.dual_clipped += tree_sum(*lanes.dual_clipped);
        sums.max_ratio = sums.max_ratio.max(tree_fold(*lanes.ratio, F::larger));
    }

    #[inline(always)]
    fn begin(&self, row: usize, sums: &mut PolicySums) -> (F, O::Row) {
        let tokens = self.batch.mask.count(row);
        sums.tokens += tokens;
        (F::from_f64(self.weigher.weight(tokens)), self.objective.row(row, tokens, &self.batch))
    }

    #[inline(always)]
    fn chunk(
        &self,
        &(weight, row_state): &(F, O::Row),
        TokenChunk { tokens, ins, outs: [dlogp] }: TokenChunk<'_, F, IN, 1>,
        lanes: &mut PolicyLanes<F>,
    ) {
        // A local copy: the compiler need not assume that writes to `dlogp` change it.
        let objective = self.objective;
        let limit = F::from_f64(LOG_RATIO_LIMIT);
        // Several short loops: the processor's reorder window holds only one iteration of a long
        // loop, and each of its operations depends on the one before.
        let [mut log_ratios, mut clamped_log_ratios, mut ratios] = [ChunkArray::zeros(); 3];
        for at in 0..CHUNK {
            log_ratios[at] = ins[0][at] - ins[1][at];
            clamped_log_ratios[at] = log_ratios[at].clamp(-limit, limit);
        }
        for at in 0..CHUNK {
            let e = clamped_log_ratios[at].exponential_within();
            ratios[at] = e.exp;
            lanes.kl_k3[at] += e.exp_m1_minus_x;
        }
        for at in 0..CHUNK {
            let (logp, advantage, log_ratio) = (ins[0][at], ins[2][at], log_ratios[at]);
            // Positions beyond the last token add nothing, for any objective.
            let valid = F::flag(is_token(at, tokens));
            let clamped = log_ratio.abs() > limit;
            let token = TokenInputs { logp, log_ratio, ratio: ratios[at], clamped, advantage };
            let token_loss = objective.token(row_state, token);
            let scale = if IN > 3 { ins[3][at] * weight } else { weight };
            dlogp[at] = token_loss.slope * if O::ROW_SLOPE { weight } else { scale };
            lanes.loss[at] += token_loss.loss * scale * valid;
            // An infinite log-prob makes the sum NaN even if its log-ratio was clamped.
            lanes.kl[at] += clamped_log_ratios[at] + log_ratio.times_zero();
            lanes.clipped[at] += token_loss.clipped * valid;
            lanes.dual_clipped[at] += token_loss.dual_clipped;
            lanes.ratio[at] = lanes.ratio[at].larger(ratios[at] * valid);
        }
    }
}

struct PolicyLanes<F> {
    loss: ChunkArray<F>,
    kl: ChunkArray<F>,
    kl_k3: ChunkArray<F>,
    clipped: ChunkArray<F>,
    dual_clipped: ChunkArray<F>,
    /// The greatest ratio at each position.
    ratio: ChunkArray<F>,
}
