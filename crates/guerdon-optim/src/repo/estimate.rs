//! The first half of an update: token rewards, advantages and returns, once a batch.

use super::metrics::EstimateMetrics;
use super::{AdvantageMethod, Repo, RepoBatch, StepBuffers};
use crate::advantage::gae::{GaeBatch, gae};
use crate::advantage::gdpo::{RewardPart, gdpo};
use crate::advantage::group::{advantages_with, spread};
use crate::advantage::opo::opo;
use crate::advantage::otb::{OtbBatch, optimal_token_baseline};
use crate::advantage::returns::{remax, returns_to_go};
use crate::advantage::turns::{TurnBatch, TurnGroupBatch, turn_gae, turn_group_advantages};
use crate::advantage::whiten::{Moments, moment_sums, whiten_with};
use crate::error::OptimError;
use crate::kernel::blocks::{Merge, over_blocks};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::kernel::welford::Welford;
use crate::loss::aggregate::Normaliser;
use crate::loss::kl::KlBatch;
use crate::loss::value::ValueSums;
use crate::repo::improve::{ValueInputs, critic_loss};
use crate::reward::token_rewards::{self, KlRewardConfig, TokenRewardSums};

/// The advantages of a batch, computed once and used by every pass over its minibatches.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Estimate<F> {
    /// `[B, T]`: the advantages, whitened over the batch if configured; 0 in padded slots and for
    /// rollouts without a reward.
    pub advantages: Vec<F>,
    /// `[B, T]`: the critic's targets; without a critic, the rewards-to-go or the advantages.
    pub returns: Vec<F>,
    /// `[B]`: 1 for a rollout without a reward or without tokens, which no minibatch may contain
    /// as a token ([`Estimate::mask`], [`RowMask::without`]); else 0.
    pub dropped: Vec<u8>,
    /// The divisors of the whole batch, for gradients that are added up over all of it.
    pub normaliser: Normaliser,
    /// Metrics to log, once a batch.
    pub metrics: EstimateMetrics,
}

impl<F> Estimate<F> {
    /// The mask of the batch without the rollouts that were not scored.
    ///
    /// # Errors
    /// [`OptimError::Shape`] for a mask with another number of rows.
    pub fn mask<'a>(&'a self, mask: RowMask<'a>) -> Result<RowMask<'a>, OptimError> {
        mask.without(&self.dropped)
    }
}

impl<F: Float> Repo<F> {
    /// Computes the advantages and returns of a batch from its rewards, and moves the state that is
    /// kept over updates: the KL coefficient and the monitors' trends.
    ///
    /// Whitening and group statistics cover this batch, however it is cut into minibatches later.
    /// The log-probs and values of the current policy are not read. A rollout whose reward is NaN
    /// was not scored and does not enter any mean or deviation.
    ///
    /// # Errors
    /// The errors of [`Repo::step`]; after an error the state is as before.
    pub fn estimate(&mut self, batch: &RepoBatch<'_, F>) -> Result<Estimate<F>, OptimError> {
        batch.check_estimate(&self.config)?;
        self.buffers.resize(batch.mask.slots());
        let mut dropped = Vec::new();
        batch.drop_unscored(&mut dropped);
        let mask = batch.mask.without(&dropped)?;
        let scored = RepoBatch { mask, values: None, ..*batch };
        let first = self.first_pass(&scored)?;
        let moments = Moments::of(first.advantages);
        if let Some(config) = &self.config.whiten {
            config.check()?;
            over_blocks(&mask, [&mut self.buffers.advantages[..]], |rows, [advantages]| {
                whiten_with(config, &moments, &mask.part(rows), advantages);
            });
        }
        let mut metrics = EstimateMetrics {
            beta: self.beta.value(),
            kl: first.kl_charge.report(),
            advantages: moments,
            ..EstimateMetrics::default()
        };
        metrics.monitors = self.monitor.watch(&mask, batch.rewards, &batch.parts, batch.groups)?;
        self.beta.update(metrics.kl.row_mean, mask.rows() - metrics.kl.unplaced);
        Ok(Estimate {
            advantages: self.buffers.advantages.clone(),
            returns: self.buffers.returns.clone(),
            normaliser: Normaliser::of(&mask),
            dropped,
            metrics,
        })
    }

    /// Computes token rewards, advantages and returns, the critic's loss, and the moments of the
    /// advantages.
    pub(super) fn first_pass(
        &mut self,
        batch: &RepoBatch<'_, F>,
    ) -> Result<FirstPassSums, OptimError> {
        let Self { config, buffers: StepBuffers { advantages, returns, dvalue, .. }, .. } = self;
        let charge = KlRewardConfig { kl: config.kl, beta: self.beta.value() };
        let charge = |part: &RepoBatch<'_, F>, out: &mut [F]| {
            // Without a reference, the KL and its charge are 0.
            let kl =
                KlBatch::new(part.mask, part.old_logp, part.reference.unwrap_or(part.old_logp));
            token_rewards::token_reward_sums(&charge, &kl, part.rewards, out)
        };
        // Every method but GAE on tokens needs the whole batch at once.
        let whole_batch = match config.advantage {
            AdvantageMethod::Gae(_) => None,
            AdvantageMethod::TurnGae(turn) => {
                let kl_charge = charge(batch, dvalue)?;
                let inputs = TurnBatch {
                    mask: batch.mask,
                    rewards: dvalue,
                    values: batch.old_values.unwrap_or_default(),
                    bootstrap: batch.bootstrap,
                };
                turn_gae(&turn, &inputs, advantages, returns)?;
                Some(kl_charge)
            }
            AdvantageMethod::Otb(otb) => {
                let kl_charge = charge(batch, dvalue)?;
                let inputs = OtbBatch {
                    mask: batch.mask,
                    rewards: dvalue,
                    old_logp: batch.old_logp,
                    sum_pi_squared: batch.sum_pi_squared.unwrap_or_default(),
                    correction: batch.correction,
                    groups: batch.groups.unwrap_or_default(),
                };
                optimal_token_baseline(&otb, &inputs, advantages, returns)?;
                Some(kl_charge)
            }
            _ => {
                // The buffer of the critic's gradient holds the token rewards until the gradient is
                // written.
                let kl_charge = charge(batch, dvalue)?;
                advantages_without_critic(&config.advantage, batch, dvalue, advantages)?;
                returns.copy_from_slice(advantages);
                Some(kl_charge)
            }
        };
        over_blocks(
            &batch.mask,
            [advantages, returns, dvalue],
            |rows, [advantages, returns, dvalue]| {
                let part = batch.part(rows.clone());
                let mut pass = || {
                    let mut kl_charge = TokenRewardSums::default();
                    if let AdvantageMethod::Gae(config) = &config.advantage {
                        kl_charge = charge(&part, dvalue)?;
                        let mut batch =
                            GaeBatch::new(part.mask, dvalue, part.old_values.unwrap_or_default());
                        if let Some(bootstrap) = part.bootstrap {
                            batch = batch.with_bootstrap(bootstrap);
                        }
                        gae(config, &batch, advantages, returns)?;
                    }
                    let inputs = ValueInputs {
                        mask: part.mask,
                        predictions: part.values.zip(part.old_values),
                        returns,
                        normaliser: part.normaliser,
                    };
                    let value = critic_loss(config.critic, inputs, dvalue)?;
                    Ok(FirstPassSums {
                        kl_charge,
                        value,
                        advantages: moment_sums(&part.mask, advantages)?,
                    })
                };
                pass().map_err(|error: OptimError| error.offset_rows(rows.start))
            },
        )
        .map(|first| FirstPassSums { kl_charge: whole_batch.unwrap_or(first.kl_charge), ..first })
    }
}

/// Sums of the first pass.
pub(super) struct FirstPassSums {
    pub(super) kl_charge: TokenRewardSums,
    pub(super) value: ValueSums,
    pub(super) advantages: Welford,
}

impl Merge for FirstPassSums {
    fn merge(self, later: Self) -> Self {
        Self {
            kl_charge: self.kl_charge.merge(later.kl_charge),
            value: self.value.merge(later.value),
            advantages: self.advantages.merge(later.advantages),
        }
    }
}

/// Computes advantages without a critic, from the token rewards of the whole batch.
fn advantages_without_critic<F: Float>(
    method: &AdvantageMethod,
    batch: &RepoBatch<'_, F>,
    token_rewards: &[F],
    advantages: &mut [F],
) -> Result<(), OptimError> {
    let mask = batch.mask;
    let groups = batch.groups.unwrap_or_default();
    let per_row = match method {
        // These write returns too, so the first pass calls them.
        AdvantageMethod::Gae(_) | AdvantageMethod::TurnGae(_) | AdvantageMethod::Otb(_) => {
            return Ok(());
        }
        AdvantageMethod::TurnGroup { group, coefficient } => {
            let sums = row_sums(&mask, token_rewards);
            let outcomes: Vec<F> =
                sums.iter().map(|sum| F::from_f64(sum.unwrap_or(f64::NAN))).collect();
            let inputs = TurnGroupBatch {
                mask,
                turn_rewards: batch.turn_rewards.unwrap_or_default(),
                outcomes: &outcomes,
                groups,
            };
            return turn_group_advantages(group, *coefficient, &inputs, advantages);
        }
        AdvantageMethod::ReinforcePlusPlus { gamma } => {
            return returns_to_go(*gamma, &mask, token_rewards, advantages);
        }
        AdvantageMethod::ReMax => {
            return remax(&mask, token_rewards, batch.baselines.unwrap_or_default(), advantages);
        }
        AdvantageMethod::Group(config) => {
            advantages_with(config, &row_sums(&mask, token_rewards), groups)?
        }
        AdvantageMethod::Opo => {
            let lens: Vec<usize> = (0..mask.rows()).map(|row| mask.count(row)).collect();
            opo(&row_sums(&mask, token_rewards), &lens, groups)?
        }
        AdvantageMethod::Gdpo { group, weights } => {
            let scored = |part: &[F]| -> Vec<Option<f64>> {
                let finite =
                    |row: usize| part.get(row).filter(|x| !x.is_nan() && mask.last(row).is_some());
                (0..mask.rows()).map(|row| finite(row).map(|x| x.to_f64())).collect()
            };
            let columns = [batch.parts.rm, batch.parts.judge, batch.parts.rules].map(scored);
            let parts: Vec<RewardPart<'_>> = std::iter::zip(weights, &columns)
                .map(|(&weight, rewards)| RewardPart { weight, rewards })
                .collect();
            gdpo(group, &parts, groups)?
        }
    };
    spread(&mask, &per_row, advantages)
}

/// One reward per rollout: the sum of its token rewards, including the KL charge; `None` for a row
/// without tokens.
fn row_sums<F: Float>(mask: &RowMask<'_>, token_rewards: &[F]) -> Vec<Option<f64>> {
    let sum = |row: usize| mask.spans(row).flatten().map(|slot| token_rewards[slot].to_f64()).sum();
    (0..mask.rows()).map(|row| mask.last(row).map(|_| sum(row))).collect()
}
