//! A training loop that learns: a small policy answers hotel negotiations, a running guerdon scores its replies, and
//! guerdon's optimizer says how to change it.
//!
//! ```
//! use guerdon_training_example::rl::Arm;
//!
//! // What an arm of the study asks of the server and of the optimizer.
//! assert!(Arm::Repo.optimizer().critic.is_some());
//! assert!(Arm::GrpoRm.optimizer().critic.is_none());
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | [`scene`] | made-up negotiations: prompts, and replies to imitate |
//! | [`tokens`] | text to tokens |
//! | [`policy`] | the decoder, its weights, sampling, the optimizer of weights |
//! | [`inject`] | guerdon's gradients into candle's graph |
//! | [`sft`] | imitation |
//! | [`score`] | replies to rewards, over HTTP |
//! | [`rl`] | the loop, and the arms of the study |
//! | [`study`] | the arms compared, on an exam that none trains on |
//! | [`checkpoint`] | what a run leaves on disk |
//! | [`metrics`], [`curves`] | figures as JSON lines and as SVG |
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
