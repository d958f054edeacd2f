//! The configuration of an endpoint: plain data with units in the types. Nothing here reads the
//! environment or a file; API keys come from [`Services::with_keys`](crate::Services::with_keys).

mod cache;
mod identity;
mod money;
mod wire;

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use guerdon_types::Finite;
use serde::{Deserialize, Serialize};

pub use cache::{CacheConfig, CacheMode, CassetteConfig, CassetteMode};
pub use money::{BudgetConfig, TokenPrices};
pub use wire::{KeyHeader, ResponseFormat, Seal, TokenCounting, TokenLimit};

/// One OpenAI-compatible chat-completions endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// The base URL, such as `http://127.0.0.1:8092/v1`; `/chat/completions` is appended.
    pub url: String,
    /// The name of the model.
    pub model: String,
    /// The identity of the judge beside its model, such as a quantization. It is part of the cache
    /// key, and the address is not: two judges that share a cache file and a model's name need
    /// different ones. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The environment variable that holds the API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// The file that holds the API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// Time limit of one attempt, from sending to the last byte of the reply.
    #[serde(default = "defaults::timeout", with = "humantime_serde")]
    pub timeout: Duration,
    /// Maximum number of retries after failures that a retry can fix.
    #[serde(default = "defaults::retries")]
    pub retries: u32,
    /// The longest wait before the first retry. It doubles with each retry, up to 8 s. The actual
    /// wait is drawn uniformly between zero and that limit.
    #[serde(default = "defaults::backoff", with = "humantime_serde")]
    pub backoff: Duration,
    /// Requests per minute that the endpoint allows; a minute's worth may be sent at once. Default:
    /// no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens per minute that the endpoint allows; a minute's worth may be sent at once. Default:
    /// no limit, or the limit in the endpoint's `x-ratelimit-*` headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<NonZeroU64>,
    /// Tokens that count against `tokens_per_minute`.
    #[serde(default)]
    pub token_counting: TokenCounting,
    /// The window over which both limits are enforced. Set it below a minute for an endpoint that
    /// penalizes bursts.
    #[serde(default = "defaults::quota_window", with = "humantime_serde")]
    pub quota_window: Duration,
    /// Maximum of the limit on attempts in flight at each address. The limit starts at 8, doubles
    /// every 100 ms until the address refuses for load, and then shrinks and grows slowly.
    #[serde(default = "defaults::max_concurrent")]
    pub max_concurrent: usize,
    /// Number of waiting questions, for each address, at which new requests are refused as a whole
    /// (HTTP 503). All questions of admitted requests wait, regardless of this limit.
    #[serde(default = "defaults::max_queued")]
    pub max_queued: usize,
    /// Cache of answers.
    #[serde(default)]
    pub cache: CacheConfig,
    /// A recording of this run, to write or to replay. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cassette: Option<CassetteConfig>,
    /// Prices of the endpoint.
    #[serde(default)]
    pub prices: TokenPrices,
    /// Limits on spending. Default: none.
    #[serde(default)]
    pub budget: BudgetConfig,
    /// Method of enforcing the answer's form. It is downgraded automatically if the endpoint
    /// refuses it.
    #[serde(default)]
    pub response_format: ResponseFormat,
    /// Condition under which an answer must repeat the secret name of the judged block.
    #[serde(default)]
    pub seal: Seal,
    /// The field name of the output limit. The other name is tried once if the endpoint refuses it.
    #[serde(default)]
    pub token_limit: TokenLimit,
    /// The largest share of attempts that may be hedged: sent a second time when the first is
    /// slower than 95% of attempts. Each hedge costs money. Default: 0, no hedges.
    #[serde(default)]
    pub hedge: Finite,
    /// More addresses of the same judge. Questions wait in one queue, and the least loaded address
    /// that is up takes the next one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaConfig>,
    /// Another judge, used when this one is not available. Its answers are cached separately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Box<Self>>,
    /// A log of every attempt. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditConfig>,
    /// The header that carries the API key.
    #[serde(default)]
    pub key_header: KeyHeader,
    /// Set to read the verdict from `reasoning` when `content` is empty. Some servers put
    /// constrained output there.
    #[serde(default)]
    pub read_reasoning: bool,
    /// A proxy for this endpoint. Proxy settings in the environment are ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// More fields of the request body, such as `seed` or `reasoning_effort`. They are part of the
    /// cache key. If an answer was cut off, fields that control reasoning are lowered for the
    /// re-ask.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub extra_body: serde_json::Map<String, serde_json::Value>,
}

impl EndpointConfig {
    /// The defaults for `model` at `url`.
    pub fn new(url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            model: model.into(),
            identity: None,
            api_key_env: None,
            api_key_file: None,
            timeout: defaults::timeout(),
            retries: defaults::retries(),
            backoff: defaults::backoff(),
            requests_per_minute: None,
            tokens_per_minute: None,
            token_counting: TokenCounting::default(),
            quota_window: defaults::quota_window(),
            max_concurrent: defaults::max_concurrent(),
            max_queued: defaults::max_queued(),
            cache: CacheConfig::default(),
            cassette: None,
            prices: TokenPrices::default(),
            budget: BudgetConfig::default(),
            response_format: ResponseFormat::default(),
            seal: Seal::default(),
            token_limit: TokenLimit::default(),
            hedge: Finite::ZERO,
            replicas: Vec::new(),
            fallback: None,
            audit: None,
            key_header: KeyHeader::default(),
            read_reasoning: false,
            proxy: None,
            extra_body: serde_json::Map::new(),
        }
    }
}

/// Another address of the same judge. It must serve the same model, because all addresses share one
/// cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaConfig {
    /// The base URL, such as `http://127.0.0.1:8093/v1`.
    pub url: String,
    /// The environment variable that holds its API key. Default: the judge's own key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// The file that holds its API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
}

/// A log of every attempt, as JSON lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// The path of the log file.
    pub path: PathBuf,
    /// Set to log messages and quotes as well. Default: levels and hashes only.
    #[serde(default)]
    pub texts: bool,
    /// The size at which the file is renamed to `path.1`, and `path.1` to `path.2`.
    #[serde(default = "defaults::audit_bytes")]
    pub max_bytes: u64,
    /// Number of rotated files that are kept.
    #[serde(default = "defaults::audit_keep")]
    pub keep: u32,
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
    pub(super) const fn quota_window() -> Duration {
        Duration::from_secs(60)
    }
    pub(super) const fn max_concurrent() -> usize {
        256
    }
    pub(super) const fn audit_bytes() -> u64 {
        256 << 20
    }
    pub(super) const fn audit_keep() -> u32 {
        4
    }
    pub(super) const fn max_queued() -> usize {
        8192
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_and_model_are_the_only_required_keys() {
        let read: EndpointConfig = toml::from_str("url = \"http://h/v1\"\nmodel = \"m\"").unwrap();
        assert_eq!(read, EndpointConfig::new("http://h/v1", "m"));
    }

    #[test]
    fn durations_have_units_and_unknown_keys_are_refused() {
        let text =
            "url = \"http://h/v1\"\nmodel = \"m\"\ntimeout = \"250ms\"\n[cache]\nttl = \"2h\"";
        let read: EndpointConfig = toml::from_str(text).unwrap();
        assert_eq!(read.timeout, Duration::from_millis(250));
        assert_eq!(read.cache.ttl, Duration::from_secs(7200));
        assert!(
            toml::from_str::<EndpointConfig>("url = \"\"\nmodel = \"\"\ntimeouts = 3").is_err()
        );
    }

    #[test]
    fn cost_is_tokens_times_the_price_of_a_million() {
        let prices = TokenPrices {
            prompt_per_million: Finite::from(2),
            completion_per_million: Finite::from(8),
            cached_per_million: None,
        };
        assert!((prices.cost(500_000, 250_000) - 3.0).abs() < 1e-12);
        assert!((prices.cost_of(500_000, 400_000, 0) - 1.0).abs() < 1e-12);
        let cached = TokenPrices { cached_per_million: Some(Finite::ZERO), ..prices };
        assert!((cached.cost_of(500_000, 400_000, 0) - 0.2).abs() < 1e-12);
    }
}
