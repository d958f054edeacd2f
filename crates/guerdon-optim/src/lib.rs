//! Turns fused rewards into advantages, and advantages into policy and value losses with their
//! gradients, on plain slices of `f32` or `f64`.
//!
//! [`Repo::step`] is one complete update; [`Repo::estimate`] and [`Repo::improve`] are its halves,
//! for loops with several passes over a batch. Each stage is also a function of its own:
//!
//! ```
//! use guerdon_optim::{
//!     Estimator, GroupBatch, GroupConfig, PolicyBatch, PolicyConfig, RowMask, policy_loss,
//!     token_advantages,
//! };
//!
//! // Two prompts, two rollouts each, padded to 3 tokens. The last rollout's source abstained.
//! let mask = RowMask::lens(&[2, 3, 1, 2], 3)?;
//! let rewards = [0.5_f32, 1.5, -1.0, f32::NAN];
//! let groups = ["lower the price", "lower the price", "ask for photos", "ask for photos"];
//!
//! let config = GroupConfig { estimator: Estimator::DrGrpo, ..GroupConfig::default() };
//! let mut advantages = [0.0; 12];
//! token_advantages(&config, &GroupBatch::new(mask, &rewards, &groups), &mut advantages)?;
//! assert_eq!(advantages, [-0.5, -0.5, 0.0, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
//!
//! // The batch is on policy (ratio 1), so the gradient by each log-prob is minus its advantage
//! // divided by the number of tokens.
//! let logp = [-1.0_f32; 12];
//! let mut dlogp = [0.0; 12];
//! let batch = PolicyBatch::new(mask, &logp, &logp, &advantages);
//! let report = policy_loss(&PolicyConfig::default(), &batch, &mut dlogp)?;
//! assert_eq!(dlogp[..6], [0.0625, 0.0625, 0.0, -0.0625, -0.0625, -0.0625]);
//! assert_eq!(report.loss, -0.0625);
//! # Ok::<(), guerdon_optim::OptimError>(())
//! ```
//!
//! The caller's framework pushes a gradient through the network: the scalar
//! `sum(dlogp * logp) + sum(dvalue * values)`, with `dlogp` and `dvalue` held constant, has exactly
//! these gradients.
//!
//! | folder or file | contents |
//! |---|---|
//! | [`mod@repo`] | one update, from rewards to gradients; presets of REPO and others |
//! | [`reward`] | one reward from several; token rewards less a KL charge |
//! | [`advantage`] | GAE, GRPO and relatives, OPO, GDPO, REINFORCE++, ReMax, by turn; whitening |
//! | [`loss`] | policy, value, KL and preference losses; aggregation, off-policy correction, logits |
//! | [`kernel`] | row masks, number types and the vectorised walk over a batch |
//! | [`monitors`] | health figures for training on several rewards |
//! | [`error`] | [`OptimError`] |
//! | `names` | the `snake_case` names of enums |
//! | `testing` | helpers shared by the unit tests |
//!
//! Four guarantees hold for every function:
//!
//! - Padded slots never influence a result, even if they hold NaN.
//! - Every input is either refused with its name and position or has a defined result. That
//!   includes empty rows, single tokens, lone rollouts and equal rewards.
//! - Sums over blocks of tokens are kept in `f64` for both types of slices.
//! - The same batch gives the same bits on any number of threads.

pub mod advantage;
pub mod error;
pub mod kernel;
pub mod loss;
pub mod monitors;
mod names;
pub mod repo;
pub mod reward;
#[cfg(test)]
mod testing;

pub use crate::advantage::gae::{GaeBatch, GaeConfig, Lambda, gae};
pub use crate::advantage::gdpo::{RewardPart, gdpo, standardise};
pub use crate::advantage::group::{
    Estimator, GroupBatch, GroupConfig, advantages, advantages_with, spread, token_advantages,
};
pub use crate::advantage::opo::opo;
pub use crate::advantage::otb::{OtbBatch, OtbConfig, TokenAlignment, optimal_token_baseline};
pub use crate::advantage::returns::{remax, returns_to_go};
pub use crate::advantage::rollout::{RolloutBatch, RolloutEstimator, rollout_advantages};
pub use crate::advantage::turns::{TurnBatch, TurnGroupBatch, turn_gae, turn_group_advantages};
pub use crate::advantage::whiten::{Moments, WhitenConfig, moments, whiten};
pub use crate::error::OptimError;
pub use crate::kernel::float::Float;
pub use crate::kernel::instructions::InstructionSet;
pub use crate::kernel::rows::{RowMask, Spans};
pub use crate::loss::aggregate::{Aggregation, Normaliser};
pub use crate::loss::correction::{
    CorrectionBatch, CorrectionConfig, CorrectionLevel, CorrectionReport, Divergence, Rejection,
    RejectionScope, WeightBound, importance_weights, off_policy_rows, rejection_mask,
};
pub use crate::loss::kl::{KlBatch, KlConfig, KlEstimator, KlGradient, k3, kl_penalty};
pub use crate::loss::logits::{LogitsBatch, logits_gradient, token_logp};
pub use crate::loss::policy::{
    ClipRange, PolicyBatch, PolicyConfig, PolicyReport, Surrogate, policy_loss,
};
pub use crate::loss::ppo::{PpoConfig, ppo_loss};
pub use crate::loss::preference::{
    KtoConfig, KtoReport, PairLoss, PairReport, PreferenceBatch, kto_loss, pair_loss, sft_loss,
};
pub use crate::loss::value::{ValueBatch, ValueConfig, ValueReport, value_loss};
pub use crate::monitors::{
    MonitorConfig, MonitorReport, MonitorState, RewardMonitor, SourceReport, SourceRewards,
};
pub use crate::repo::{
    AdvantageMethod, CriticConfig, Estimate, EstimateMetrics, Improvement, KlLossConfig,
    LossMetrics, Minibatch, Repo, RepoBatch, RepoConfig, RepoState, Update, UpdateMetrics,
};
pub use crate::reward::kl_control::KlController;
pub use crate::reward::token_rewards::{KlReport, KlRewardConfig, token_rewards};
