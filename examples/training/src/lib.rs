//! A complete training loop: a small policy answers hotel negotiations, a running guerdon scores
//! its replies, and guerdon's optimizer computes the gradients.
//!
//! ```
//! use guerdon_training_example::rl::Arm;
//!
//! // The optimizer settings of two arms of the study.
//! assert!(Arm::Repo.optimizer().critic.is_some());
//! assert!(Arm::GrpoRm.optimizer().critic.is_none());
//! ```
//!
//! | file | contents |
//! |---|---|
//! | [`scene`] | synthetic negotiations: prompts, and replies to imitate |
//! | [`tokens`] | text to tokens |
//! | [`policy`] | the decoder, its weights, sampling, the optimizer of weights |
//! | [`inject`] | injects guerdon's gradients into candle's graph |
//! | [`sft`] | supervised fine-tuning (imitation) |
//! | [`score`] | scores replies over HTTP |
//! | [`rl`] | the reinforcement loop, and the arms of the study |
//! | [`study`] | comparison of the arms on a held-out exam |
//! | [`checkpoint`] | the files of a run |
//! | [`metrics`], [`curves`] | figures as JSON lines and SVG |
//! | [`files`] | reading and writing with the path in every error |

pub mod checkpoint;
pub mod curves;
pub mod files;
pub mod inject;
pub mod metrics;
pub mod policy;
pub mod rl;
pub mod scene;
pub mod score;
pub mod sft;
pub mod study;
pub mod tokens;
