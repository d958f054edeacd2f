//! One update of REPO, from rewards to gradients.
//!
//! ```
//! use guerdon_optim::{Repo, RepoBatch, RepoConfig, RowMask};
//!
//! // Two rollouts of 2 and 3 tokens; the second was not scored and does not influence the update.
//! let mask = RowMask::lens(&[2, 3], 3)?;
//! let logp = [-1.0_f32, -0.5, 0.0, -2.0, -1.0, -0.1];
//! let (values, rewards) = ([0.2_f32; 6], [1.0, f32::NAN]);
//!
//! let mut repo = Repo::new(RepoConfig::paper())?;
//! let batch = RepoBatch::new(mask, &logp, &logp, &rewards)
//!     .with_reference(&logp)
//!     .with_critic(&values, &values);
//! let update = repo.step(&batch)?;
//! assert!(update.loss.is_finite() && update.dlogp[3..] == [0.0; 3]);
//! println!("{:.4} {:?}", update.loss, update.metrics.policy);
//! # Ok::<(), guerdon_optim::OptimError>(())
//! ```

mod batch;
mod config;
mod metrics;
#[cfg(test)]
mod tests;

pub use batch::RepoBatch;
pub use config::{AdvantageMethod, CriticConfig, KlLossConfig, RepoConfig};
pub use metrics::UpdateMetrics;

use crate::advantage::gae::{GaeBatch, gae};
use crate::advantage::gdpo::{RewardPart, gdpo};
use crate::advantage::group::{advantages_with, spread};
use crate::advantage::opo::opo;
use crate::advantage::returns::{remax, returns_to_go};
use crate::advantage::whiten::{Moments, moment_sums, whiten_with};
use crate::error::OptimError;
use crate::kernel::blocks::{Merge, over_blocks};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::kernel::welford::Welford;
use crate::loss::aggregate::Normaliser;
use crate::loss::kl::{KlBatch, kl_penalty};
use crate::loss::policy::{PolicyBatch, PolicySums, policy_sums};
use crate::loss::value::{ValueBatch, ValueSums, value_sums};
use crate::monitors::RewardMonitor;
use crate::reward::kl_control::KlController;
use crate::reward::token_rewards::{self, KlRewardConfig, TokenRewardSums};

/// The optimizer: a configuration, state kept between updates (the KL coefficient and trends), and
/// buffers that updates reuse. With a critic, a second update of the same shape allocates nothing.
#[derive(Clone, Debug)]
pub struct Repo<F> {
    config: RepoConfig,
    beta: KlController,
    monitor: RewardMonitor,
    buffers: StepBuffers<F>,
}

/// The result of one update. Slices are `[B, T]` and valid until the next update.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Update<'a, F> {
    /// The advantages used by the policy loss, whitened if configured; 0 in padded slots and for
    /// rollouts without a reward.
    pub advantages: &'a [F],
    /// The critic's targets; without a critic, the rewards-to-go or the advantages.
    pub returns: &'a [F],
    /// The total loss, to be minimised.
    pub loss: f64,
    /// The gradient of the loss by `logp`.
    pub dlogp: &'a [F],
    /// The gradient of the loss by the critic's `values`; 0 without a critic.
    pub dvalue: &'a [F],
    /// The gradient of the loss by the entropies; 0 without an entropy bonus.
    pub dentropy: &'a [F],
    /// Metrics to log.
    pub metrics: UpdateMetrics,
}

#[derive(Clone, Debug)]
struct StepBuffers<F> {
    dropped: Vec<u8>,
    advantages: Vec<F>,
    returns: Vec<F>,
    dlogp: Vec<F>,
    dvalue: Vec<F>,
    dentropy: Vec<F>,
    kl: Vec<F>,
    kl_slope: Vec<F>,
}

impl<F: Float> StepBuffers<F> {
    fn resize(&mut self, slots: usize) {
        for slice in [
            &mut self.advantages,
            &mut self.returns,
            &mut self.dlogp,
            &mut self.dvalue,
            &mut self.dentropy,
            &mut self.kl,
            &mut self.kl_slope,
        ] {
            slice.resize(slots, F::ZERO);
        }
    }
}

impl<F: Float> Repo<F> {
    /// An optimizer with these settings.
    ///
    /// # Errors
    /// [`OptimError::Config`] for a monitor's threshold or a loss coefficient out of range; the
    /// other settings are checked by the first update.
    pub fn new(config: RepoConfig) -> Result<Self, OptimError> {
        config.check()?;
        let empty = Vec::new;
        let buffers = StepBuffers {
            dropped: Vec::new(),
            advantages: empty(),
            returns: empty(),
            dlogp: empty(),
            dvalue: empty(),
            dentropy: empty(),
            kl: empty(),
            kl_slope: empty(),
        };
        Ok(Self {
            beta: config.beta,
            monitor: RewardMonitor::new(config.monitors)?,
            buffers,
            config,
        })
    }

    /// The current coefficient of the KL charge.
    pub fn beta(&self) -> f64 {
        self.beta.value()
    }

    /// Runs one update: token rewards, advantages, losses, gradients and metrics.
    ///
    /// A rollout whose reward is NaN was not scored and does not enter any mean, deviation, loss or
    /// gradient.
    ///
    /// # Errors
    /// [`OptimError::Missing`] for an input that the configured method needs, and the errors of the
    /// stages: wrong shapes, settings out of range, a NaN or infinity in a valid slot.
    pub fn step(&mut self, batch: &RepoBatch<'_, F>) -> Result<Update<'_, F>, OptimError> {
        batch.check(&self.config)?;
        self.buffers.resize(batch.mask.slots());
        let mut dropped = std::mem::take(&mut self.buffers.dropped);
        batch.drop_unscored(&mut dropped);
        let result = batch
            .mask
            .without(&dropped)
            .and_then(|mask| self.update(&RepoBatch { mask, ..*batch }));
        self.buffers.dropped = dropped;
        let (loss, metrics) = result?;
        let StepBuffers { advantages, returns, dlogp, dvalue, dentropy, .. } = &self.buffers;
        Ok(Update { advantages, returns, loss, dlogp, dvalue, dentropy, metrics })
    }

    /// Runs the stages in two passes over the tokens, because whitening needs the moments of the
    /// whole batch. The first pass computes token rewards, advantages and the value loss. The
    /// second pass whitens the advantages and computes the policy loss. Each pass runs all its
    /// stages on one block of rollouts before the next, so that the block stays in the CPU cache.
    fn update(&mut self, batch: &RepoBatch<'_, F>) -> Result<(f64, UpdateMetrics), OptimError> {
        let mask = batch.mask;
        let whole = RepoBatch {
            normaliser: batch.normaliser.or_else(|| Some(Normaliser::of(&mask))),
            ..*batch
        };
        let first = self.first_pass(&whole)?;
        let advantages = Moments::of(first.advantages);
        let policy = self.second_pass(&whole, &advantages)?;

        let mut metrics =
            UpdateMetrics { beta: self.beta.value(), advantages, ..UpdateMetrics::default() };
        (metrics.kl, metrics.policy) = (first.kl_charge.report(), policy.report());
        metrics.kl_loss = self.add_kl_loss(batch)?;
        metrics.entropy_bonus = self.add_entropy_bonus(batch)?;
        metrics.value = first.value.report();
        metrics.monitors = self.monitor.watch(&mask, batch.rewards, &batch.parts, batch.groups)?;
        self.beta.update(metrics.kl.row_mean, mask.rows() - metrics.kl.unplaced);

        let critic =
            self.config.critic.map_or(0.0, |critic| critic.coefficient * metrics.value.loss);
        Ok((metrics.policy.loss + metrics.kl_loss - metrics.entropy_bonus + critic, metrics))
    }

    /// Computes token rewards, advantages and returns, the critic's loss, and the moments of the
    /// advantages.
    fn first_pass(&mut self, batch: &RepoBatch<'_, F>) -> Result<FirstPassSums, OptimError> {
        let Self { config, buffers: StepBuffers { advantages, returns, dvalue, .. }, .. } = self;
        let charge = KlRewardConfig { kl: config.kl, beta: self.beta.value() };
        let charge = |part: &RepoBatch<'_, F>, out: &mut [F]| {
            // Without a reference, the KL and its charge are 0.
            let kl =
                KlBatch::new(part.mask, part.old_logp, part.reference.unwrap_or(part.old_logp));
            token_rewards::token_reward_sums(&charge, &kl, part.rewards, out)
        };
        // Methods without a critic need the whole batch at once.
        let whole_batch = match config.advantage {
            AdvantageMethod::Gae(_) => None,
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
                    let value = critic_loss(config.critic, &part, returns, dvalue)?;
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

    /// Whitens the advantages, if configured, and computes the policy loss and its gradient.
    fn second_pass(
        &mut self,
        batch: &RepoBatch<'_, F>,
        moments: &Moments,
    ) -> Result<PolicySums, OptimError> {
        let Self { config, buffers: StepBuffers { advantages, dlogp, .. }, .. } = self;
        config.whiten.map_or(Ok(()), |whiten| whiten.check())?;
        over_blocks(&batch.mask, [advantages, dlogp], |rows, [advantages, dlogp]| {
            let part = batch.part(rows.clone());
            if let Some(config) = &config.whiten {
                whiten_with(config, moments, &part.mask, advantages);
            }
            let mut policy = PolicyBatch::new(part.mask, part.logp, part.old_logp, advantages);
            if let Some(normaliser) = part.normaliser {
                policy = policy.with_normaliser(normaliser);
            }
            if let Some(weights) = part.correction {
                policy = policy.with_correction(weights);
            }
            policy_sums(&config.policy, &policy, dlogp)
                .map_err(|error| error.offset_rows(rows.start))
        })
    }

    /// Adds the gradient of the KL term to `dlogp` and returns the term; 0 if there is none.
    fn add_kl_loss(&mut self, batch: &RepoBatch<'_, F>) -> Result<f64, OptimError> {
        let (Some(config), Some(reference)) = (self.config.kl_loss, batch.reference) else {
            return Ok(0.0);
        };
        let StepBuffers { kl, kl_slope, dlogp, .. } = &mut self.buffers;
        let kl_batch =
            KlBatch::new(batch.mask, batch.logp, reference).with_old_logp(batch.old_logp);
        kl_penalty(&config.kl, &kl_batch, kl, kl_slope)?;
        let weigher = self.config.policy.aggregation.weigher(&batch.mask, batch.normaliser)?;
        let mut loss = 0.0;
        for row in 0..batch.mask.rows() {
            let weight = config.coefficient * weigher.weight(batch.mask.count(row));
            let scale = F::from_f64(weight);
            for slot in batch.mask.spans(row).flatten() {
                loss += weight * kl[slot].to_f64();
                dlogp[slot] += scale * kl_slope[slot];
            }
        }
        Ok(loss)
    }

    /// Writes the gradient of the entropy bonus and returns the bonus: the weighted entropy times
    /// its coefficient, or 0 if there is no coefficient.
    fn add_entropy_bonus(&mut self, batch: &RepoBatch<'_, F>) -> Result<f64, OptimError> {
        let (true, Some(entropy)) = (self.config.entropy_coefficient > 0.0, batch.entropy) else {
            // The gradient's buffer holds zeros, because it is written only with a coefficient.
            return Ok(0.0);
        };
        let dentropy = &mut self.buffers.dentropy;
        dentropy.fill(F::ZERO);
        let weigher = self.config.policy.aggregation.weigher(&batch.mask, batch.normaliser)?;
        let mut bonus = 0.0;
        for row in 0..batch.mask.rows() {
            let weight = self.config.entropy_coefficient * weigher.weight(batch.mask.count(row));
            for slot in batch.mask.spans(row).flatten() {
                bonus += weight * entropy[slot].to_f64();
                dentropy[slot] = F::from_f64(-weight);
            }
        }
        if bonus.is_finite() {
            Ok(bonus)
        } else {
            Err(batch.mask.non_finite_error("entropy bonus", &[("entropy", entropy)]))
        }
    }
}

/// Sums of the first pass.
struct FirstPassSums {
    kl_charge: TokenRewardSums,
    value: ValueSums,
    advantages: Welford,
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
        AdvantageMethod::Gae(_) => return Ok(()),
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

/// Computes the critic's loss and its gradient, both 0 without a critic.
fn critic_loss<F: Float>(
    critic: Option<CriticConfig>,
    batch: &RepoBatch<'_, F>,
    returns: &[F],
    dvalue: &mut [F],
) -> Result<ValueSums, OptimError> {
    let (Some(critic), Some(values), Some(old)) = (critic, batch.values, batch.old_values) else {
        dvalue.fill(F::ZERO);
        return Ok(ValueSums::default());
    };
    let mut value_batch = ValueBatch::new(batch.mask, values, old, returns);
    if let Some(normaliser) = batch.normaliser {
        value_batch = value_batch.with_normaliser(normaliser);
    }
    let sums = value_sums(&critic.loss, &value_batch, dvalue)?;
    if (critic.coefficient - 1.0).abs() > 0.0 {
        let coefficient = F::from_f64(critic.coefficient);
        dvalue.iter_mut().for_each(|slope| *slope = *slope * coefficient);
    }
    Ok(sums)
}

/// One reward per rollout: the sum of its token rewards, including the KL charge; `None` for a row
/// without tokens.
fn row_sums<F: Float>(mask: &RowMask<'_>, token_rewards: &[F]) -> Vec<Option<f64>> {
    let sum = |row: usize| mask.spans(row).flatten().map(|slot| token_rewards[slot].to_f64()).sum();
    (0..mask.rows()).map(|row| mask.last(row).map(|_| sum(row))).collect()
}
