//! Options for the differences between endpoints in the wire format.

use serde::{Deserialize, Serialize};

/// Tokens that an endpoint counts against its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenCounting {
    /// Set when the endpoint counts the whole output limit, not only the tokens of the answer.
    pub max_tokens: bool,
    /// Set when the endpoint also counts prompt tokens that it had cached.
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
    /// `api-key: …`, as Azure expects it.
    ApiKey,
}

/// Method of enforcing the answer's form, from strongest to weakest. If an endpoint refuses one,
/// the next is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseFormat {
    /// `{"type": "json_schema", …}`: a grammar enforces the form.
    #[default]
    JsonSchema,
    /// `{"type": "json_object", "schema": …}`: the same, in the syntax of llama-cpp-python.
    JsonObjectSchema,
    /// `{"type": "json_object"}`: any JSON object.
    JsonObject,
    /// No `response_format`. Only the prompt describes the form.
    Plain,
}

impl ResponseFormat {
    /// The next weaker method.
    pub(crate) const fn weaker(self) -> Option<Self> {
        match self {
            Self::JsonSchema => Some(Self::JsonObjectSchema),
            Self::JsonObjectSchema => Some(Self::JsonObject),
            Self::JsonObject => Some(Self::Plain),
            Self::Plain => None,
        }
    }
}

/// Condition under which an answer must repeat the name of the judged block (the seal). The policy
/// cannot know that name, so a judge that only repeats the policy's words gives no valid answer,
/// and a verdict that the judge quotes does not count beside its own. A judge that obeys the policy
/// and the form writes the seal itself; no form can prevent that. The seal costs about twelve
/// tokens an answer and needs a judge that can copy a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seal {
    /// The default, and the same as `always`. Earlier versions left the seal out under a schema.
    #[default]
    Auto,
    /// In every answer.
    Always,
    /// Never.
    Never,
}

/// Name of the output limit in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenLimit {
    /// `max_tokens`. Supported nearly everywhere; refused by OpenAI's reasoning models.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`, the successor. Silently ignored by some servers.
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
