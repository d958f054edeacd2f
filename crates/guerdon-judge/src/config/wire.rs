//! How an endpoint wants to be spoken to.

use serde::{Deserialize, Serialize};

/// What an endpoint counts against its token limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenCounting {
    /// The room for an answer counts in full, used or not.
    pub max_tokens: bool,
    /// Prompt tokens that the endpoint had cached count.
    pub cached: bool,
}

impl Default for TokenCounting {
    fn default() -> Self {
        Self { max_tokens: false, cached: true }
    }
}

/// The header that carries an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyHeader {
    /// `Authorization: Bearer …`.
    #[default]
    Bearer,
    /// `api-key: …`, as Azure has it.
    ApiKey,
}

/// How the answer's form is enforced. Ordered: an endpoint that refuses one is offered the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseFormat {
    /// `{"type": "json_schema", …}`: the form cannot be broken.
    #[default]
    JsonSchema,
    /// `{"type": "json_object", "schema": …}`: the same, as llama-cpp-python spells it.
    JsonObjectSchema,
    /// `{"type": "json_object"}`: some JSON.
    JsonObject,
    /// Nothing; the prompt asks for the form.
    Plain,
}

impl ResponseFormat {
    /// Whether a grammar stands behind it.
    pub(crate) const fn is_enforced(self) -> bool {
        matches!(self, Self::JsonSchema | Self::JsonObjectSchema)
    }

    /// What to offer an endpoint that refuses this.
    pub(crate) const fn weaker(self) -> Option<Self> {
        match self {
            Self::JsonSchema => Some(Self::JsonObjectSchema),
            Self::JsonObjectSchema => Some(Self::JsonObject),
            Self::JsonObject => Some(Self::Plain),
            Self::Plain => None,
        }
    }
}

/// Whether an answer must carry the judged block's name, which the policy cannot know, so that a judge that repeats the
/// policy's words has said nothing. It costs some twelve tokens an answer, and a judge that can copy a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seal {
    /// Where no schema enforces the answer's form, or is seen to be ignored.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What the endpoint calls the limit on its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenLimit {
    /// Understood nearly everywhere; refused by reasoning models of the API's author.
    #[default]
    MaxTokens,
    /// Its successor; silently ignored by some servers.
    MaxCompletionTokens,
}

impl TokenLimit {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::MaxTokens => Self::MaxCompletionTokens,
            Self::MaxCompletionTokens => Self::MaxTokens,
        }
    }
}
