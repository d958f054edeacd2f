//! The state of a draft: the folder, the graph, and the notes about each setting.

use std::path::PathBuf;

use crate::Error;
use crate::draft::folder::ModelFolder;
use crate::draft::graph::GraphSummary;

/// Choices of the user, each of which replaces a guess.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DraftOptions {
    /// The ONNX file.
    pub graph: Option<PathBuf>,
    /// The longest input in tokens.
    pub max_tokens: Option<usize>,
    /// The label that is the score, of a model with several: its number, its name, or `all` for the
    /// objectives with their mean.
    pub label: Option<String>,
    /// The model reads two texts: the earlier messages and the reply.
    pub pair: bool,
}

/// A setting of a draft and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DraftNote {
    /// The key in the manifest.
    pub key: &'static str,
    /// The value, or a dash if the key is left out.
    pub value: String,
    /// The file that states the value, or the rule by which it was chosen.
    pub reason: String,
    /// True if no file of the folder states the value.
    pub is_guess: bool,
}

/// A draft in progress.
#[derive(Debug)]
pub(super) struct Drafting<'a> {
    pub(super) folder: &'a ModelFolder,
    pub(super) graph: &'a GraphSummary,
    pub(super) notes: Vec<DraftNote>,
}

/// A string as a TOML value.
pub(super) fn quoted(text: &(impl ToString + ?Sized)) -> String {
    toml::Value::String(text.to_string()).to_string()
}

impl Drafting<'_> {
    pub(super) fn note(
        &mut self,
        key: &'static str,
        value: &(impl ToString + ?Sized),
        reason: impl Into<String>,
    ) {
        let (value, reason) = (value.to_string(), reason.into());
        self.notes.push(DraftNote { key, value, reason, is_guess: false });
    }

    pub(super) fn guess(
        &mut self,
        key: &'static str,
        value: &(impl ToString + ?Sized),
        reason: impl Into<String>,
    ) {
        let (value, reason) = (value.to_string(), reason.into());
        self.notes.push(DraftNote { key, value, reason, is_guess: true });
    }

    pub(super) fn refused(&self, detail: impl Into<String>) -> Error {
        Error::Draft { path: self.folder.path.clone(), detail: detail.into() }
    }
}
