//! Turns fused rewards into advantages, and advantages into policy and value losses with their gradients, on
//! plain slices.
//!
//! ```
//! use guerdon_optim::{Estimator, GroupBatch, GroupConfig, PpoBatch, PpoConfig, RowMask, ppo_loss, token_advantages};
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
//! let report = ppo_loss(&PpoConfig::default(), &PpoBatch::new(mask, &logp, &logp, &advantages), &mut dlogp)?;
//! assert_eq!(dlogp[..6], [0.0625, 0.0625, 0.0, -0.0625, -0.0625, -0.0625]);
//! assert_eq!(report.loss, -0.0625);
//! # Ok::<(), guerdon_optim::OptimError>(())
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | [`rows`] | which slots of a row-major `[B, T]` slice are tokens |
//! | [`group`] | advantages against sibling rollouts: GRPO, Dr. GRPO, RLOO, batch deviation |
//! | [`kl`] | KL estimators; token rewards with a KL charge |
//! | [`mod@gae`] | advantages and returns from a critic |
//! | [`mod@whiten`] | mean, variance and whitening over valid tokens |
//! | [`aggregate`] | the weight of a token, and divisors for micro-batches |
//! | [`ppo`] | the clipped policy loss |
//! | [`value`] | the clipped value loss |
//! | [`float`] | `f32` and `f64` |
//! | [`error`] | what can be wrong |
//!
//! Three promises hold everywhere. Padding is selected away, so whatever lies in a padded slot, NaN included,
//! changes nothing. Every input is either refused by name and place or has a defined result: empty rows,
//! single tokens, lone rollouts and equal rewards included. And sums are kept in `f64` whatever the slices hold.

pub mod aggregate;
pub mod error;
pub mod float;
pub mod gae;
pub mod group;
pub mod kl;
mod names;
pub mod ppo;
pub mod rows;
#[cfg(test)]
mod testing;
pub mod value;
pub mod whiten;

pub use crate::aggregate::{Aggregation, Normaliser};
pub use crate::error::OptimError;
pub use crate::float::Float;
pub use crate::gae::{GaeBatch, GaeConfig, gae};
pub use crate::group::{Estimator, GroupBatch, GroupConfig, advantages, advantages_with, token_advantages};
pub use crate::kl::{
    KlBatch, KlConfig, KlEstimator, KlReport, KlRewardConfig, k3, kl_penalty, token_rewards,
};
pub use crate::ppo::{PpoBatch, PpoConfig, PpoReport, ppo_loss};
pub use crate::rows::{RowMask, Spans};
pub use crate::value::{ValueBatch, ValueConfig, ValueReport, value_loss};
pub use crate::whiten::{Moments, WhitenConfig, moments, whiten};
