//! One update of the policy: forward, guerdon's gradients, backward, step.

use anyhow::Context as _;
use candle_core::{DType, Tensor};
use guerdon_client::optim::{
    Estimate, EstimateMetrics, LossMetrics, Minibatch, Repo, RepoBatch, RepoConfig, RowMask,
    SourceRewards,
};

use crate::checkpoint::Base;
use crate::inject::surrogate;
use crate::policy::{Adam, Dialogues, Policy, WeightSet};

/// A batch of scored replies. A missing number is NaN, never 0.
#[derive(Debug, Clone)]
pub struct Experience {
    /// Prompts and replies.
    pub dialogues: Dialogues,
    /// The group of each reply: equal numbers for replies to one prompt.
    pub groups: Vec<usize>,
    /// The fused reward of each reply.
    pub rewards: Vec<f32>,
    /// The rewards of each reply by source: reward model, judge and rules.
    pub parts: [Vec<f32>; 3],
}

/// A policy in training, with its reference policy and its optimizers.
#[derive(Debug)]
pub struct Learner {
    /// The policy, over `weights`.
    pub policy: Policy,
    /// The trained parameters.
    pub weights: WeightSet,
    /// The reference policy of the KL.
    pub reference: Policy,
    /// The optimizer of the weights.
    pub adam: Adam,
    /// The optimizer of the objective.
    pub repo: Repo<f32>,
}

/// The figures of one update.
#[derive(Debug, Clone, Copy)]
pub struct UpdateFigures {
    /// The total loss of the last pass.
    pub loss: f64,
    /// The optimizer's figures of the batch.
    pub estimate: EstimateMetrics,
    /// The optimizer's figures of the last pass.
    pub metrics: LossMetrics,
    /// The norm of the last pass's gradient before clipping.
    pub norm: f64,
}

impl Learner {
    /// A learner that starts at `weights`, with `base` as its reference.
    ///
    /// # Errors
    /// The weights do not fit the model, or a setting is invalid.
    pub fn new(
        base: &Base,
        weights: WeightSet,
        adam: Adam,
        repo: RepoConfig,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            policy: Policy::new(base.config, &weights, &base.trunk)?,
            weights,
            reference: base.policy()?.detached(),
            adam,
            repo: Repo::new(repo)?,
        })
    }

    /// The perplexity of each reply under the imitation policy, in nats per token; NaN for a reply
    /// without tokens.
    ///
    /// # Errors
    /// The errors of candle.
    pub fn nats_per_token(&self, dialogues: &Dialogues) -> anyhow::Result<Vec<f64>> {
        let logp = to_vec(&self.reference.forward(dialogues)?.0)?;
        let rows = logp.chunks(dialogues.width().max(1)).zip(&dialogues.lens);
        let nats = |(row, &len): (&[f32], &usize)| {
            let sum: f64 = row[..len].iter().copied().map(f64::from).sum();
            -sum / len as f64
        };
        Ok(rows.map(nats).collect())
    }

    /// Trains on one batch in `epochs` passes, with advantages that are estimated once.
    ///
    /// # Errors
    /// The errors of guerdon and candle; a parameter that has no gradient.
    pub fn learn(&mut self, batch: &Experience, epochs: usize) -> anyhow::Result<UpdateFigures> {
        let dialogues = &batch.dialogues;
        let mask = RowMask::lens(&dialogues.lens, dialogues.width())?;
        let reference = to_vec(&self.reference.forward(dialogues)?.0)?;
        let [rm, judge, rules] = &batch.parts;
        let is_present = |rewards: &Vec<f32>| !rewards.iter().all(|x| x.is_nan());
        let part = |rewards| if is_present(rewards) { rewards.as_slice() } else { &[] };
        let parts = SourceRewards { rm: part(rm), judge: part(judge), rules: part(rules) };

        let mut sampled: Option<(Vec<f32>, Vec<f32>, Estimate<f32>)> = None;
        let mut figures = None;
        for _ in 0..epochs {
            let (logp, values) = self.policy.forward(dialogues)?;
            let (new_logp, new_values) = (to_vec(&logp)?, to_vec(&values)?);
            // On the first pass the policy is still the one that sampled the batch, so its outputs
            // are kept as the old log-probs and values.
            if sampled.is_none() {
                let inputs = RepoBatch::sampled(mask, &new_logp, &batch.rewards)
                    .with_reference(&reference)
                    .with_old_values(&new_values)
                    .with_groups(&batch.groups)
                    .with_parts(parts);
                let estimate = self.repo.estimate(&inputs)?;
                sampled = Some((new_logp.clone(), new_values.clone(), estimate));
            }
            let Some((old_logp, old_values, estimate)) = &sampled else { continue };
            let minibatch =
                Minibatch::new(estimate.mask(mask)?, &new_logp, old_logp, &estimate.advantages)
                    .with_critic(&new_values, old_values, &estimate.returns)
                    .with_reference(&reference);
            let update = self.repo.improve(&minibatch)?;
            let gradients = surrogate(&logp, &values, update.dlogp, update.dvalue)?.backward()?;
            let (loss, metrics) = (update.loss, update.metrics);
            let norm = self.adam.step(&self.weights, &gradients)?;
            figures = Some(UpdateFigures { loss, estimate: estimate.metrics, metrics, norm });
        }
        figures.context("an update needs at least one pass; set --epochs to 1 or more")
    }
}

/// Copies the numbers of a `[B, T]` tensor, row-major.
fn to_vec(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}
