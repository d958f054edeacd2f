//! Rewards of tokens: several rewards combined into one, less a charge for KL.

pub mod combine;
pub mod kl_control;
pub mod token_rewards;
