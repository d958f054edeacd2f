//! Rewards: several combined into one, and one reward spread over tokens with a KL charge.
//!
//! | file | contents |
//! |---|---|
//! | [`combine`] | one reward from several: REPO, preference, soft minimum, veto |
//! | [`mod@token_rewards`] | the reward on the last token, less a charge for KL |
//! | [`kl_control`] | the coefficient of the KL charge, fixed or adaptive |

pub mod combine;
pub mod kl_control;
pub mod token_rewards;
