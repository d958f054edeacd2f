//! The `[input]` section of the manifest: the conversion of a dialogue to tokens.

use guerdon_types::Role;
use serde::{Deserialize, Serialize};

use crate::encode::steps::StepFormat;
use crate::load::output::{Position, TokenRef};

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
    /// Checks the section. `has_template`: the manifest names a chat template. `position`: the token
    /// at which the score is read. The error names the key and the fix.
    pub(crate) fn check(
        &self,
        has_template: bool,
        position: Option<Position>,
    ) -> Result<(), String> {
        if self.max_tokens == 0 {
            return Err("`input.max_tokens` is 0; give it the longest input that the model takes"
                .to_owned());
        }
        match self.format {
            InputFormat::Plain if self.prefix.is_none() => {
                Err("`input.prefix` is missing; format = \"plain\" needs [input.prefix] with system, user, assistant and \
                     tool"
                    .to_owned())
            }
            InputFormat::Plain | InputFormat::Pair if has_template => {
                let format = if self.format == InputFormat::Plain { "plain" } else { "pair" };
                Err(format!(
                    "`files.chat_template` is given, but the format is \"{format}\"; did you mean format = \
                     \"chat_template\"?"
                ))
            }
            InputFormat::ChatTemplate if !has_template => {
                Err("`files.chat_template` is missing; format = \"chat_template\" needs it".to_owned())
            }
            InputFormat::Plain | InputFormat::Pair if let Some(key) = self.chat_key() => {
                Err(format!("`input.{key}` is given, but only format = \"chat_template\" refuses roles; remove it"))
            }
            _ => Ok(()),
        }?;
        match (self.leading_assistant, &self.leading_user) {
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
        self.check_pair()?;
        self.check_steps(position)
    }

    /// Refuses keys that a text pair does not read.
    fn check_pair(&self) -> Result<(), String> {
        let keys = [
            ("suffix", self.suffix.is_some(), "whose special tokens the tokenizer places"),
            ("keep_system", self.keep_system.is_some(), "which always loses its oldest tokens"),
            ("truncation", !is_default(&self.truncation), "which always loses its oldest tokens"),
        ];
        match keys.into_iter().find(|(_, is_set, _)| *is_set) {
            Some((key, _, reason)) if self.format == InputFormat::Pair => Err(format!(
                "`input.{key}` does not apply to format = \"pair\", {reason}; remove it"
            )),
            _ => Ok(()),
        }
    }

    fn check_steps(&self, position: Option<Position>) -> Result<(), String> {
        match (&self.steps, position) {
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
            (Some(_), _) if self.format != InputFormat::ChatTemplate => {
                Err("[input.steps] needs format = \"chat_template\"".to_owned())
            }
            (Some(steps), _) => steps.check(),
            (None, _) => Ok(()),
        }
    }

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
