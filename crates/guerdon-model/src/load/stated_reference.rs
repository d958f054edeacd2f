//! The section `[reference]` of a manifest: where its reference scores come from, and the graph's
//! difference from them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use guerdon_types::Finite;
use serde::{Deserialize, Serialize};

use crate::load::files::Sha256Hex;

/// The default name of the file with reference scores in a model folder.
pub const REFERENCE: &str = "reference.jsonl";

/// The source of a model's reference scores and the graph's difference from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelReference {
    /// The file with the reference scores. Default: `reference.jsonl`.
    #[serde(default = "default_file")]
    pub file: PathBuf,
    /// The hash of the file, which is checked if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Hex>,
    /// The program and the class that computed the scores.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The storage of the graph's weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// The largest difference between the graph's score and the reference score of a row, in
    /// standard deviations of the reference scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Finite>,
    /// The root mean square of the differences, in the same unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rms: Option<Finite>,
    /// The largest difference of each storage that was tried, in the same unit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, Finite>,
}

fn default_file() -> PathBuf {
    PathBuf::from(REFERENCE)
}

impl ModelReference {
    /// The fault of the section, if there is one.
    pub(crate) fn check(&self) -> Result<(), String> {
        let numbers = [("error", self.error.as_ref()), ("rms", self.rms.as_ref())];
        let stored = self.errors.iter().map(|(name, error)| (name.as_str(), Some(error)));
        let named = numbers.into_iter().chain(stored);
        for (name, number) in named.filter_map(|(name, number)| Some((name, number?))) {
            if *number < Finite::ZERO {
                return Err(format!("`reference.{name}` is {number}; a difference is at least 0"));
            }
        }
        Ok(())
    }
}
