//! An endpoint's configuration: plain data, units in the type. Nothing here reads the environment or a file; the server
//! resolves `api_key_env` and `api_key_file` and hands the key to [`Endpoint::new`](crate::Endpoint::new).

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use guerdon_types::Finite;
use serde::{Deserialize, Serialize};

/// One OpenAI-compatible chat-completions endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// The base, such as `http://127.0.0.1:8092/v1`; `/chat/completions` is added.
    pub url: String,
    /// The model that answers.
    pub model: String,
    /// The environment variable that holds the API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// The file that holds the API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// How long one attempt may take, the answer read to its end.
    #[serde(default = "defaults::timeout", with = "humantime_serde")]
    pub timeout: Duration,
    /// How often a failed attempt is repeated, when a repeat can help.
    #[serde(default = "defaults::retries")]
    pub retries: u32,
    /// The longest wait before the first repeat; it doubles with each, up to 8 s. The wait itself is drawn between
    /// nothing and that.
    #[serde(default = "defaults::backoff", with = "humantime_serde")]
    pub backoff: Duration,
    /// Requests a minute that the endpoint allows; a minute's worth may go at once. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Attempts under way at once.
    #[serde(default = "defaults::max_concurrent")]
    pub max_concurrent: usize,
    /// Questions that may wait for their attempt; one more is refused as overloaded.
    #[serde(default = "defaults::max_queued")]
    pub max_queued: usize,
    /// Answers that are kept.
    #[serde(default)]
    pub cache: CacheConfig,
    /// What the endpoint charges.
    #[serde(default)]
    pub prices: Prices,
    /// How the answer's form is enforced; weakened by itself, once, if the endpoint refuses.
    #[serde(default)]
    pub response_format: ResponseFormat,
    /// The name of the output limit; the other is tried, once, if the endpoint refuses.
    #[serde(default)]
    pub token_limit: TokenLimit,
    /// Read the verdict from `reasoning` when `content` is empty: some servers put constrained output there.
    #[serde(default)]
    pub read_reasoning: bool,
    /// A proxy for this endpoint. The environment's are not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// More fields of the request body, such as `seed` or `chat_template_kwargs`; part of the question.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub extra_body: serde_json::Map<String, serde_json::Value>,
}

impl EndpointConfig {
    /// The defaults for `model` at `url`.
    pub fn new(url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            model: model.into(),
            api_key_env: None,
            api_key_file: None,
            timeout: defaults::timeout(),
            retries: defaults::retries(),
            backoff: defaults::backoff(),
            requests_per_minute: None,
            max_concurrent: defaults::max_concurrent(),
            max_queued: defaults::max_queued(),
            cache: CacheConfig::default(),
            prices: Prices::default(),
            response_format: ResponseFormat::default(),
            token_limit: TokenLimit::default(),
            read_reasoning: false,
            proxy: None,
            extra_body: serde_json::Map::new(),
        }
    }
}

/// How many answers are kept, and for how long. Only verdicts are kept; a failure never is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Answers kept; 0 keeps none, and identical questions asked at the same time still share one call.
    pub max_entries: u64,
    /// How long an answer is used.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { max_entries: 100_000, ttl: Duration::from_secs(24 * 60 * 60) }
    }
}

/// Prices per million tokens, in whatever currency the operator counts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prices {
    /// Of what is sent.
    pub prompt_per_million: Finite,
    /// Of what comes back.
    pub completion_per_million: Finite,
}

impl Prices {
    /// The cost of one call, from the endpoint's own count of tokens.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a call of 2^53 tokens does not exist")]
    pub fn cost(&self, prompt_tokens: u64, completion_tokens: u64) -> f64 {
        (prompt_tokens as f64 * self.prompt_per_million.get()
            + completion_tokens as f64 * self.completion_per_million.get())
            / 1e6
    }
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

mod defaults {
    use std::time::Duration;

    pub(super) const fn timeout() -> Duration {
        Duration::from_secs(60)
    }
    pub(super) const fn retries() -> u32 {
        3
    }
    pub(super) const fn backoff() -> Duration {
        Duration::from_millis(500)
    }
    pub(super) const fn max_concurrent() -> usize {
        16
    }
    pub(super) const fn max_queued() -> usize {
        8192
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_and_model_are_enough() {
        let read: EndpointConfig = toml::from_str("url = \"http://h/v1\"\nmodel = \"m\"").unwrap();
        assert_eq!(read, EndpointConfig::new("http://h/v1", "m"));
    }

    #[test]
    fn units_stand_in_the_value_and_unknown_keys_are_refused() {
        let text = "url = \"http://h/v1\"\nmodel = \"m\"\ntimeout = \"250ms\"\n[cache]\nttl = \"2h\"";
        let read: EndpointConfig = toml::from_str(text).unwrap();
        assert_eq!(read.timeout, Duration::from_millis(250));
        assert_eq!(read.cache.ttl, Duration::from_secs(7200));
        assert!(toml::from_str::<EndpointConfig>("url = \"\"\nmodel = \"\"\ntimeouts = 3").is_err());
    }

    #[test]
    fn cost_is_tokens_times_the_price_of_a_million() {
        let prices = Prices { prompt_per_million: Finite::from(2), completion_per_million: Finite::from(8) };
        assert!((prices.cost(500_000, 250_000) - 3.0).abs() < 1e-12);
    }
}
