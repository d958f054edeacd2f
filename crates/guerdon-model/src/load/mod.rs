//! Loading: configuration, manifest, files with their hashes, and the ONNX Runtime library.

pub(crate) mod config;
pub(crate) mod device;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod input;
pub(crate) mod loaded_files;
pub(crate) mod manifest;
pub(crate) mod model_files;
pub(crate) mod onnx_file;
pub(crate) mod output;
pub(crate) mod reference;
pub(crate) mod runtime;
pub(crate) mod stated_reference;
