//! Advantages: from a critic (GAE), from sibling rollouts (GRPO and relatives), or from discounted returns.

pub mod gae;
pub mod gdpo;
pub mod group;
pub mod opo;
pub mod returns;
pub mod whiten;
