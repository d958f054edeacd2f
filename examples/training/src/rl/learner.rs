//! One update of the policy: forward, guerdon's gradients, backward, step.

use anyhow::Context as _;
use candle_core::{DType, Tensor};
use guerdon_client::optim::monitors::Parts;
use guerdon_client::optim::{Metrics, Repo, RepoBatch, RepoConfig, RowMask};

use crate::checkpoint::Base;
use crate::inject::surrogate;
use crate::policy::{Adam, Dialogues, Policy, Weights};

/// A batch of scored replies. A missing number is NaN, never 0.
#[derive(Debug, Clone)]
pub struct Experience {
    /// Prompts and replies.
    pub dialogues: Dialogues,
    /// The prompt of each reply, as a number.
    pub groups: Vec<usize>,
    /// The fused reward of each reply.
    pub rewards: Vec<f32>,
    /// What reward model, judge and rules said of each.
    pub parts: [Vec<f32>; 3],
}

/// A policy that is being trained, and all that its training remembers.
#[derive(Debug)]
pub struct Learner {
    /// The policy, over `weights`.
    pub policy: Policy,
    /// What is trained.
    pub weights: Weights,
    /// The policy that KL is measured from.
    pub reference: Policy,
    /// The optimizer of the weights.
    pub adam: Adam,
    /// The optimizer of the objective.
    pub repo: Repo<f32>,
}

/// What one update gives besides a better policy.
#[derive(Debug, Clone, Copy)]
pub struct Learned {
    /// The whole loss of the last pass.
    pub loss: f64,
    /// Guerdon's figures of the last pass.
    pub metrics: Metrics,
    /// The norm of the last pass's gradient, before it was limited.
    pub norm: f64,
}

impl Learner {
    /// A learner that stands at `weights` and measures KL from `base`.
    ///
    /// # Errors
    /// Settings or weights that do not fit.
    pub fn new(
        base: &Base,
        weights: Weights,
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

    /// Learns from one batch in `epochs` passes.
    ///
    /// # Errors
    /// What guerdon or candle refuses; a parameter that no gradient reached.
    pub fn learn(&mut self, batch: &Experience, epochs: usize) -> anyhow::Result<Learned> {
        let dialogues = &batch.dialogues;
        let mask = RowMask::lens(&dialogues.lens, dialogues.width())?;
        let reference = host(&self.reference.forward(dialogues)?.0)?;
        let [rm, judge, rules] = &batch.parts;
        let present = |part: &'_ Vec<f32>| !part.iter().all(|x| x.is_nan());
        let part = |of| if present(of) { of.as_slice() } else { &[] };
        let parts = Parts { rm: part(rm), judge: part(judge), rules: part(rules) };

        let mut sampled: Option<(Vec<f32>, Vec<f32>)> = None;
        let mut learned = None;
        for _ in 0..epochs {
            let (logp, values) = self.policy.forward(dialogues)?;
            let (now, worth) = (host(&logp)?, host(&values)?);
            // On the first pass this is the policy that sampled: its own numbers are the old ones.
            let (old, old_worth) = sampled.get_or_insert_with(|| (now.clone(), worth.clone()));
            let inputs = RepoBatch::new(mask, &now, old, &batch.rewards)
                .with_reference(&reference)
                .with_critic(&worth, old_worth)
                .with_groups(&batch.groups)
                .with_parts(parts);
            let update = self.repo.step(&inputs)?;
            let gradients = surrogate(&logp, &values, update.dlogp, update.dvalue)?.backward()?;
            let (loss, metrics) = (update.loss, update.metrics);
            let norm = self.adam.step(&self.weights, &gradients)?;
            learned = Some(Learned { loss, metrics, norm });
        }
        learned.context("an update needs at least one pass; set --epochs to 1 or more")
    }
}

/// The numbers of a `[B, T]` tensor, row-major.
fn host(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}
