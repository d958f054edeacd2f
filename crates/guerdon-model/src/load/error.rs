//! Why a reward model could not be loaded. Scoring has no errors: what fails there abstains, in writing.

use std::path::PathBuf;

/// A reward model that could not be loaded: what, where, and what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration breaks a law.
    #[error("`{key}` {detail}")]
    Config {
        /// The key in [`ModelConfig`](crate::ModelConfig).
        key: &'static str,
        /// What is wrong with it, and what would be right.
        detail: String,
    },
    /// A file of the model could not be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The manifest is not one.
    #[error("{}: {detail}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, where, and the nearest key that would be right.
        detail: String,
    },
    /// A file is not the one that the manifest was written for.
    #[error(
        "{} is not the file the manifest names: its sha256 is {found}, the manifest says {expected}; fetch the model \
         again, or write the new hash into the manifest if the change is meant",
        path.display()
    )]
    Hash {
        /// The file.
        path: PathBuf,
        /// The manifest's hash.
        expected: String,
        /// The file's hash.
        found: String,
    },
    /// The tokenizer could not be read, or disagrees with the manifest.
    #[error("tokenizer {}: {detail}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The chat template does not parse, or does not render a plain dialogue.
    #[error("chat template {}: {detail}", path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the line.
        detail: String,
    },
    /// The ONNX Runtime library is nowhere to be found.
    #[error(
        "ONNX Runtime was not found; looked for {}; run `make onnxruntime`, or name the library with `runtime`",
        looked.join(", ")
    )]
    RuntimeMissing {
        /// Where it was looked for.
        looked: Vec<String>,
    },
    /// There is a library, but it is not a usable ONNX Runtime.
    #[error("ONNX Runtime at {} cannot be used: {detail}; run `make onnxruntime` for one that can", path.display())]
    RuntimeUnusable {
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The model does not load on the device, or its inputs and outputs are not a sequence classifier's.
    #[error("model {}: {detail}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The device thread could not be started.
    #[error("cannot start the reward model's device thread: {0}")]
    Thread(std::io::Error),
}
