//! Reward source RM: any ONNX sequence classifier with a `tokenizer.json`, run by ONNX Runtime in token-budgeted batches.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use guerdon_model::{Model, ModelConfig, RmSource};
//!
//! let config = ModelConfig::new("models/minilm-hh");
//! let model = Model::load(&config, Arc::new(|batch| println!("{} turns", batch.items)))?;
//! let calibration = model.manifest().calibration.as_ref().map(|measured| measured.centred());
//! let source = RmSource::new(model, calibration.unwrap_or_default());
//! # Ok::<(), guerdon_model::Error>(())
//! ```
//!
//! A turn's way: dialogue → text and token ids (`template.rs`, `tokenize.rs`, `window.rs`) → a place in the queue
//! (`model.rs`) → the waiting set of the device thread (`waiting.rs`, `batch.rs`, `worker.rs`) → the session
//! (`session.rs`) → a calibrated score (`source.rs`).
//!
//! | file | what |
//! |---|---|
//! | `config.rs` | which model, on what device, how large batches and queue may grow |
//! | `manifest.rs` | `guerdon.model.toml`: files, input format, output |
//! | `files.rs` | the files as bytes, and their hashes |
//! | `runtime.rs` | where the ONNX Runtime library is; the process's one environment |
//! | `template.rs` | chat templates |
//! | `window.rs` | how much of the past fits |
//! | `tokenize.rs` | from a dialogue to token ids |
//! | `batch.rs` | which of the waiting sequences run next |
//! | `waiting.rs` | who waits, until when, for which sequence |
//! | `worker.rs` | the device thread |
//! | `session.rs` | the model on its device |
//! | `model.rs` | a loaded model: queue in, scores out |
//! | `source.rs` | the reward source |
//! | `error.rs` | why a model could not be loaded |

mod batch;
mod config;
mod error;
mod files;
mod manifest;
mod model;
#[cfg(test)]
mod reference;
mod runtime;
mod session;
mod source;
mod template;
mod tokenize;
mod waiting;
mod window;
mod worker;

pub use config::{Device, ModelConfig, UnknownDevice};
pub use error::Error;
pub use files::Sha256Hex;
pub use manifest::{Files, Format, Input, MANIFEST, Manifest, Measured, Output, Prefix};
pub use model::Model;
pub use source::RmSource;
pub use worker::{BatchEvent, BatchOutcome};
