//! Advantages: from a critic, from sibling rollouts, or from discounted rewards.
//!
//! | file | contents |
//! |---|---|
//! | [`mod@gae`] | advantages and returns from a critic |
//! | [`returns`] | rewards-to-go: REINFORCE++, ReMax |
//! | [`group`], [`mod@opo`], [`mod@gdpo`] | comparison with sibling rollouts |
//! | [`mod@otb`] | the optimal token baseline: one for each position of a group's rollouts |
//! | [`turns`] | credit by turn in multi-turn rollouts, with a critic or with siblings |
//! | [`rollout`] | one advantage per rollout, by the estimator's name |
//! | [`mod@whiten`] | mean, variance and whitening over valid tokens |

pub mod gae;
pub mod gdpo;
pub mod group;
pub mod opo;
pub mod otb;
pub mod returns;
pub mod rollout;
pub mod turns;
pub mod whiten;
