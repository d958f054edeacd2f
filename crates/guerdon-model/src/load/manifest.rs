//! The manifest `guerdon.model.toml`: the files of a model, its input format, and its output.
//!
//! The manifest holds the hash of every file that a score depends on. The hash of a model therefore
//! follows from the manifest alone, a replaced file is detected before it scores anything, and two
//! servers with the same hash return the same scores.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use guerdon_types::{Calibration, Finite, Role};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::encode::steps::StepFormat;
use crate::load::files::{Sha256Hex, read_text, sha256, size, verify};
use crate::load::output::{ModelOutput, Position, TokenRef};
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

/// The files of a model, relative to its folder; hashes are SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelFiles {
    /// The ONNX graph.
    pub model: PathBuf,
    /// The hash of the graph.
    pub model_sha256: Sha256Hex,
    /// The weights, where one ONNX file cannot hold them (beyond 2 GB); the graph names this file
    /// too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_data: Option<PathBuf>,
    /// The hash of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_data_sha256: Option<Sha256Hex>,
    /// The Hugging Face `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// The hash of the tokenizer.
    pub tokenizer_sha256: Sha256Hex,
    /// The Jinja chat template; only with `format = "chat_template"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<PathBuf>,
    /// The hash of the chat template, which is checked if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template_sha256: Option<Sha256Hex>,
}

/// The conversion of a dialogue to tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelInput {
    /// The format of the text.
    pub format: InputFormat,
    /// Length of the longest input in tokens, special tokens included.
    pub max_tokens: usize,
    /// `plain` and `pair`: the text between two messages.
    #[serde(default = "newline")]
    pub separator: String,
    /// `plain`: the text before each message. `pair`: the text before each message but the scored
    /// one; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<RolePrefixes>,
    /// The token that fills up the shorter texts of a batch. It must be the model's own, since some
    /// graphs locate the end of a text by it. Default: the token in the `padding` section of
    /// `tokenizer.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad_token: Option<String>,
    /// The position of the first token, for graphs with an input `position_ids`. Default: 0.
    /// `RoBERTa` and related models count from their padding id plus one, most often 2.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub first_position: u32,
    /// A token that is not read at the end of a text. The decoders of transformers'
    /// `ForSequenceClassification` pool at the last token that is not the padding token; if a text
    /// ends in that token, the token before it is pooled. A packed decoder pools the last token
    /// that is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored_end: Option<String>,
    /// `chat_template`: the template's `bos_token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bos_token: Option<String>,
    /// `chat_template`: the template's `eos_token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eos_token: Option<String>,
    /// A token that is appended to every text which does not end with it, such as the token at
    /// which a model was trained to give its reward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<TokenRef>,
    /// For process reward models: the marks after the steps of the scored message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<StepFormat>,
    /// The part of a dialogue that is read if the whole exceeds `max_tokens`. A model scores best
    /// with the truncation that it was trained with. Default: `messages`; `tokens` keeps more.
    #[serde(default, skip_serializing_if = "is_default")]
    pub truncation: Truncation,
    /// Keeps the system message of a dialogue that is too long. With `truncation = "tokens"`, its
    /// beginning is kept, at most a quarter of `max_tokens`. Default: true with a chat template,
    /// false with `plain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_system: Option<bool>,
    /// Reads control tokens that a message spells, such as `<|im_end|>` or `</s>`, as control
    /// tokens. A policy can then forge turns in its replies. Default: false, messages are text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trusted: bool,
    /// `chat_template`: consecutive messages of one role, in a dialogue that the template refuses.
    #[serde(default, skip_serializing_if = "is_default")]
    pub same_role: SameRole,
    /// `chat_template`: messages of the assistant before the first one of the user, in a dialogue
    /// that the template refuses.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leading_assistant: LeadingAssistant,
    /// The text of the user message that `leading_assistant = "prefix"` puts first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leading_user: Option<String>,
}

/// The part of a dialogue that is read if the whole is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Truncation {
    /// The newest messages that fit whole. A prompt that does not fit is not read at all; a reply
    /// that does not fit alone loses its beginning.
    #[default]
    Messages,
    /// The newest messages that fit whole, and the last tokens of one more. A reply that is too
    /// long keeps its first and last tokens, and leaves up to a quarter of `max_tokens` to the
    /// message before it.
    Tokens,
}

/// Treatment of consecutive messages of one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SameRole {
    /// Keeps them. The template's refusal becomes the rollout's error.
    #[default]
    Keep,
    /// Merges them into one message, with an empty line between the contents.
    Merge,
}

/// Treatment of assistant messages before the first user message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeadingAssistant {
    /// Keeps them. The template's refusal becomes the rollout's error.
    #[default]
    Refuse,
    /// Leaves them out and sets `truncated` in the reply. A scored message is never left out.
    Drop,
    /// Puts a user message with the text `leading_user` before them.
    Prefix,
}

fn newline() -> String {
    "\n".to_owned()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl ModelInput {
    /// A key of the manifest that is set and has a meaning for chat templates only.
    fn chat_key(&self) -> Option<&'static str> {
        match self {
            Self { same_role: SameRole::Merge, .. } => Some("same_role"),
            Self {
                leading_assistant: LeadingAssistant::Drop | LeadingAssistant::Prefix, ..
            } => Some("leading_assistant"),
            Self { leading_user: Some(_), .. } => Some("leading_user"),
            _ => None,
        }
    }
}

/// The format of the text that a dialogue is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InputFormat {
    /// `prefix[role] + content`, joined with the separator.
    Plain,
    /// The model's own Jinja template.
    ChatTemplate,
    /// Two texts: the earlier messages, as in `plain`, and the scored message.
    Pair,
}

/// The text before each message in the `plain` format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolePrefixes {
    /// Before a system message.
    pub system: String,
    /// Before a partner's message.
    pub user: String,
    /// Before a policy's message.
    pub assistant: String,
    /// Before a tool's result.
    pub tool: String,
}

impl RolePrefixes {
    pub(crate) fn of(&self, role: Role) -> &str {
        match role {
            Role::System => &self.system,
            Role::User => &self.user,
            Role::Assistant => &self.assistant,
            Role::Tool => &self.tool,
        }
    }
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
    /// Reads and checks the manifest in `folder`, and verifies the hash of every file that it
    /// names.
    pub(crate) fn load(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MANIFEST);
        let text = match read_text(&path) {
            Err(Error::File { source, .. })
                if source.kind() == ErrorKind::NotFound && folder.is_dir() =>
            {
                return Err(Error::NoManifest { folder: folder.to_owned() });
            }
            read => read?,
        };
        let manifest = Self::parse(&text).map_err(|detail| Error::Manifest { path, detail })?;
        manifest.verify_files(folder)?;
        Ok(manifest)
    }

    /// Verifies the hash of every file that the manifest names.
    pub(crate) fn verify_files(&self, folder: &Path) -> Result<(), Error> {
        let files = &self.files;
        verify(&folder.join(&files.model), &files.model_sha256)?;
        if let (Some(data), Some(hash)) = (&files.model_data, &files.model_data_sha256) {
            verify(&folder.join(data), hash)?;
        }
        verify(&folder.join(&files.tokenizer), &files.tokenizer_sha256)?;
        if let (Some(template), Some(hash)) = (&files.chat_template, &files.chat_template_sha256) {
            verify(&folder.join(template), hash)?;
        }
        Ok(())
    }

    /// Size of the graph and its weights in bytes.
    pub(crate) fn model_bytes(&self, folder: &Path) -> Result<u64, Error> {
        let parts = [Some(&self.files.model), self.files.model_data.as_ref()];
        parts.into_iter().flatten().map(|part| size(&folder.join(part))).sum()
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
            InputFormat::Plain if input.prefix.is_none() => {
                Err("`input.prefix` is missing; format = \"plain\" needs [input.prefix] with system, user, assistant and \
                     tool"
                    .to_owned())
            }
            InputFormat::Plain | InputFormat::Pair if files.chat_template.is_some() => {
                let format =
                    if input.format == InputFormat::Plain { "plain" } else { "pair" };
                Err(format!(
                    "`files.chat_template` is given, but the format is \"{format}\"; did you mean format = \
                     \"chat_template\"?"
                ))
            }
            InputFormat::ChatTemplate if files.chat_template.is_none() => {
                Err("`files.chat_template` is missing; format = \"chat_template\" needs it".to_owned())
            }
            InputFormat::Plain | InputFormat::Pair if let Some(key) = input.chat_key() => {
                Err(format!("`input.{key}` is given, but only format = \"chat_template\" refuses roles; remove it"))
            }
            _ => Ok(()),
        }?;
        match (input.leading_assistant, &input.leading_user) {
            (LeadingAssistant::Prefix, None) => Err(
                "`input.leading_user` is missing; leading_assistant = \"prefix\" needs the text of the user's message"
                    .to_owned(),
            ),
            (LeadingAssistant::Refuse | LeadingAssistant::Drop, Some(_)) => Err(
                "`input.leading_user` is given, but leading_assistant is not \"prefix\"; set leading_assistant = \"prefix\", or remove leading_user"
                    .to_owned(),
            ),
            _ => Ok(()),
        }?;
        self.output.check()?;
        self.check_pair()?;
        self.check_steps()?;
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

    /// Refuses keys that a text pair does not read.
    fn check_pair(&self) -> Result<(), String> {
        let input = &self.input;
        let keys = [
            ("suffix", input.suffix.is_some(), "whose special tokens the tokenizer places"),
            ("keep_system", input.keep_system.is_some(), "which always loses its oldest tokens"),
            ("truncation", !is_default(&input.truncation), "which always loses its oldest tokens"),
        ];
        match keys.into_iter().find(|(_, is_set, _)| *is_set) {
            Some((key, _, reason)) if input.format == InputFormat::Pair => Err(format!(
                "`input.{key}` does not apply to format = \"pair\", {reason}; remove it"
            )),
            _ => Ok(()),
        }
    }

    fn check_steps(&self) -> Result<(), String> {
        let input = &self.input;
        match (&input.steps, self.output.position) {
            (None, Some(Position::Step)) => Err(
                "`output.position` is \"step\", which needs [input.steps] with `mark`, the text that \
                 is written after each step, such as \"<extra_0>\""
                    .to_owned(),
            ),
            (Some(_), None | Some(Position::First | Position::Last)) => Err(
                "[input.steps] marks the steps of a reply, but no score is read there; set \
                 `output.position` = \"step\", or remove [input.steps]"
                    .to_owned(),
            ),
            (Some(_), _) if input.format != InputFormat::ChatTemplate => {
                Err("[input.steps] needs format = \"chat_template\"".to_owned())
            }
            (Some(steps), _) => steps.check(),
            (None, _) => Ok(()),
        }
    }

    /// `sha256:` and the hash of everything that a score depends on: the files, and the input and
    /// output sections with overrides applied.
    pub(crate) fn hash(&self, folder: &Path) -> Result<String, Error> {
        // A chat template is hashed even if the manifest gives no hash of it.
        let template =
            self.files.chat_template.as_ref().map(|path| sha256(&folder.join(path))).transpose()?;
        let graph = self.files.model_sha256.as_str();
        let model = match &self.files.model_data_sha256 {
            None => graph.to_owned(),
            Some(data) => format!("{graph}+{}", data.as_str()),
        };
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
