//! Settings of a run.

use guerdon_client::optim::{KlController, RepoConfig};
use serde::{Deserialize, Serialize};

use super::arm::Arm;

/// The settings of a run. Equal settings on one machine give equal runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct RlSettings {
    /// The method: fusion and optimizer settings
    #[arg(long, value_enum, default_value_t = Arm::Repo)]
    pub arm: Arm,
    /// Seed of prompts and samples
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Updates in total
    #[arg(long, default_value_t = 40)]
    pub updates: usize,
    /// Prompts per update
    #[arg(long, default_value_t = 16)]
    pub prompts: usize,
    /// Replies to each prompt
    #[arg(long, default_value_t = 4)]
    pub group: usize,
    /// Passes over each batch
    #[arg(long, default_value_t = 2)]
    pub epochs: usize,
    /// Learning rate
    #[arg(long, default_value_t = 3e-4)]
    pub rate: f64,
    /// KL coefficient per nat, in the reward or, for GRPO, in the loss; default: that of the arm's
    /// preset
    #[arg(long)]
    pub kl: Option<f64>,
    /// Sampling temperature
    #[arg(long, default_value_t = 1.0)]
    pub temperature: f64,
    /// Maximum tokens of a reply
    #[arg(long, default_value_t = 48)]
    pub limit: usize,
    /// Updates between two evaluations on held-out prompts
    #[arg(long, default_value_t = 10)]
    pub look_every: usize,
    /// Held-out prompts of an evaluation
    #[arg(long, default_value_t = 64)]
    pub held_out: usize,
    /// Updates between two checkpoints
    #[arg(long, default_value_t = 10)]
    pub save_every: usize,
    /// The fluency of the imitation policy's own held-out replies above which a reply is not paid,
    /// as a quantile of their perplexities under that policy; 0 switches the guard off
    #[arg(long, default_value_t = 0.95)]
    #[serde(default)]
    pub fluency_quantile: f64,
    /// The greatest reward of a reply that is not fluent
    #[arg(long, default_value_t = -2.0, allow_hyphen_values = true)]
    #[serde(default)]
    pub fluency_floor: f64,
    /// The share of held-out replies that are not fluent at which the run stops
    #[arg(long, default_value_t = 0.25)]
    #[serde(default)]
    pub stop_share: f64,
    /// The mean KL to the imitation policy at which the run stops, in nats per token
    #[arg(long, default_value_t = 0.15)]
    #[serde(default)]
    pub kl_bound: f64,
}

impl RlSettings {
    /// The default settings of an arm.
    #[must_use]
    pub const fn of(arm: Arm) -> Self {
        Self {
            arm,
            seed: 1,
            updates: 40,
            prompts: 16,
            group: 4,
            epochs: 2,
            rate: 3e-4,
            kl: None,
            temperature: 1.0,
            limit: 48,
            look_every: 10,
            held_out: 64,
            save_every: 10,
            fluency_quantile: 0.95,
            fluency_floor: -2.0,
            stop_share: 0.25,
            kl_bound: 0.15,
        }
    }

    /// The optimizer's settings.
    ///
    /// # Errors
    /// A KL coefficient below 0.
    pub fn optimizer(&self) -> anyhow::Result<RepoConfig> {
        let mut config = self.arm.optimizer();
        if let Some(coefficient) = self.kl {
            match &mut config.kl_loss {
                Some(loss) => loss.coefficient = coefficient,
                None => config.beta = KlController::fixed(coefficient)?,
            }
        }
        Ok(config)
    }
}
