//! The integration tests of the training example.
//!
//! | file | contents |
//! |---|---|
//! | `gradients.rs` | injected gradients against finite differences of the whole loss |
//! | `guard.rs` | the fluency guard stops a run that loses its language |
//! | `resume.rs` | resumed runs equal uninterrupted ones |
//! | `task_pack.rs` | the rule pack of the study |
//! | `gguf.rs` | a real GGUF model; ignored without its file |

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod gguf;
mod gradients;
mod guard;
mod resume;
mod task_pack;
