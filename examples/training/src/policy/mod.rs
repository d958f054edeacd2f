//! The policy: a decoder with a critic on its last hidden state. A small policy is trained in full;
//! a larger one, from a GGUF file, is frozen and trained with LoRA.
//!
//! candle's fused `rms_norm`, `softmax_last_dim` and `rope` have no backward pass and cut the
//! gradient without an error. `fused.rs` therefore has its own operations, and a test counts the
//! parameters that a gradient reaches.

mod adam;
mod attention;
mod decoder;
mod fused;
mod gguf;
mod projection;
mod sample;
mod weights;

pub use adam::{Adam, AdamConfig};
pub use decoder::{DecoderConfig, Dialogues, Policy, Trunk};
pub use gguf::Gguf;
pub use sample::{ReplyTokens, Sampling, sample};
pub use weights::WeightSet;
