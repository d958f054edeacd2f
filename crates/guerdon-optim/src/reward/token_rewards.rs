//! Token rewards of RLHF: the rollout's reward on its last token, less a charge for KL on each
//! token.

use crate::error::{OptimError, require};
use crate::kernel::blocks::{Merge, TokenChunk, TokenKernel, over_tokens};
use crate::kernel::float::Float;
use crate::kernel::lanes::{CHUNK, ChunkArray, tree_sum};
use crate::kernel::rows::RowMask;
use crate::loss::kl::{KlBatch, KlConfig};

/// The KL estimator and the coefficient of the charge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlRewardConfig {
    /// The estimator; `k1` keeps the optimum of the KL-regularised objective.
    pub kl: KlConfig,
    /// The coefficient in reward units per nat, 0 or more. Default 0.05.
    pub beta: f64,
}

impl Default for KlRewardConfig {
    fn default() -> Self {
        Self { kl: KlConfig::default(), beta: 0.05 }
    }
}

/// KL statistics of [`token_rewards`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct KlReport {
    /// Mean KL estimate per valid token, in nats: the estimate that was charged (TRL#1161 reported
    /// another).
    pub token_mean: f64,
    /// Mean over rows with tokens of their mean KL per token, in nats: the input of verl's adaptive
    /// controller.
    pub row_mean: f64,
    /// Rows without a valid token, whose reward is dropped.
    pub unplaced: usize,
}

/// Writes the token rewards: `-beta * kl_t`, plus the rollout's reward on its last valid token.
///
/// `batch` has the log-probs under the policy that *sampled* the tokens and under the reference;
/// `rewards` is `[B]`; `out` is `[B, T]` and gets 0 in padded slots. The reward goes to the last
/// token that the policy wrote, not to the last slot, so that it is not lost in trailing
/// observations (radixark/miles#1827); it is not clipped. The reward of a row without valid tokens
/// is not read. Source: Ziegler et al. (arXiv 1909.08593), equation 2.
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for a negative or non-finite beta,
/// [`OptimError::NonFinite`] for a NaN or infinity in a valid slot or in the reward of a row that
/// has one.
pub fn token_rewards<F: Float>(
    config: &KlRewardConfig,
    batch: &KlBatch<'_, F>,
    rewards: &[F],
    out: &mut [F],
) -> Result<KlReport, OptimError> {
    Ok(token_reward_sums(config, batch, rewards, out)?.report())
}

/// The sums behind [`token_rewards`], which can be merged over the parts of a batch.
pub(crate) fn token_reward_sums<F: Float>(
    config: &KlRewardConfig,
    batch: &KlBatch<'_, F>,
    rewards: &[F],
    out: &mut [F],
) -> Result<TokenRewardSums, OptimError> {
    config.kl.check()?;
    require(
        config.beta >= 0.0 && config.beta.is_finite(),
        "beta",
        config.beta,
        "finite and 0 or more",
    )?;
    batch.check()?;
    let mask = batch.mask;
    mask.check_rows("rewards", rewards.len())?;
    mask.check("token rewards", out.len())?;

    let kernel = TokenRewardKernel { config, mask, coefficient: -config.beta };
    let mut sums: TokenRewardSums =
        over_tokens(&kernel, &mask, [batch.logp, batch.ref_logp], [&mut *out]);
    if !sums.kl.is_finite() {
        return Err(batch.non_finite_error());
    }
    for (row, &reward) in rewards.iter().enumerate() {
        let Some(last) = mask.last(row) else { continue };
        if !reward.is_finite() {
            return Err(OptimError::NonFinite { what: "rewards", row, token: 0 });
        }
        out[last] += reward;
    }
    sums.unplaced = mask.rows() - sums.rows;
    Ok(sums)
}

/// Sums of the KL charge over a part of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenRewardSums {
    kl: f64,
    /// The sum over rows of their mean KL.
    row_kl: f64,
    tokens: usize,
    rows: usize,
    unplaced: usize,
}

impl TokenRewardSums {
    pub(crate) fn report(self) -> KlReport {
        KlReport {
            token_mean: self.kl / self.tokens.max(1) as f64,
            row_mean: self.row_kl / self.rows.max(1) as f64,
            unplaced: self.unplaced,
        }
    }
}

impl Merge for TokenRewardSums {
    fn merge(self, later: Self) -> Self {
        Self {
            kl: self.kl + later.kl,
            row_kl: self.row_kl + later.row_kl,
            tokens: self.tokens + later.tokens,
            rows: self.rows + later.rows,
            unplaced: self.unplaced + later.unplaced,
        }
    }
}

struct TokenRewardKernel<'a> {
    config: &'a KlRewardConfig,
    mask: RowMask<'a>,
    coefficient: f64,
}

impl<F: Float> TokenKernel<F, 2, 1> for TokenRewardKernel<'_> {
    /// The share of one token in its row: 1 over the row's tokens.
    type Row = F;
    type Lanes = TokenRewardLanes<F>;
    type Sums = TokenRewardSums;

    #[inline(always)]
    fn lanes(&self) -> TokenRewardLanes<F> {
        TokenRewardLanes { kl: ChunkArray::zeros(), row_kl: ChunkArray::zeros() }
    }

    #[inline(always)]
    fn fold(&self, lanes: TokenRewardLanes<F>, sums: &mut TokenRewardSums) {
        sums.kl += tree_sum(*lanes.kl);
        sums.row_kl += tree_sum(*lanes.row_kl);
    }

    #[inline(always)]
    fn begin(&self, row: usize, sums: &mut TokenRewardSums) -> F {
        let tokens = self.mask.count(row);
        sums.tokens += tokens;
        sums.rows += 1;
        F::from_f64((tokens as f64).recip())
    }

    #[inline(always)]
    fn chunk(
        &self,
        &share: &F,
        TokenChunk { ins: [logp, ref_logp], outs: [out], .. }: TokenChunk<'_, F, 2, 1>,
        lanes: &mut TokenRewardLanes<F>,
    ) {
        let (coefficient, estimator) = (F::from_f64(self.coefficient), self.config.kl);
        let (mut d, mut kl) = (ChunkArray::zeros(), ChunkArray::zeros());
        for at in 0..CHUNK {
            d[at] = logp[at] - ref_logp[at];
        }
        estimator.values(&d, &mut kl);
        for at in 0..CHUNK {
            out[at] = coefficient * kl[at];
            // An infinite d makes the sum NaN even if a limit hides it from the estimate.
            lanes.kl[at] += kl[at] + d[at].times_zero();
            lanes.row_kl[at] += share * kl[at];
        }
    }
}

struct TokenRewardLanes<F> {
    kl: ChunkArray<F>,
    row_kl: ChunkArray<F>,
}

#[cfg(test)]
mod tests {
    use super::{KlRewardConfig, token_rewards};
    use crate::error::OptimError;
    use crate::kernel::rows::RowMask;
    use crate::loss::kl::{KlBatch, KlConfig, KlEstimator};
    use crate::testing::assert_close;

    /// radixark/miles#1827: a reward on the last slot was lost if the rollout ended in an
    /// observation.
    #[test]
    fn the_reward_is_on_the_last_token_that_the_policy_wrote() {
        let mask = RowMask::bytes(&[1, 0, 1, 0, 0, 0, 0, 0], 2, 4).unwrap();
        let mut logp = [f64::NAN; 8];
        let mut reference = [f64::INFINITY; 8];
        (logp[0], reference[0], logp[2], reference[2]) = (-1.0, -2.0, -1.0, -0.5);
        let config = KlRewardConfig { beta: 0.1, ..KlRewardConfig::default() };
        let mut out = [9.0; 8];
        let batch = KlBatch::new(mask, &logp, &reference);
        let report = token_rewards(&config, &batch, &[3.0, f64::NAN], &mut out).unwrap();
        assert_close(&out, &[-0.1, 0.0, 3.05, 0.0, 0.0, 0.0, 0.0, 0.0], 1e-15);
        assert_close(&[report.token_mean, report.row_mean], &[0.25, 0.25], 1e-15);
        assert_eq!(report.unplaced, 1);
    }

    #[test]
    fn an_infinite_log_prob_is_reported_even_if_k3_is_bounded() {
        let kl = KlConfig { estimator: KlEstimator::K3, ..KlConfig::default() };
        let batch = KlBatch::new(RowMask::full(1, 2), &[-1.0, f64::NEG_INFINITY], &[-1.0, -1.0]);
        let error = token_rewards(&KlRewardConfig { kl, beta: 0.1 }, &batch, &[0.0], &mut [0.0; 2]);
        assert_eq!(error, Err(OptimError::NonFinite { what: "logp", row: 0, token: 1 }));
    }

    /// TRL#1161, TRL#1180: the reported KL and the charged one were different estimators.
    #[test]
    fn the_reported_kl_is_the_one_that_was_charged() {
        let batch = KlBatch::new(RowMask::full(1, 3), &[-1.0, -2.0, -0.5], &[-1.5, -1.0, -0.7]);
        for &estimator in KlEstimator::ALL {
            let kl = KlConfig { estimator, ..KlConfig::default() };
            let mut out = [0.0_f64; 3];
            let report =
                token_rewards(&KlRewardConfig { kl, beta: 2.0 }, &batch, &[0.0], &mut out).unwrap();
            assert_close(&[report.token_mean * -6.0], &[out.iter().sum()], 1e-14);
        }
    }
}
