//! The errors of loading a reward model. Scoring returns no errors: a failed turn abstains with a
//! reason.

use std::path::PathBuf;

/// An error of loading a reward model. The message names the place, the fault and the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value of the configuration is out of range.
    #[error("`{key}` {detail}")]
    Config {
        /// The key in [`ModelConfig`](crate::ModelConfig).
        key: &'static str,
        /// The fault and the accepted values.
        detail: String,
    },
    /// A file of the model cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The manifest is invalid.
    #[error("{}: {detail}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The fault, its line, and the nearest valid key.
        detail: String,
    },
    /// A file has another hash than the manifest states.
    #[error(
        "{} is not the file in the manifest: its sha256 is {found}, the manifest states {expected}; \
         download the model again, or write the new hash into the manifest if the change is intended",
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
    /// A file is the pointer that Git LFS keeps in place of a large file.
    #[error(
        "{} is a pointer of Git LFS and not the file itself; run `git lfs pull` in its repository, or download the file",
        path.display()
    )]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// The tokenizer is unreadable, or contradicts the manifest.
    #[error("tokenizer {}: {detail}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// The fault.
        detail: String,
    },
    /// The chat template does not parse, or does not render a plain dialogue.
    #[error("chat template {}: {detail}", path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// The fault and its line.
        detail: String,
    },
    /// The ONNX Runtime library was not found.
    #[error(
        "ONNX Runtime was not found; searched {}; run `make onnxruntime` in a checkout or `pip install onnxruntime` next to guerdon-server, or name the library with `runtime` or ORT_DYLIB_PATH",
        looked.join(", ")
    )]
    RuntimeMissing {
        /// The searched places.
        looked: Vec<String>,
    },
    /// The library found is not a usable ONNX Runtime.
    #[error("ONNX Runtime at {} cannot be used: {detail}; `make onnxruntime` in a checkout and `pip install onnxruntime` install a usable one", path.display())]
    RuntimeUnusable {
        /// The library.
        path: PathBuf,
        /// The fault.
        detail: String,
    },
    /// The model does not load on the device, or its inputs and outputs are not those of a sequence
    /// classifier.
    #[error("model {}: {detail}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// The fault.
        detail: String,
    },
    /// The folder has no manifest.
    #[error(
        "{0} has no guerdon.model.toml; `guerdon rm init {0}` writes one for a model that another tool \
         exported",
        folder.display()
    )]
    NoManifest {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder for which no manifest can be drafted.
    #[error("{} {detail}", path.display())]
    Draft {
        /// The folder or the file.
        path: PathBuf,
        /// The fault and the fix.
        detail: String,
    },
    /// The model disagrees with its reference scores.
    #[error("reference scores {}: {detail}", path.display())]
    Reference {
        /// The file with the reference scores.
        path: PathBuf,
        /// The row, the difference and the fix.
        detail: String,
    },
    /// A device thread could not be started.
    #[error("cannot start the reward model's device thread: {0}")]
    Thread(std::io::Error),
}
