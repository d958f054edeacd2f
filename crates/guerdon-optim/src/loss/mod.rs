//! Losses and their gradients, and the inputs that they share.
//!
//! | file | contents |
//! |---|---|
//! | [`policy`], [`ppo`] | policy losses: PPO, GSPO, GMPO, CISPO, SAPO, DRO, DPPO, Clip-Cov, REINFORCE |
//! | [`preference`] | DPO, IPO, SimPO, ORPO, KTO on preferences; imitation (SFT) |
//! | [`value`] | the clipped value loss |
//! | [`kl`] | KL estimators and their gradients |
//! | [`aggregate`] | the weight of a token, and divisors for micro-batches |
//! | [`correction`] | importance weights and masks for the gap between engine and trainer |
//! | [`logits`] | log-probs and entropies of logits, and gradients by logits |

pub mod aggregate;
pub mod correction;
pub mod kl;
pub mod logits;
pub mod policy;
pub mod ppo;
pub mod preference;
pub mod value;
