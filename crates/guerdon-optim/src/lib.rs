//! Turns fused rewards into advantages, and advantages into policy and value losses with their gradients, on
//! plain slices of `f32` or `f64`.
//!
//! [`Repo::step`] is a whole update in the method's order; each of its stages is a function of its own:
//!
//! ```
//! use guerdon_optim::{Estimator, GroupBatch, GroupConfig, PolicyBatch, PolicyConfig, RowMask, policy_loss, token_advantages};
//!
//! // Two prompts, two rollouts each, padded to 3 tokens. The last rollout's reward source abstained.
//! let mask = RowMask::lens(&[2, 3, 1, 2], 3)?;
//! let rewards = [0.5_f32, 1.5, -1.0, f32::NAN];
//! let groups = ["lower the price", "lower the price", "ask for photos", "ask for photos"];
//!
//! let config = GroupConfig { estimator: Estimator::DrGrpo, ..GroupConfig::default() };
//! let mut advantages = [0.0; 12];
//! token_advantages(&config, &GroupBatch::new(mask, &rewards, &groups), &mut advantages)?;
//! assert_eq!(advantages, [-0.5, -0.5, 0.0, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
//!
//! // On policy, so the gradient by each log-prob is minus its advantage over the number of tokens.
//! let logp = [-1.0_f32; 12];
//! let mut dlogp = [0.0; 12];
//! let batch = PolicyBatch::new(mask, &logp, &logp, &advantages);
//! let report = policy_loss(&PolicyConfig::default(), &batch, &mut dlogp)?;
//! assert_eq!(dlogp[..6], [0.0625, 0.0625, 0.0, -0.0625, -0.0625, -0.0625]);
//! assert_eq!(report.loss, -0.0625);
//! # Ok::<(), guerdon_optim::OptimError>(())
//! ```
//!
//! A gradient is pushed through a network by its framework: `sum(dlogp * logp) + sum(dvalue * values)`, with `dlogp` and
//! `dvalue` held constant, has exactly these gradients.
//!
//! | file | what is in it |
//! |---|---|
//! | [`mod@repo`] | one update, from rewards to gradients; the paper's settings and others' |
//! | [`monitors`] | what to watch while training on several rewards |
//! | [`combine`] | one reward of several: REPO, preference, soft minimum, veto |
//! | [`token_rewards`](mod@token_rewards) | the reward on the last token, less a charge for KL |
//! | [`kl`], [`kl_control`] | KL estimators and their gradients; the price of a nat |
//! | [`mod@gae`] | advantages and returns from a critic |
//! | [`returns`] | REINFORCE++, ReMax |
//! | [`group`], [`mod@opo`], [`mod@gdpo`] | advantages against sibling rollouts |
//! | [`mod@whiten`] | mean, variance and whitening over valid tokens |
//! | [`policy`], [`ppo`] | policy losses: PPO, GSPO, GMPO, CISPO, SAPO, DRO, REINFORCE |
//! | [`value`] | the clipped value loss |
//! | [`correction`] | importance weights and masks for the gap between engine and trainer |
//! | [`logits`] | log-probs and entropies of logits, and back |
//! | [`aggregate`] | the weight of a token, and divisors for micro-batches |
//! | [`rows`] | which slots of a row-major `[B, T]` slice are tokens |
//! | [`instructions`] | which vector instructions the kernels run on |
//! | [`float`], [`exp`] | `f32` and `f64`; `e^x` without a call |
//! | [`error`] | what can be wrong |
//!
//! Four promises hold everywhere. Padding is selected away, so whatever lies in a padded slot, NaN included,
//! changes nothing. Every input is either refused by name and place or has a defined result: empty rows,
//! single tokens, lone rollouts and equal rewards included. Sums over blocks of tokens are kept in `f64` whatever the
//! slices hold. And the same batch gives the same bits on any number of threads.

pub mod aggregate;
mod blocks;
pub mod combine;
pub mod correction;
pub mod error;
pub mod exp;
pub mod float;
pub mod gae;
pub mod gdpo;
pub mod group;
pub mod instructions;
pub mod kl;
pub mod kl_control;
mod lanes;
pub mod logits;
pub mod monitors;
mod names;
pub mod opo;
pub mod policy;
pub mod ppo;
pub mod repo;
pub mod returns;
pub mod rows;
mod scan;
#[cfg(test)]
mod testing;
pub mod token_rewards;
pub mod value;
mod welford;
pub mod whiten;

pub use crate::aggregate::{Aggregation, Normaliser};
pub use crate::correction::{
    Bound, CorrectionBatch, CorrectionConfig, CorrectionReport, Divergence, Level, Rejection,
    Scope, importance_weights, off_policy_rows, rejection_mask,
};
pub use crate::error::OptimError;
pub use crate::float::Float;
pub use crate::gae::{GaeBatch, GaeConfig, Lambda, gae};
pub use crate::gdpo::{RewardPart, gdpo, standardise};
pub use crate::group::{
    Estimator, GroupBatch, GroupConfig, advantages, advantages_with, spread, token_advantages,
};
pub use crate::instructions::InstructionSet;
pub use crate::kl::{KlBatch, KlConfig, KlEstimator, KlGradient, k3, kl_penalty};
pub use crate::kl_control::KlController;
pub use crate::logits::{LogitsBatch, logits_gradient, token_logp};
pub use crate::monitors::{Monitor, MonitorConfig, Monitors, PartMonitor, Parts};
pub use crate::opo::opo;
pub use crate::policy::{
    ClipRange, PolicyBatch, PolicyConfig, PolicyReport, Surrogate, policy_loss,
};
pub use crate::ppo::{PpoConfig, ppo_loss};
pub use crate::repo::{
    AdvantageMethod, CriticConfig, KlLossConfig, Metrics, Repo, RepoBatch, RepoConfig, Update,
};
pub use crate::returns::{remax, returns_to_go};
pub use crate::rows::{RowMask, Spans};
pub use crate::token_rewards::{KlReport, KlRewardConfig, token_rewards};
pub use crate::value::{ValueBatch, ValueConfig, ValueReport, value_loss};
pub use crate::whiten::{Moments, WhitenConfig, moments, whiten};
