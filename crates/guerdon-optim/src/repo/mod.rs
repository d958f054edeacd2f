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

//! [`Repo::step`] does everything for one batch. A loop with several passes over a batch, or with
//! minibatches, estimates once and improves many times:
//!
//! ```
//! use guerdon_optim::{Minibatch, Repo, RepoBatch, RepoConfig, RowMask};
//!
//! let (lens, old_logp, values) = ([2, 3], [-1.0_f32; 6], [0.2_f32; 6]);
//! let mask = RowMask::lens(&lens, 3)?;
//! let mut repo = Repo::new(RepoConfig::paper())?;
//! let batch = RepoBatch::sampled(mask, &old_logp, &[1.0, 0.5])
//!     .with_reference(&old_logp)
//!     .with_old_values(&values);
//! let estimate = repo.estimate(&batch)?;
//! for _epoch in 0..4 {
//!     let logp = old_logp; // the network's log-probs now
//!     let minibatch = Minibatch::new(estimate.mask(mask)?, &logp, &old_logp, &estimate.advantages)
//!         .with_critic(&values, &values, &estimate.returns);
//!     let improvement = repo.improve(&minibatch)?;
//!     assert_eq!(improvement.dlogp.len(), 6);
//! }
//! # Ok::<(), guerdon_optim::OptimError>(())
//! ```

mod batch;
mod config;
mod estimate;
mod improve;
mod metrics;
mod state;
#[cfg(test)]
mod tests;

pub use batch::RepoBatch;
pub use config::{AdvantageMethod, CriticConfig, KlLossConfig, RepoConfig};
pub use estimate::Estimate;
pub use improve::{Improvement, Minibatch};
pub use metrics::{EstimateMetrics, LossMetrics, UpdateMetrics};
pub use state::RepoState;

use crate::advantage::whiten::{Moments, whiten_with};
use crate::error::OptimError;
use crate::kernel::blocks::over_blocks;
use crate::kernel::float::Float;
use crate::loss::aggregate::Normaliser;
use crate::loss::policy::{PolicyBatch, PolicySums, policy_sums};
use crate::monitors::RewardMonitor;
use crate::reward::kl_control::KlController;

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
        let terms = whole.minibatch(&[]);
        metrics.kl_loss = self.add_kl_loss(&terms)?;
        metrics.entropy_bonus = self.add_entropy_bonus(&terms)?;
        metrics.value = first.value.report();
        metrics.monitors = self.monitor.watch(&mask, batch.rewards, &batch.parts, batch.groups)?;
        self.beta.update(metrics.kl.row_mean, mask.rows() - metrics.kl.unplaced);

        let critic =
            self.config.critic.map_or(0.0, |critic| critic.coefficient * metrics.value.loss);
        Ok((metrics.policy.loss + metrics.kl_loss - metrics.entropy_bonus + critic, metrics))
    }

    /// Whitens the advantages, if configured, and computes the policy loss and its gradient.
    fn second_pass(
        &mut self,
        batch: &RepoBatch<'_, F>,
        moments: &Moments,
    ) -> Result<PolicySums, OptimError> {
        let Self { config, buffers: StepBuffers { advantages, dlogp, .. }, .. } = self;
        config.whiten.map_or(Ok(()), |whiten| whiten.check())?;
        let outs = [&mut advantages[..], &mut dlogp[..]];
        let mut sums = over_blocks(&batch.mask, outs, |rows, [advantages, dlogp]| {
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
        })?;
        let all = batch.minibatch(advantages).policy_inputs(0..batch.mask.rows());
        sums.add_covariance(&config.policy, &all, dlogp)?;
        Ok(sums)
    }
}
