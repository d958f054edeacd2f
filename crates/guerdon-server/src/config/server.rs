//! Section `[server]`: listening, the limits of connections, and draining.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::host::{HostName, WebOrigin};
use super::listen;

/// Listening, the limits of connections, draining and logging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address and port; port 0 picks a free one. A name such as `localhost:8787` is resolved.
    #[serde(deserialize_with = "listen::deserialize")]
    pub listen: SocketAddr,
    /// Time for requests in flight to finish after a stop signal.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// Names under which browsers may reach a server without tokens, besides loopback names. Without
    /// a port, any port.
    pub hosts: Vec<HostName>,
    /// Origins of web pages that may send requests to a server without tokens.
    pub origins: Vec<WebOrigin>,
    /// Open connections. Beyond it the connection that is idle for the longest time is closed; if
    /// none is idle, new ones wait.
    pub max_connections: NonZeroUsize,
    /// Time for the head of a request to arrive, from its first byte or from the connection's start.
    #[serde(with = "timeout")]
    pub header_timeout: Duration,
    /// Longest pause of a client that sends a body.
    #[serde(with = "timeout")]
    pub body_timeout: Duration,
    /// Longest pause of a client that reads a reply.
    #[serde(with = "timeout")]
    pub write_timeout: Duration,
    /// Time after which a connection without a request is closed.
    #[serde(with = "timeout")]
    pub idle_timeout: Duration,
    /// Mean rate below which a client is too slow, in bytes a second. Applies once a body or a reply
    /// has waited for the client for `body_timeout` or `write_timeout` in total.
    pub min_rate: NonZeroU32,
    /// Bytes of bodies in memory, decompressed, of all requests together; at least two of the
    /// largest size. Default: 8 times `limits.max_body_bytes`.
    pub max_bodies_bytes: Option<NonZeroUsize>,
    /// Longest wait of a request for room for its body, and then for one of the
    /// `limits.max_concurrent_requests` places. Beyond it the reply is 503 with Retry-After.
    #[serde(with = "humantime_serde")]
    pub admission_timeout: Duration,
    /// Requests a second that one caller (a token, or without tokens an address) may send; also the
    /// burst after a quiet second. Default: unlimited.
    pub requests_per_second: Option<NonZeroU32>,
    /// Log filter: a level, or `target=level` pairs separated by commas.
    pub log: String,
    /// Format of log lines.
    pub log_format: LogFormat,
}

const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4_095);
const MIN_RATE: NonZeroU32 = NonZeroU32::MIN.saturating_add(1_023);

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            drain: Duration::from_secs(30),
            hosts: Vec::new(),
            origins: Vec::new(),
            max_connections: MAX_CONNECTIONS,
            header_timeout: Duration::from_secs(20),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            min_rate: MIN_RATE,
            max_bodies_bytes: None,
            admission_timeout: Duration::from_secs(5),
            requests_per_second: None,
            log: "info,ort=warn".into(),
            log_format: LogFormat::Text,
        }
    }
}

impl ServerConfig {
    /// Returns whether `new` differs in a key that only a start reads.
    #[must_use]
    pub(crate) fn needs_restart(&self, new: &Self) -> bool {
        let live =
            |config: &Self| Self { hosts: Vec::new(), origins: Vec::new(), ..config.clone() };
        live(self) != live(new)
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Durations that must not be zero.
mod timeout {
    use std::time::Duration;

    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        timeout: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        humantime_serde::serialize(timeout, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let timeout: Duration = humantime_serde::deserialize(deserializer)?;
        if timeout.is_zero() {
            return Err(de::Error::custom("a timeout of zero would close every connection"));
        }
        Ok(timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_zero_are_refused() {
        for key in ["header_timeout", "body_timeout", "write_timeout", "idle_timeout"] {
            let error = toml::from_str::<ServerConfig>(&format!("{key} = \"0s\"")).unwrap_err();
            assert!(error.to_string().contains("would close every connection"), "{error}");
        }
    }

    #[test]
    fn hosts_and_origins_take_effect_without_a_restart() {
        let old = ServerConfig::default();
        let hosts = vec!["guerdon.example".parse().unwrap()];
        assert!(!old.needs_restart(&ServerConfig { hosts, ..old.clone() }));
        let header_timeout = Duration::from_secs(1);
        assert!(old.needs_restart(&ServerConfig { header_timeout, ..old.clone() }));
    }
}
