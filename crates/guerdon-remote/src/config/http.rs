//! The configuration of a source of kind `http`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{TurnCacheConfig, defaults};

/// A user's function behind HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSourceConfig {
    /// The URL that turns are posted to, such as `http://127.0.0.1:9001/score`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// More URLs of the same function. Each batch goes to the least loaded one that is up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The identity of the function for the configuration's digest, such as the hash of its file.
    /// Default: the name of the source. The version that the function declares is in every reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The environment variable that holds the secret with which bodies are signed (HMAC-SHA256, in
    /// the header `x-guerdon-signature`). Default: no signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    /// The file that holds the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// The largest number of turns in one call.
    #[serde(default = "defaults::batch")]
    pub batch: usize,
    /// The longest time that a turn waits for others to share its call.
    #[serde(default = "defaults::linger", with = "humantime_serde")]
    pub linger: Duration,
    /// Time limit of one attempt, from sending to the last byte of the reply.
    #[serde(default = "defaults::attempt_timeout", with = "humantime_serde")]
    pub attempt_timeout: Duration,
    /// The largest number of retries after failures that a retry can fix.
    #[serde(default = "defaults::retries")]
    pub retries: u32,
    /// The longest wait before the first retry. It doubles with each retry, up to 8 s. The actual
    /// wait is drawn uniformly between zero and that limit.
    #[serde(default = "defaults::backoff", with = "humantime_serde")]
    pub backoff: Duration,
    /// The largest number of calls in flight at each address. The limit adapts to refusals below it.
    #[serde(default = "defaults::max_concurrent")]
    pub max_concurrent: usize,
    /// The largest number of turns that wait for an answer. More abstain (`overloaded`), and the
    /// server refuses new requests meanwhile.
    #[serde(default = "defaults::max_queued")]
    pub max_queued: usize,
    /// The size in bytes at which a call is sent with fewer turns than `batch`.
    #[serde(default = "defaults::max_request_bytes")]
    pub max_request_bytes: usize,
    /// The largest reply in bytes. The turns of a larger one abstain (`malformed`).
    #[serde(default = "defaults::max_reply_bytes")]
    pub max_reply_bytes: usize,
    /// Cache of answers.
    #[serde(default)]
    pub cache: TurnCacheConfig,
    /// A proxy for this source. Proxy settings in the environment are ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}

impl HttpSourceConfig {
    /// The defaults for the function at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Some(url.into()),
            urls: Vec::new(),
            identity: None,
            secret_env: None,
            secret_file: None,
            batch: defaults::batch(),
            linger: defaults::linger(),
            attempt_timeout: defaults::attempt_timeout(),
            retries: defaults::retries(),
            backoff: defaults::backoff(),
            max_concurrent: defaults::max_concurrent(),
            max_queued: defaults::max_queued(),
            max_request_bytes: defaults::max_request_bytes(),
            max_reply_bytes: defaults::max_reply_bytes(),
            cache: TurnCacheConfig::default(),
            proxy: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_the_only_key_that_is_needed_and_unknown_keys_are_refused() {
        let read: HttpSourceConfig = toml::from_str("url = \"http://h/score\"").unwrap();
        assert_eq!(read, HttpSourceConfig::new("http://h/score"));
        let read: HttpSourceConfig =
            toml::from_str("linger = \"5ms\"\ncache = { ttl = \"1m\" }").unwrap();
        assert_eq!(read.linger, Duration::from_millis(5));
        assert_eq!(read.cache.ttl, Duration::from_secs(60));
        for wrong in ["urll = \"\"", "cache = { size = 3 }", "batch = -1", "linger = 3"] {
            assert!(toml::from_str::<HttpSourceConfig>(wrong).is_err(), "{wrong}");
        }
    }
}
