//! `guerdon.model.toml`: what a model folder holds, how a dialogue becomes its input, and which output is the score.
//!
//! The manifest carries the hash of every file that a score depends on. So the hash of a model is known from the
//! manifest alone, a swapped file is noticed before it scores anything, and two servers with the same hash score alike.

use std::path::{Path, PathBuf};

use guerdon_types::{Calibration, Finite, Role};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::load::files::{Sha256Hex, read_text, sha256, size, verify};

/// The manifest's name inside a model folder.
pub const MANIFEST: &str = "guerdon.model.toml";

/// A model folder's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// The model's name.
    pub name: String,
    /// What it is and what it was trained on, in a sentence.
    #[serde(default)]
    pub about: String,
    /// Its licence, as an SPDX expression.
    #[serde(default)]
    pub license: String,
    /// The files, with their hashes.
    pub files: Files,
    /// How a dialogue becomes tokens.
    pub input: Input,
    /// Which output is the score.
    #[serde(default)]
    pub output: Output,
    /// The distribution of its raw scores over a reference set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Measured>,
}

/// The files of a model, relative to its folder; hashes are SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Files {
    /// The ONNX graph.
    pub model: PathBuf,
    /// Its hash.
    pub model_sha256: Sha256Hex,
    /// The weights beside the graph, where one ONNX file cannot hold them (beyond 2 GB); the graph itself names it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_data: Option<PathBuf>,
    /// Its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_data_sha256: Option<Sha256Hex>,
    /// The Hugging Face `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// Its hash.
    pub tokenizer_sha256: Sha256Hex,
    /// The Jinja chat template; with `format = "chat_template"` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<PathBuf>,
    /// Its hash, which is checked if it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template_sha256: Option<Sha256Hex>,
}

/// How a dialogue becomes tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Input {
    /// How messages become text.
    pub format: Format,
    /// The longest input, special tokens included.
    pub max_tokens: usize,
    /// `plain`: what stands between two messages.
    #[serde(default = "newline")]
    pub separator: String,
    /// `plain`: what stands before each message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Prefix>,
    /// The token that fills up the shorter texts of a batch; the model's own, by which it may find where a text ends.
    /// Default: the one of the tokenizer's `padding` section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad_token: Option<String>,
    /// The position of a text's first token, for graphs with an input `position_ids`. Default: 0. `RoBERTa` and its relatives count
    /// from their padding id plus one, most often 2.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub first_position: u32,
    /// `chat_template`: the template's `bos_token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bos_token: Option<String>,
    /// `chat_template`: the template's `eos_token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eos_token: Option<String>,
}

fn newline() -> String {
    "\n".to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How messages become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Format {
    /// `prefix[role] + content`, joined with the separator.
    Plain,
    /// The model's own Jinja template.
    ChatTemplate,
}

/// What stands before each message in the `plain` format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefix {
    /// Before a system message.
    pub system: String,
    /// Before a partner's message.
    pub user: String,
    /// Before a policy's message.
    pub assistant: String,
    /// Before a tool's result.
    pub tool: String,
}

impl Prefix {
    pub(crate) fn of(&self, role: Role) -> &str {
        match role {
            Role::System => &self.system,
            Role::User => &self.user,
            Role::Assistant => &self.assistant,
            Role::Tool => &self.tool,
        }
    }
}

/// Which output is the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Output {
    /// The output's name in the graph; its shape is `[batch]` or `[batch, labels]`.
    pub name: String,
    /// The label that is the score, for a model with several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
}

impl Default for Output {
    fn default() -> Self {
        Self { name: "logits".to_owned(), index: None }
    }
}

/// The distribution of a model's raw scores over a reference set: what a configuration may calibrate by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Measured {
    /// The mean.
    pub mean: Finite,
    /// The standard deviation; positive.
    pub std: Finite,
    /// Over what.
    #[serde(default)]
    pub measured_on: String,
}

impl Measured {
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
    /// Reads and checks the manifest in `folder`, and the hash of every file that it names.
    pub(crate) fn load(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MANIFEST);
        let text = read_text(&path)?;
        let manifest = Self::parse(&text).map_err(|detail| Error::Manifest { path, detail })?;
        let files = &manifest.files;
        verify(&folder.join(&files.model), &files.model_sha256)?;
        if let (Some(data), Some(hash)) = (&files.model_data, &files.model_data_sha256) {
            verify(&folder.join(data), hash)?;
        }
        verify(&folder.join(&files.tokenizer), &files.tokenizer_sha256)?;
        if let (Some(template), Some(hash)) = (&files.chat_template, &files.chat_template_sha256) {
            verify(&folder.join(template), hash)?;
        }
        Ok(manifest)
    }

    /// Bytes of the graph and its weights.
    pub(crate) fn model_bytes(&self, folder: &Path) -> Result<u64, Error> {
        let parts = [Some(&self.files.model), self.files.model_data.as_ref()];
        parts.into_iter().flatten().map(|part| size(&folder.join(part))).sum()
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let hint = nearest_key(error.message())
                .map(|key| format!("did you mean `{key}`?"))
                .unwrap_or_default();
            format!("{error}{hint}")
        })?;
        manifest.check().map(|()| manifest)
    }

    fn check(&self) -> Result<(), String> {
        let (input, files) = (&self.input, &self.files);
        if input.max_tokens == 0 {
            return Err("`input.max_tokens` is 0; give it the longest input that the model takes"
                .to_owned());
        }
        if files.model_data.is_some() != files.model_data_sha256.is_some() {
            return Err(
                "`files.model_data` and `files.model_data_sha256` come together; give both or neither"
                    .to_owned(),
            );
        }
        match input.format {
            Format::Plain if input.prefix.is_none() => {
                Err("`input.prefix` is missing; format = \"plain\" needs [input.prefix] with system, user, assistant and \
                     tool"
                    .to_owned())
            }
            Format::Plain if files.chat_template.is_some() => {
                Err("`files.chat_template` is given, but the format is \"plain\"; did you mean format = \
                     \"chat_template\"?"
                    .to_owned())
            }
            Format::ChatTemplate if files.chat_template.is_none() => {
                Err("`files.chat_template` is missing; format = \"chat_template\" needs it".to_owned())
            }
            _ => Ok(()),
        }?;
        match &self.calibration {
            Some(measured) if measured.std <= Finite::ZERO => Err(format!(
                "`calibration.std` is {}; a standard deviation is positive",
                measured.std
            )),
            _ => Ok(()),
        }
    }

    /// `sha256:` and the hash of all that a score depends on: the files, and the input and output sections as they are
    /// in force.
    pub(crate) fn hash(&self, folder: &Path) -> Result<String, Error> {
        // A template without a hash of its own in the manifest still is a part of the model.
        let template =
            self.files.chat_template.as_ref().map(|path| sha256(&folder.join(path))).transpose()?;
        let graph = self.files.model_sha256.as_str();
        let model = match &self.files.model_data_sha256 {
            None => graph.to_owned(),
            Some(data) => format!("{graph}+{}", data.as_str()),
        };
        let parts = (
            "guerdon.model/1",
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

/// serde names the unknown field first and then those it expected, all in backticks.
fn nearest_key(message: &str) -> Option<&str> {
    let mut quoted = message.strip_prefix("unknown ")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    quoted
        .map(|key| (strsim::jaro_winkler(unknown, key), key))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key)
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
    fn the_defaults_are_a_newline_and_an_output_called_logits() {
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
    fn an_unknown_key_is_quoted_with_its_line_and_the_nearest_one() {
        let error = refused("max_tokens", "max_token");
        assert!(
            error.contains("line 10") && error.contains("did you mean `max_tokens`?"),
            "{error}"
        );
        let error = refused("\"plain\"", "\"plan\"");
        assert!(error.contains("did you mean `plain`?"), "{error}");
    }

    #[test]
    fn what_a_format_needs_and_what_it_cannot_use_is_said() {
        assert!(
            refused("\"plain\"", "\"chat_template\"").contains("`files.chat_template` is missing")
        );
        assert!(refused("[input.prefix]", "[input.prefixes]").contains("did you mean `prefix`?"));
        assert!(refused("std = 2.0", "std = 0.0").contains("`calibration.std` is 0"));
        assert!(refused("max_tokens = 256", "max_tokens = 0").contains("`input.max_tokens` is 0"));
        assert!(refused("E3B0", "E3BX").contains("not a SHA-256"));
    }

    #[test]
    fn the_hash_is_that_of_what_a_score_depends_on_and_of_nothing_else() {
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
    fn a_file_that_was_swapped_is_noticed() {
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
