//! The policy: a decoder with a critic that reads its last hidden state. A small one is trained whole; a larger one, out of
//! a GGUF file, is held still and corrected by LoRA.
//!
//! candle's fused `rms_norm`, `softmax_last_dim` and `rope` have no backward pass and say nothing about it: the gradient
//! simply ends there. So `fused.rs` has its own, and a test counts the parameters that are reached.

mod adam;
mod attention;
mod decoder;
mod fused;
mod gguf;
mod projection;
mod sample;
mod weights;

pub use adam::{Adam, AdamConfig};
pub use decoder::{Dialogues, Policy, PolicyConfig, Trunk};
pub use gguf::Gguf;
pub use sample::{Reply, Sampling, sample};
pub use weights::Weights;
