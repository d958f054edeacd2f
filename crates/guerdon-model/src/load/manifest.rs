//! The manifest `guerdon.model.toml`: the files of a model, its input format, and its output.
//!
//! The manifest holds the hash of every file that a score depends on. The hash of a model therefore
//! follows from the manifest alone, a replaced file is detected before it scores anything, and two
//! servers with the same hash return the same scores.

use std::io::ErrorKind;
use std::path::Path;

use guerdon_types::{Calibration, Finite};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::load::files::{Sha256Hex, read_text, sha256};
use crate::load::input::{InputFormat, ModelInput};
#[cfg(test)]
use crate::load::loaded_files::LoadedFiles;
use crate::load::model_files::ModelFiles;
use crate::load::output::ModelOutput;
use crate::load::stated_reference::ModelReference;

/// The name of the manifest in a model folder.
pub const MANIFEST: &str = "guerdon.model.toml";

/// The manifest of a model folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// The model's name.
    pub name: String,
    /// A one-sentence description: the model and its training data.
    #[serde(default)]
    pub about: String,
    /// The licence, as an SPDX expression.
    #[serde(default)]
    pub license: String,
    /// The arithmetic of the graph, if it is not that of the framework. A model with another one
    /// must state its difference from the reference scores (`reference.error`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The files and their hashes.
    pub files: ModelFiles,
    /// The input format.
    pub input: ModelInput,
    /// The outputs that hold the score.
    #[serde(default)]
    pub output: ModelOutput,
    /// The distribution of the raw scores over a reference set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<ScoreDistribution>,
    /// The reference scores of the model's own framework, which are replayed at load. Without this
    /// section, `reference.jsonl` is replayed if the folder has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ModelReference>,
}

/// The arithmetic of a graph that is less exact than its framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Precision {
    /// Large products in 8 bits, with a scale for each token.
    Int8,
}

/// The distribution of a model's raw scores over a reference set, for calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ScoreDistribution {
    /// The mean.
    pub mean: Finite,
    /// The standard deviation; positive.
    pub std: Finite,
    /// A description of the reference set.
    #[serde(default)]
    pub measured_on: String,
}

impl ScoreDistribution {
    /// `raw - mean`.
    #[must_use]
    pub const fn centred(&self) -> Calibration {
        Calibration::Centred { mean: self.mean }
    }

    /// `(raw - mean) / std`.
    #[must_use]
    pub const fn standardised(&self) -> Calibration {
        Calibration::Standardised { mean: self.mean, std: self.std }
    }
}

impl Manifest {
    /// Reads and checks the manifest in `folder`. The files that it names are not read.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MANIFEST);
        let text = match read_text(&path) {
            Err(Error::File { source, .. })
                if source.kind() == ErrorKind::NotFound && folder.is_dir() =>
            {
                return Err(Error::NoManifest { folder: folder.to_owned() });
            }
            read => read?,
        };
        Self::parse(&text).map_err(|detail| Error::Manifest { path, detail })
    }

    /// Reads the manifest in `folder`, and verifies the hash of every file that it names.
    #[cfg(test)]
    pub(crate) fn load(folder: &Path) -> Result<Self, Error> {
        let manifest = Self::read(folder)?;
        LoadedFiles::verified(folder, &manifest).map(|_| manifest)
    }

    /// Parses and checks the text of a manifest.
    ///
    /// # Errors
    ///
    /// Returns the fault, its line, and the nearest valid key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let hint = nearest_key(error.message())
                .map(|key| format!("did you mean `{key}`?"))
                .unwrap_or_default();
            format!("{error}{hint}")
        })?;
        manifest.check().map(|()| manifest)
    }

    fn check(&self) -> Result<(), String> {
        self.files.check()?;
        self.output.check()?;
        self.input.check(self.files.chat_template.is_some(), self.output.position)?;
        let error = self.reference.as_ref().and_then(|reference| reference.error);
        if self.precision.is_some() && error.is_none() {
            return Err(
                "`precision` = \"int8\" needs [reference] with `error`, the measured difference from the \
                 framework; write the model with `guerdon rm init --precision int8` or `export_hf.py \
                 --precision int8`"
                    .to_owned(),
            );
        }
        if let Some(reference) = &self.reference {
            reference.check()?;
        }
        match &self.calibration {
            Some(measured) if measured.std <= Finite::ZERO => Err(format!(
                "`calibration.std` is {}; a standard deviation is positive",
                measured.std
            )),
            _ => Ok(()),
        }
    }

    /// `sha256:` and the hash of everything that a score depends on: the files, and the input and
    /// output sections with overrides applied.
    pub(crate) fn hash(&self, folder: &Path) -> Result<String, Error> {
        // A chat template is hashed even if the manifest gives no hash of it.
        let template =
            self.files.chat_template.as_ref().map(|path| sha256(&folder.join(path))).transpose()?;
        let model = self.files.model_hash();
        // A chat template once read the control tokens in messages as such.
        let untrusted = self.input.format == InputFormat::ChatTemplate && !self.input.trusted;
        let parts = (
            if untrusted { "guerdon.model/2" } else { "guerdon.model/1" },
            model,
            self.files.tokenizer_sha256.as_str(),
            template.as_ref().map(Sha256Hex::as_str),
            &self.input,
            &self.output,
        );
        let text = serde_json::to_vec(&parts).map_err(|error| Error::Manifest {
            path: folder.join(MANIFEST),
            detail: error.to_string(),
        })?;
        Ok(format!("sha256:{}", Sha256Hex::of(text).as_str()))
    }
}

/// The valid key nearest to the unknown one in serde's message, which names the unknown key first
/// and the expected keys after it, all in backticks.
fn nearest_key(message: &str) -> Option<&str> {
    let mut quoted = message.strip_prefix("unknown ")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    guerdon_text::nearest(unknown, quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "tiny"
[files]
model = "model.onnx"
model_sha256 = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"
tokenizer = "tokenizer.json"
tokenizer_sha256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
[input]
format = "plain"
max_tokens = 256
[input.prefix]
system = "system: "
user = "user: "
assistant = "assistant: "
tool = "tool: "
[calibration]
mean = 0.5
std = 2.0
"#;

    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        Manifest::parse(&GOOD.replace(from, to)).unwrap_err()
    }

    #[test]
    fn separator_defaults_to_newline_and_output_to_logits() {
        let manifest = Manifest::parse(GOOD).unwrap();
        assert_eq!(
            (manifest.input.separator.as_str(), manifest.output.name.as_str()),
            ("\n", "logits")
        );
        assert_eq!(manifest.files.model_sha256, manifest.files.tokenizer_sha256);
        assert_eq!(
            manifest.calibration.unwrap().centred(),
            Calibration::Centred { mean: Finite::new(0.5).unwrap() }
        );
    }

    #[test]
    fn unknown_key_is_reported_with_line_and_nearest_key() {
        insta::assert_snapshot!(refused("max_tokens", "max_token"));
        insta::assert_snapshot!(refused("\"plain\"", "\"plan\""));
    }

    #[test]
    fn missing_and_contradicting_keys_are_reported_by_name() {
        let refusals = [
            ("\"plain\"", "\"chat_template\""),
            ("[input.prefix]", "[input.prefixes]"),
            ("std = 2.0", "std = 0.0"),
            ("max_tokens = 256", "max_tokens = 0"),
            ("E3B0", "E3BX"),
        ]
        .map(|(from, to)| refused(from, to).trim_end().to_owned());
        insta::assert_snapshot!(refusals.join("\n\n"));
    }

    #[test]
    fn hash_covers_only_what_a_score_depends_on() {
        let folder = Path::new("nowhere");
        let hash = |text: &str| Manifest::parse(text).unwrap().hash(folder).unwrap();
        assert_eq!(
            hash(GOOD),
            hash(&GOOD.replace("\"tiny\"", "\"other\"").replace("std = 2.0", "std = 3.0"))
        );
        assert_ne!(hash(GOOD), hash(&GOOD.replace("user: ", "partner: ")));
        assert_ne!(hash(GOOD), hash(&GOOD.replace("max_tokens = 256", "max_tokens = 255")));
        assert_ne!(hash(GOOD), hash(&GOOD.replace("sha256:e3", "sha256:e4")));
    }

    #[test]
    fn replaced_file_is_refused_with_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [(MANIFEST, GOOD), ("model.onnx", ""), ("tokenizer.json", "{}")] {
            std::io::Write::write_all(
                &mut std::fs::File::create(folder.path().join(name)).unwrap(),
                text.as_bytes(),
            )
            .unwrap();
        }
        let error = Manifest::load(folder.path()).unwrap_err();
        let Error::Hash { path, .. } = &error else { panic!("{error}") };
        assert!(path.ends_with("tokenizer.json"));
        assert!(
            error
                .to_string()
                .contains("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
        );
    }
}
