//! Losses and their gradients: policy, value and KL, with the log-probs they start from and the weights of tokens.

pub mod aggregate;
pub mod correction;
pub mod kl;
pub mod logits;
pub mod policy;
pub mod ppo;
pub mod value;
