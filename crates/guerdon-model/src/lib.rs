//! Reward source RM: any ONNX sequence classifier with a `tokenizer.json`, run by ONNX Runtime in token-budgeted batches.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use guerdon_model::{Model, ModelConfig, RmSource};
//!
//! let config = ModelConfig::new("models/e5-hh");
//! let model = Model::load(&config, Arc::new(|event| println!("{event:?}")))?;
//! let calibration = model.manifest().calibration.as_ref().map(|measured| measured.centred());
//! let source = RmSource::new(model, calibration.unwrap_or_default());
//! # Ok::<(), guerdon_model::Error>(())
//! ```
//!
//! A turn's way: dialogue → text and token ids (`template.rs`, `tokenize.rs`, `window.rs`) → a place in the queue
//! (`cache.rs`, `model.rs`, `queue.rs`) → the waiting set (`intake.rs`, `waiting.rs`, `batch.rs`) → a device thread (`worker.rs`) →
//! the session (`padded.rs`, `packed.rs` or `paged.rs`, `session.rs`) → a calibrated score (`source.rs`).
//!
//! | file | what |
//! |---|---|
//! | `config.rs`, `device.rs` | which model, on what, how large batches and queue may grow |
//! | `manifest.rs` | `guerdon.model.toml`: files, input format, output |
//! | `files.rs` | the files as bytes, and their hashes |
//! | `runtime.rs` | where the ONNX Runtime library is; the process's one environment |
//! | `template.rs` | chat templates |
//! | `window.rs` | how much of the past fits |
//! | `tokenize.rs` | from a dialogue to token ids |
//! | `tokens.rs` | token ids, and which are the scored message's own |
//! | `cache.rs` | scores that were computed before |
//! | `queue.rs` | places in the queue, and when one will be free |
//! | `waiting.rs`, `fair.rs` | who waits, until when, for which sequence; who is next |
//! | `batch.rs` | which of the waiting sequences run together |
//! | `coming.rs` | who will be in the queue in a moment |
//! | `intake.rs` | where device threads get their work, and what is not computed twice |
//! | `worker.rs`, `event.rs` | a device thread; what it tells of its work |
//! | `session.rs` | the model on its device |
//! | `graph.rs`, `sharing.rs` | what kind of packed graph a model is; what its sequences share |
//! | `padded.rs`, `packed.rs` | a batch as rows; as nodes, every distinct token once |
//! | `chunks.rs` | a packed decoder's attention on a CPU: every node asks once |
//! | `paged.rs`, `kv_cache.rs` | the same on CUDA: blocks of a cache that sequences share; the cache |
//! | `instances.rs`, `padding.rs`, `warm.rs` | the copies of a model; whether padding moves their scores; their first runs |
//! | `model.rs` | a loaded model: queue in, scores out |
//! | `source.rs` | the reward source |
//! | `error.rs` | why a model could not be loaded |

mod batch;
mod cache;
mod chunks;
mod coming;
mod config;
mod device;
mod error;
mod event;
mod fair;
mod files;
mod graph;
mod instances;
mod intake;
mod kv_cache;
mod manifest;
mod model;
mod packed;
mod padded;
mod padding;
mod paged;
mod queue;
#[cfg(test)]
mod reference;
mod runtime;
mod session;
mod sharing;
mod source;
mod template;
mod tokenize;
mod tokens;
mod waiting;
mod warm;
mod window;
mod worker;

pub use config::ModelConfig;
pub use device::{Device, Devices, UnknownDevice};
pub use error::Error;
pub use event::{BatchEvent, BatchOutcome, ModelEvent};
pub use files::Sha256Hex;
pub use manifest::{Files, Format, Input, MANIFEST, Manifest, Measured, Output, Prefix};
pub use model::Model;
pub use source::RmSource;
