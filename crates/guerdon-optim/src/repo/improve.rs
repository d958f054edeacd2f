//! The second half of an update: losses and gradients of one minibatch, as often as needed.

use std::ops::Range;

use super::batch::RepoBatch;
use super::metrics::LossMetrics;
use super::{CriticConfig, Repo, StepBuffers};
use crate::error::OptimError;
use crate::kernel::blocks::{Merge, over_blocks};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::loss::aggregate::Normaliser;
use crate::loss::kl::{KlBatch, kl_penalty};
use crate::loss::policy::{PolicyBatch, PolicySums, policy_sums};
use crate::loss::value::{ValueBatch, ValueSums, value_sums};

/// Rows of a batch with their advantages, which [`Repo::estimate`] or the caller computed. `[B, T]`
/// slices are row-major; the contents of padded slots are ignored.
#[derive(Clone, Copy, Debug)]
pub struct Minibatch<'a, F> {
    pub(super) mask: RowMask<'a>,
    pub(super) logp: &'a [F],
    pub(super) old_logp: &'a [F],
    pub(super) advantages: &'a [F],
    pub(super) predictions: Option<(&'a [F], &'a [F])>,
    pub(super) returns: &'a [F],
    pub(super) reference: Option<&'a [F]>,
    pub(super) correction: Option<&'a [F]>,
    pub(super) entropy: Option<&'a [F]>,
    pub(super) normaliser: Option<Normaliser>,
}

impl<'a, F: Float> Minibatch<'a, F> {
    /// Log-probs (`[B, T]`, nats) of the tokens under the current policy and under the policy that
    /// sampled them, and the advantages (`[B, T]`), which are used as they are. Rollouts without a
    /// reward are left out by the mask ([`RowMask::without`]).
    pub fn new(mask: RowMask<'a>, logp: &'a [F], old_logp: &'a [F], advantages: &'a [F]) -> Self {
        Self {
            mask,
            logp,
            old_logp,
            advantages,
            predictions: None,
            returns: &[],
            reference: None,
            correction: None,
            entropy: None,
            normaliser: None,
        }
    }

    /// Sets the critic's predictions now and when the tokens were sampled, and its targets, all
    /// `[B, T]`.
    #[must_use]
    pub fn with_critic(self, values: &'a [F], old_values: &'a [F], returns: &'a [F]) -> Self {
        Self { predictions: Some((values, old_values)), returns, ..self }
    }

    /// Sets the log-probs under the reference policy, `[B, T]`, for the KL term of the loss.
    #[must_use]
    pub fn with_reference(self, logp: &'a [F]) -> Self {
        Self { reference: Some(logp), ..self }
    }

    /// Sets the importance weights of the tokens, `[B, T]`: see
    /// [`importance_weights`](crate::loss::correction::importance_weights).
    #[must_use]
    pub fn with_correction(self, weights: &'a [F]) -> Self {
        Self { correction: Some(weights), ..self }
    }

    /// Sets the policy's entropy before each token, `[B, T]`, in nats.
    #[must_use]
    pub fn with_entropy(self, entropy: &'a [F]) -> Self {
        Self { entropy: Some(entropy), ..self }
    }

    /// Sets the divisors of the rows over which gradients are added up before the optimizer's next
    /// step, if this is a part of them. By default they are those of these rows.
    #[must_use]
    pub fn with_normaliser(self, normaliser: Normaliser) -> Self {
        Self { normaliser: Some(normaliser), ..self }
    }

    fn check(&self) -> Result<(), OptimError> {
        let (values, old_values) = self.predictions.unzip();
        let slots = self.mask.slots();
        let len = |slice: Option<&[F]>| slice.map_or(slots, <[F]>::len);
        self.mask.check_all(&[
            ("logp", self.logp.len()),
            ("old_logp", self.old_logp.len()),
            ("advantages", self.advantages.len()),
            ("values", len(values)),
            ("old_values", len(old_values)),
            ("returns", len(values.map(|_| self.returns))),
            ("ref_logp", len(self.reference)),
            ("correction", len(self.correction)),
            ("entropy", len(self.entropy)),
        ])
    }

    /// The inputs of the critic's loss of a range of rows.
    fn value_inputs(&self, rows: Range<usize>) -> ValueInputs<'a, F> {
        let width = self.mask.width();
        let slots = rows.start * width..rows.end * width;
        ValueInputs {
            mask: self.mask.part(rows),
            predictions: self
                .predictions
                .map(|(values, old)| (&values[slots.clone()], &old[slots.clone()])),
            returns: self.predictions.map_or(&[], |_| &self.returns[slots]),
            normaliser: self.normaliser,
        }
    }

    /// The inputs of the policy loss of a range of rows.
    pub(super) fn policy_inputs(&self, rows: Range<usize>) -> PolicyBatch<'a, F> {
        let width = self.mask.width();
        let slots = |slice: &'a [F]| &slice[rows.start * width..rows.end * width];
        let mut policy = PolicyBatch::new(
            self.mask.part(rows.clone()),
            slots(self.logp),
            slots(self.old_logp),
            slots(self.advantages),
        );
        if let Some(weights) = self.correction {
            policy = policy.with_correction(slots(weights));
        }
        if let Some(normaliser) = self.normaliser {
            policy = policy.with_normaliser(normaliser);
        }
        policy
    }
}

impl<'a, F: Float> RepoBatch<'a, F> {
    /// The batch as one minibatch, with these advantages; without the critic's targets.
    pub(super) fn minibatch(&self, advantages: &'a [F]) -> Minibatch<'a, F> {
        Minibatch {
            reference: self.reference,
            correction: self.correction,
            entropy: self.entropy,
            normaliser: self.normaliser,
            ..Minibatch::new(self.mask, self.logp, self.old_logp, advantages)
        }
    }
}

/// The result of [`Repo::improve`]. Slices are `[B, T]` and valid until the next update.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Improvement<'a, F> {
    /// The total loss, to be minimised.
    pub loss: f64,
    /// The gradient of the loss by `logp`.
    pub dlogp: &'a [F],
    /// The gradient of the loss by the critic's `values`; 0 without a critic.
    pub dvalue: &'a [F],
    /// The gradient of the loss by the entropies; 0 without an entropy bonus.
    pub dentropy: &'a [F],
    /// Metrics to log.
    pub metrics: LossMetrics,
}

impl<F: Float> Repo<F> {
    /// Computes the losses of some rows of a batch, and their gradients, from advantages that are
    /// already there. Changes no state that is kept over updates.
    ///
    /// Without values the critic's loss is 0, so that actor and critic can be updated separately.
    ///
    /// # Errors
    /// [`OptimError::Missing`] for the reference that a KL term needs or the entropies that an
    /// entropy bonus needs, and the errors of the losses.
    pub fn improve(
        &mut self,
        minibatch: &Minibatch<'_, F>,
    ) -> Result<Improvement<'_, F>, OptimError> {
        minibatch.check()?;
        self.config.check_terms(minibatch.reference.is_some(), minibatch.entropy.is_some())?;
        self.buffers.resize(minibatch.mask.slots());
        let normaliser = minibatch.normaliser.or_else(|| Some(Normaliser::of(&minibatch.mask)));
        let whole = Minibatch { normaliser, ..*minibatch };
        let sums = self.losses(&whole)?;
        let metrics = LossMetrics {
            policy: sums.policy.report(),
            kl_loss: self.add_kl_loss(&whole)?,
            entropy_bonus: self.add_entropy_bonus(&whole)?,
            value: sums.value.report(),
        };
        let critic =
            self.config.critic.map_or(0.0, |critic| critic.coefficient * metrics.value.loss);
        let loss = metrics.policy.loss + metrics.kl_loss - metrics.entropy_bonus + critic;
        let buffers = &self.buffers;
        let (dlogp, dvalue, dentropy) = (&buffers.dlogp, &buffers.dvalue, &buffers.dentropy);
        Ok(Improvement { loss, dlogp, dvalue, dentropy, metrics })
    }

    /// The losses of policy and critic.
    fn losses(&mut self, batch: &Minibatch<'_, F>) -> Result<LossSums, OptimError> {
        let Self { config, buffers, .. } = self;
        let outs = [&mut buffers.dlogp[..], &mut buffers.dvalue[..]];
        let mut sums = over_blocks(&batch.mask, outs, |rows, [dlogp, dvalue]| {
            let mut pass = || {
                let policy = batch.policy_inputs(rows.clone());
                Ok(LossSums {
                    policy: policy_sums(&config.policy, &policy, dlogp)?,
                    value: critic_loss(config.critic, batch.value_inputs(rows.clone()), dvalue)?,
                })
            };
            pass().map_err(|error: OptimError| error.offset_rows(rows.start))
        })?;
        let all = batch.policy_inputs(0..batch.mask.rows());
        sums.policy.add_covariance(&config.policy, &all, &mut buffers.dlogp)?;
        Ok(sums)
    }

    /// Adds the gradient of the KL term to `dlogp` and returns the term; 0 if there is none.
    pub(super) fn add_kl_loss(&mut self, batch: &Minibatch<'_, F>) -> Result<f64, OptimError> {
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
    pub(super) fn add_entropy_bonus(
        &mut self,
        batch: &Minibatch<'_, F>,
    ) -> Result<f64, OptimError> {
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

/// Sums of the losses over a part of a minibatch.
struct LossSums {
    policy: PolicySums,
    value: ValueSums,
}

impl Merge for LossSums {
    fn merge(self, later: Self) -> Self {
        Self { policy: self.policy.merge(later.policy), value: self.value.merge(later.value) }
    }
}

/// The inputs of the critic's loss; `predictions` are now and when the tokens were sampled.
#[derive(Clone, Copy)]
pub(super) struct ValueInputs<'a, F> {
    pub(super) mask: RowMask<'a>,
    pub(super) predictions: Option<(&'a [F], &'a [F])>,
    pub(super) returns: &'a [F],
    pub(super) normaliser: Option<Normaliser>,
}

/// Computes the critic's loss and its gradient, both 0 without a critic.
pub(super) fn critic_loss<F: Float>(
    critic: Option<CriticConfig>,
    inputs: ValueInputs<'_, F>,
    dvalue: &mut [F],
) -> Result<ValueSums, OptimError> {
    let (Some(critic), Some((values, old))) = (critic, inputs.predictions) else {
        dvalue.fill(F::ZERO);
        return Ok(ValueSums::default());
    };
    let mut value_batch = ValueBatch::new(inputs.mask, values, old, inputs.returns);
    if let Some(normaliser) = inputs.normaliser {
        value_batch = value_batch.with_normaliser(normaliser);
    }
    let sums = value_sums(&critic.loss, &value_batch, dvalue)?;
    if (critic.coefficient - 1.0).abs() > 0.0 {
        let coefficient = F::from_f64(critic.coefficient);
        dvalue.iter_mut().for_each(|slope| *slope = *slope * coefficient);
    }
    Ok(sums)
}
