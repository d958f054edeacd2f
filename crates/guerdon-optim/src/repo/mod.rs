//! One update of REPO, from rewards to gradients, in the order of the method.
//!
//! ```
//! use guerdon_optim::{Repo, RepoBatch, RepoConfig, RowMask};
//!
//! // Two rollouts of 2 and 3 tokens; the second was not scored, so nothing is learned from it.
//! let mask = RowMask::lens(&[2, 3], 3)?;
//! let logp = [-1.0_f32, -0.5, 0.0, -2.0, -1.0, -0.1];
//! let (values, rewards) = ([0.2_f32; 6], [1.0, f32::NAN]);
//!
//! let mut repo = Repo::new(RepoConfig::paper())?;
//! let batch = RepoBatch::new(mask, &logp, &logp, &rewards).with_reference(&logp).with_critic(&values, &values);
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
pub use metrics::Metrics;

use crate::advantage::gae::{GaeBatch, gae};
use crate::advantage::gdpo::{RewardPart, gdpo};
use crate::advantage::group::{advantages_with, spread};
use crate::advantage::opo::opo;
use crate::advantage::returns::{remax, returns_to_go};
use crate::advantage::whiten::{Moments, measure, rescale};
use crate::error::OptimError;
use crate::kernel::blocks::{Merge, over_blocks};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::kernel::welford::Welford;
use crate::loss::aggregate::Normaliser;
use crate::loss::kl::{KlBatch, kl_penalty};
use crate::loss::policy::{Improved, PolicyBatch, improve};
use crate::loss::value::{Fitted, ValueBatch, fit};
use crate::monitors::Monitor;
use crate::reward::kl_control::KlController;
use crate::reward::token_rewards::{self, Charged, KlRewardConfig};

/// The optimizer: a configuration, what it remembers between updates (the price of KL, trends), and the memory that
/// updates reuse. With a critic, a second update of the same shape allocates nothing.
#[derive(Clone, Debug)]
pub struct Repo<F> {
    config: RepoConfig,
    beta: KlController,
    monitor: Monitor,
    memory: Memory<F>,
}

/// What one update gives. Slices are `[B, T]` and live until the next update.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Update<'a, F> {
    /// Advantages as the policy loss saw them, whitened where configured; 0 in padded slots and for rollouts that were
    /// not scored.
    pub advantages: &'a [F],
    /// What the critic should have predicted; where there is no critic, the rewards-to-go or the advantages.
    pub returns: &'a [F],
    /// The whole loss, to be minimised.
    pub loss: f64,
    /// Its gradient by `logp`.
    pub dlogp: &'a [F],
    /// Its gradient by the critic's `values`; 0 without a critic.
    pub dvalue: &'a [F],
    /// Its gradient by the entropies; 0 without an entropy bonus.
    pub dentropy: &'a [F],
    /// What to log.
    pub metrics: Metrics,
}

#[derive(Clone, Debug)]
struct Memory<F> {
    dropped: Vec<u8>,
    advantages: Vec<F>,
    returns: Vec<F>,
    dlogp: Vec<F>,
    dvalue: Vec<F>,
    dentropy: Vec<F>,
    kl: Vec<F>,
    kl_slope: Vec<F>,
}

impl<F: Float> Memory<F> {
    fn fit(&mut self, slots: usize) {
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
    /// [`OptimError::Config`] for a monitor's limit or a loss coefficient out of range; the other settings are checked
    /// by the first update.
    pub fn new(config: RepoConfig) -> Result<Self, OptimError> {
        config.check()?;
        let empty = Vec::new;
        let memory = Memory {
            dropped: Vec::new(),
            advantages: empty(),
            returns: empty(),
            dlogp: empty(),
            dvalue: empty(),
            dentropy: empty(),
            kl: empty(),
            kl_slope: empty(),
        };
        Ok(Self { beta: config.beta, monitor: Monitor::new(config.monitors)?, memory, config })
    }

    /// The price of a nat now.
    pub fn beta(&self) -> f64 {
        self.beta.value()
    }

    /// One update: token rewards, advantages, losses, gradients, metrics.
    ///
    /// A rollout whose reward is NaN was not scored: it leaves every mean, deviation, loss and gradient.
    ///
    /// # Errors
    /// [`OptimError::Missing`] for an input that the configured method needs; else what the stages refuse: wrong
    /// shapes, settings out of range, a NaN or infinity in a valid slot.
    pub fn step(&mut self, batch: &RepoBatch<'_, F>) -> Result<Update<'_, F>, OptimError> {
        batch.check(&self.config)?;
        self.memory.fit(batch.mask.slots());
        let mut dropped = std::mem::take(&mut self.memory.dropped);
        batch.drop_unscored(&mut dropped);
        let result = batch
            .mask
            .without(&dropped)
            .and_then(|mask| self.update(&RepoBatch { mask, ..*batch }));
        self.memory.dropped = dropped;
        let (loss, metrics) = result?;
        let Memory { advantages, returns, dlogp, dvalue, dentropy, .. } = &self.memory;
        Ok(Update { advantages, returns, loss, dlogp, dvalue, dentropy, metrics })
    }

    /// Whitening needs the moments of the whole batch, so every token is seen twice: first to be charged, estimated and
    /// judged by the critic, then to be whitened and judged by the policy. Each time a block of rollouts goes through all
    /// that is done to it while it is near.
    fn update(&mut self, batch: &RepoBatch<'_, F>) -> Result<(f64, Metrics), OptimError> {
        let mask = batch.mask;
        let whole = RepoBatch {
            normaliser: batch.normaliser.or_else(|| Some(Normaliser::of(&mask))),
            ..*batch
        };
        let first = self.first_pass(&whole)?;
        let advantages = Moments::of(first.advantages);
        let policy = self.second_pass(&whole, &advantages)?;

        let mut metrics = Metrics { beta: self.beta.value(), advantages, ..Metrics::default() };
        (metrics.kl, metrics.policy) = (first.charged.report(), policy.report());
        metrics.kl_loss = self.add_kl_loss(batch)?;
        metrics.entropy_bonus = self.add_entropy_bonus(batch)?;
        metrics.value = first.fitted.report();
        metrics.monitors = self.monitor.watch(&mask, batch.rewards, &batch.parts, batch.groups)?;
        self.beta.update(metrics.kl.row_mean, mask.rows() - metrics.kl.unplaced);

        let critic =
            self.config.critic.map_or(0.0, |critic| critic.coefficient * metrics.value.loss);
        Ok((metrics.policy.loss + metrics.kl_loss - metrics.entropy_bonus + critic, metrics))
    }

    /// Token rewards, advantages and returns, the critic's loss, and the moments of the advantages.
    fn first_pass(&mut self, batch: &RepoBatch<'_, F>) -> Result<First, OptimError> {
        let Self { config, memory: Memory { advantages, returns, dvalue, .. }, .. } = self;
        let charge = KlRewardConfig { kl: config.kl, beta: self.beta.value() };
        let charge = |part: &RepoBatch<'_, F>, out: &mut [F]| {
            // Without a reference the KL is 0 and so is its charge.
            let kl =
                KlBatch::new(part.mask, part.old_logp, part.reference.unwrap_or(part.old_logp));
            token_rewards::charge(&charge, &kl, part.rewards, out)
        };
        // Siblings are compared over the whole batch.
        let compared = match config.advantage {
            AdvantageMethod::Gae(_) => None,
            _ => {
                // Token rewards need no memory of their own: they stand where the critic's gradient will.
                let charged = charge(batch, dvalue)?;
                compare(&config.advantage, batch, dvalue, advantages)?;
                returns.copy_from_slice(advantages);
                Some(charged)
            }
        };
        over_blocks(
            &batch.mask,
            [advantages, returns, dvalue],
            |rows, [advantages, returns, dvalue]| {
                let part = batch.part(rows.clone());
                let mut pass = || {
                    let mut charged = Charged::default();
                    if let AdvantageMethod::Gae(config) = &config.advantage {
                        charged = charge(&part, dvalue)?;
                        let mut batch =
                            GaeBatch::new(part.mask, dvalue, part.old_values.unwrap_or_default());
                        if let Some(bootstrap) = part.bootstrap {
                            batch = batch.with_bootstrap(bootstrap);
                        }
                        gae(config, &batch, advantages, returns)?;
                    }
                    let fitted = fit_critic(config.critic, &part, returns, dvalue)?;
                    Ok(First { charged, fitted, advantages: measure(&part.mask, advantages)? })
                };
                pass().map_err(|error: OptimError| error.after(rows.start))
            },
        )
        .map(|first| First { charged: compared.unwrap_or(first.charged), ..first })
    }

    /// Whitening, the policy loss and its gradient.
    fn second_pass(
        &mut self,
        batch: &RepoBatch<'_, F>,
        moments: &Moments,
    ) -> Result<Improved, OptimError> {
        let Self { config, memory: Memory { advantages, dlogp, .. }, .. } = self;
        config.whiten.map_or(Ok(()), |whiten| whiten.check())?;
        over_blocks(&batch.mask, [advantages, dlogp], |rows, [advantages, dlogp]| {
            let part = batch.part(rows.clone());
            if let Some(config) = &config.whiten {
                rescale(config, moments, &part.mask, advantages);
            }
            let mut policy = PolicyBatch::new(part.mask, part.logp, part.old_logp, advantages);
            if let Some(normaliser) = part.normaliser {
                policy = policy.with_normaliser(normaliser);
            }
            if let Some(weights) = part.correction {
                policy = policy.with_correction(weights);
            }
            improve(&config.policy, &policy, dlogp).map_err(|error| error.after(rows.start))
        })
    }

    /// The KL term of the loss, where there is one; its gradient joins `dlogp`.
    fn add_kl_loss(&mut self, batch: &RepoBatch<'_, F>) -> Result<f64, OptimError> {
        let (Some(config), Some(reference)) = (self.config.kl_loss, batch.reference) else {
            return Ok(0.0);
        };
        let Memory { kl, kl_slope, dlogp, .. } = &mut self.memory;
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

    /// The weighed entropy times its coefficient, where there is one.
    fn add_entropy_bonus(&mut self, batch: &RepoBatch<'_, F>) -> Result<f64, OptimError> {
        let (true, Some(entropy)) = (self.config.entropy_coefficient > 0.0, batch.entropy) else {
            // The gradient is 0 since its memory was made: without a coefficient nothing is ever written there.
            return Ok(0.0);
        };
        let dentropy = &mut self.memory.dentropy;
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
            Err(batch.mask.blame("entropy bonus", &[("entropy", entropy)]))
        }
    }
}

/// Sums of the first pass.
struct First {
    charged: Charged,
    fitted: Fitted,
    advantages: Welford,
}

impl Merge for First {
    fn merge(self, later: Self) -> Self {
        Self {
            charged: self.charged.merge(later.charged),
            fitted: self.fitted.merge(later.fitted),
            advantages: self.advantages.merge(later.advantages),
        }
    }
}

/// Advantages without a critic, from the token rewards of the whole batch.
fn compare<F: Float>(
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

/// The critic's loss and its gradient, which is 0 where there is none.
fn fit_critic<F: Float>(
    critic: Option<CriticConfig>,
    batch: &RepoBatch<'_, F>,
    returns: &[F],
    dvalue: &mut [F],
) -> Result<Fitted, OptimError> {
    let (Some(critic), Some(values), Some(old)) = (critic, batch.values, batch.old_values) else {
        dvalue.fill(F::ZERO);
        return Ok(Fitted::default());
    };
    let mut value_batch = ValueBatch::new(batch.mask, values, old, returns);
    if let Some(normaliser) = batch.normaliser {
        value_batch = value_batch.with_normaliser(normaliser);
    }
    let fitted = fit(&critic.loss, &value_batch, dvalue)?;
    if (critic.coefficient - 1.0).abs() > 0.0 {
        let coefficient = F::from_f64(critic.coefficient);
        dvalue.iter_mut().for_each(|slope| *slope = *slope * coefficient);
    }
    Ok(fitted)
}

/// One reward a rollout: the sum of its token rewards, KL charge included; none for a row without tokens.
fn row_sums<F: Float>(mask: &RowMask<'_>, token_rewards: &[F]) -> Vec<Option<f64>> {
    let sum = |row: usize| mask.spans(row).flatten().map(|slot| token_rewards[slot].to_f64()).sum();
    (0..mask.rows()).map(|row| mask.last(row).map(|_| sum(row))).collect()
}
