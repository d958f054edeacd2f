//! Reward source RM: any ONNX sequence classifier with a `tokenizer.json`, run by ONNX Runtime in
//! batches with a token budget.
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
//! The path of a turn: `encode` turns the dialogue into token ids, `queue` admits it and shares the
//! device between clients, `engine` chooses batches and runs them, and `source` calibrates the raw
//! score.
//!
//! | folder | file | content |
//! |---|---|---|
//! | `load/` | `config`, `device` | configuration of one model: device, batch and queue limits |
//! | | `manifest`, `model_files`, `input` | `guerdon.model.toml`: files, input format |
//! | | `loaded_files` | the files of a loaded model, and their later changes |
//! | | `output` | its output section: from labels, tokens and steps to one score |
//! | | `reference` | `reference.jsonl`: scores of the model's own framework |
//! | | `files`, `onnx_file` | reading and hashing of files; the parts of an ONNX file |
//! | | `runtime` | the ONNX Runtime library and the process-wide environment |
//! | | `error` | the error type |
//! | `encode/` | `template` | chat templates |
//! | | `window` | search for the longest window of messages that fits |
//! | | `tokenize` | from a dialogue to token ids |
//! | | `pair`, `steps` | text pairs with segment ids; marks after the steps of a reply |
//! | | `tokens` | token ids and the range of the scored message |
//! | `engine/` | `session` | the ONNX Runtime session |
//! | | `head`, `values` | from the graph's outputs to one score; outputs of any floating-point type |
//! | | `weights` | weights that sessions share |
//! | | `graph`, `sharing` | kinds of packed graphs; what their sequences share |
//! | | `padded`, `packed` | a batch as padded rows; a batch as distinct tokens |
//! | | `chunks` | packed attention on a CPU, by chunks of queries |
//! | | `paged`, `kv_cache` | packed attention on CUDA, over blocks of a cache; the cache |
//! | | `batch_plan` | choice of the sequences that run next |
//! | `queue/` | `slots` | the bounded queue and its expected waiting time |
//! | | `waiters` | queued sequences with their waiters, in fair order between clients |
//! | | `in_flight` | requests that are still being tokenized |
//! | | `intake` | work for the device threads; coalesces equal sequences |
//! | | `worker`, `event` | a device thread; the events that it reports |
//! | | `engines` | the engines that device threads take turns to use |
//! | | `score_cache` | scores of earlier sequences |
//! | `draft/` | `folder` | the files of a folder without a manifest |
//! | | `graph` | inputs, outputs and weights of an ONNX file |
//! | | `manifest` | the draft of a manifest, with the reason of each setting |
//! | `startup/` | `instances`, `memory` | sessions of a model; the memory of the process |
//! | | `labels` | names of labels, for errors about the output |
//! | | `padding`, `warmup` | padding check; batch size trials and first runs |
//! | | `replay` | comparison with the reference scores |
//! | `.` | `model` | a loaded model |
//! | | `source` | the reward source |

mod draft;
mod encode;
mod engine;
mod load;
mod model;
mod queue;
#[cfg(test)]
mod reference;
mod source;
mod startup;

pub use draft::drafting::{DraftNote, DraftOptions};
pub use draft::manifest::ManifestDraft;
pub use encode::steps::StepFormat;
pub use load::config::ModelConfig;
pub use load::device::{Device, Devices, UnknownDevice};
pub use load::error::Error;
pub use load::files::Sha256Hex;
pub use load::input::{InputFormat, ModelInput, RolePrefixes};
pub use load::manifest::{MANIFEST, Manifest, Precision, ScoreDistribution};
pub use load::model_files::ModelFiles;
pub use load::output::{Activation, Aggregate, ModelOutput, Position, TokenRef};
pub use load::reference::ReferenceTolerance;
pub use load::stated_reference::{ModelReference, REFERENCE};
pub use model::Model;
pub use queue::event::{BatchEvent, BatchOutcome, ModelEvent};
pub use source::RmSource;
