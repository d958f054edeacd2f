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
}

impl RlSettings {
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
