//! The settings of a [`Client`]: plain data with defaults, checked in [`ClientBuilder::build`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::Backoff;
use guerdon_types::{ConfigDigest, Expectation, ProfileName};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect;
use tokio::sync::Semaphore;

use crate::retry::RetryPolicy;
use crate::servers::{Probe, Servers, parse_urls};
use crate::{Client, Error};

/// Settings of a [`Client`]; made by [`Client::builder`].
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientBuilder {
    url: String,
    token: Option<String>,
    profile: Option<ProfileName>,
    expect: Option<String>,
    timeout: Duration,
    chunk: usize,
    concurrency: usize,
    policy: RetryPolicy,
}

impl Client {
    /// A client of the server at `url`, such as `http://127.0.0.1:8787`, with every setting at its
    /// default.
    ///
    /// # Errors
    /// [`Error::Config`] if `url` is not an HTTP URL.
    pub fn new(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// A builder for a client of the server at `url`, or of several replicas: their URLs,
    /// separated by commas.
    ///
    /// With several URLs, a request goes to the server that its group has by rendezvous hashing
    /// (without a group, its id; without an id, its messages), so that the samples of a group meet
    /// on one server. A server that is away or busy is left alone for its backoff, and its requests
    /// go to the next one, with the same idempotency key. A request whose work may have begun is
    /// sent to its own server once more before it goes to another one, and a server that answers
    /// its readiness probe is waited for, so that no judge call is paid twice as far as a client
    /// can know. All servers get the same token.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url)
    }
}

impl ClientBuilder {
    fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: None,
            profile: None,
            expect: None,
            timeout: Duration::from_secs(300),
            chunk: 256,
            concurrency: 8,
            policy: RetryPolicy {
                retries: None,
                backoff: Backoff {
                    base: Duration::from_millis(200),
                    cap: Duration::from_secs(5),
                    floor: Duration::from_millis(50),
                },
                observer: None,
            },
        }
    }

    /// Adds the server at `url`, a replica of the others: see [`Client::builder`].
    pub fn replica(mut self, url: impl AsRef<str>) -> Self {
        self.url.push(',');
        self.url.push_str(url.as_ref());
        self
    }

    /// The bearer token. Default: none, for a server without tokens.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The profile of requests without one. Default: the server's.
    pub fn profile(mut self, profile: impl Into<ProfileName>) -> Self {
        self.profile = Some(profile.into());
        self
    }

    /// The configuration that must serve, for requests that expect none: `versions.digest` of an
    /// earlier reply. If another one serves, the server refuses the request with the code
    /// `conflict`, so that a run never mixes the rewards of two configurations. Default: any.
    pub fn expect_digest(mut self, digest: impl Into<String>) -> Self {
        self.expect = Some(digest.into());
        self
    }

    /// The longest duration of one call, with all chunks, retries and waits. Default: 300 s.
    ///
    /// A request's `deadline_ms` is different: the server applies it to each chunk, and replies in
    /// time with the results that it has.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The most retries of a request; 0 never retries. Default: while the server is away or busy
    /// (no connection, a broken connection, 408, 429, 502, 503, 504), a request is retried until
    /// `timeout`, so that a call outlives a restart of the server; after faults (500, `unscored`)
    /// five times.
    pub const fn retries(mut self, retries: u32) -> Self {
        self.policy.retries = Some(retries);
        self
    }

    /// The backoff: the wait before retry `k` (from 0) is uniform between 0 and
    /// `min(cap, base * 2^k)`, and at least [`ClientBuilder::backoff_floor`]. If the server names a
    /// delay, the wait is at least that delay. Default: 200 ms and 5 s.
    pub const fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.policy.backoff.base = base;
        self.policy.backoff.cap = cap;
        self
    }

    /// The shortest wait before a retry. Default: 50 ms; at least 10 ms.
    pub const fn backoff_floor(mut self, floor: Duration) -> Self {
        self.policy.backoff.floor = floor;
        self
    }

    /// A function that is called before each wait for a retry, with the failure, the number of
    /// tries so far and the wait. It must not block. Default: none.
    pub fn on_retry(
        mut self,
        told: impl Fn(&Error, u32, Duration) + Send + Sync + 'static,
    ) -> Self {
        self.policy.observer = Some(Arc::new(told));
        self
    }

    /// The largest number of rollouts in one HTTP request; larger batches are split. Default: 256.
    pub const fn chunk(mut self, rollouts: usize) -> Self {
        self.chunk = rollouts;
        self
    }

    /// The number of concurrent HTTP requests, over all calls of this client and its clones.
    /// Default: 8.
    pub const fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests;
        self
    }

    /// Checks the settings. Sends nothing.
    ///
    /// # Errors
    /// [`Error::Config`] that names the setting.
    pub fn build(self) -> Result<Client, Error> {
        let (first, others) = parse_urls(&self.url).map_err(|detail| config("url", detail))?;
        if self.chunk == 0 {
            return Err(config("chunk", "is 0; give a positive number of rollouts, such as 256"));
        }
        if self.concurrency == 0 || self.concurrency > Semaphore::MAX_PERMITS {
            return Err(config(
                "concurrency",
                format!("is {}; give a number such as 8", self.concurrency),
            ));
        }
        let expect = self.expect.as_deref().map(str::parse::<ConfigDigest>).transpose();
        let expect =
            expect.map_err(|error| config("expect_digest", format!("is wrong: {error}")))?;
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, bearer(token)?);
        }
        // reqwest is built without a TLS provider. A program that has installed its own keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("guerdon-client/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(10))
            // A POST that follows a 301 becomes a GET and would fail with a misleading error.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| {
                config("build", format!("cannot set up TLS: {}", crate::error::Chain(&error)))
            })?;
        Ok(Client {
            http,
            servers: Servers::new(first, others),
            probe: Probe::default(),
            profile: self.profile,
            expect: expect.map(Expectation::new),
            timeout: self.timeout,
            chunk: self.chunk,
            slots: Arc::new(Semaphore::new(self.concurrency)),
            policy: self.policy,
        })
    }
}

/// Hides the token and the URL, which may contain a secret.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("timeout", &self.timeout)
            .field("chunk", &self.chunk)
            .field("concurrency", &self.concurrency)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
        config("token", "has a character that HTTP headers do not allow; check it for a line break")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn config(field: &'static str, detail: impl Into<String>) -> Error {
    Error::Config { field, detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_setting_is_reported_by_name() {
        let refused = |builder: ClientBuilder| builder.build().unwrap_err().to_string();
        assert!(refused(Client::builder("127.0.0.1:8787")).starts_with("`url`"));
        assert!(refused(Client::builder("localhost:8787")).contains("http://127.0.0.1:8787"));
        assert!(refused(Client::builder("http://h").replica("h:2")).contains("comma in a host"));
        assert!(refused(Client::builder("http://h").replica("http://h/")).contains("twice"));
        assert!(refused(Client::builder("http://h").chunk(0)).starts_with("`chunk`"));
        assert!(refused(Client::builder("http://h").concurrency(0)).starts_with("`concurrency`"));
        let digest = refused(Client::builder("http://h").expect_digest("sha256:1"));
        assert!(digest.starts_with("`expect_digest`") && digest.contains("sha256:1"), "{digest}");
        assert!(refused(Client::builder("http://h").token("a\nb")).contains("line break"));
    }

    #[test]
    fn debug_output_has_no_token_and_no_password() {
        let builder = Client::builder("http://me:s3cret@h/?key=s3cret").token("s3cret");
        let text = format!("{builder:?} {:?}", builder.clone().build().unwrap());
        assert!(!text.contains("s3cret"), "{text}");
    }
}
