//! The addresses of one service: one queue before all of them, their limits and health, and
//! retries.
//!
//! A call that is refused for load returns to the head of the queue, which waits for as long as the
//! address asks, and that is no retry. Other failures that a retry can fix are repeated after a
//! wait, at another address if there is one. An address that fails several times in a row gets only
//! probes until it is up: `GET` requests of its health, which hold no word of a dialogue.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use guerdon_queue::{
    Admission, AdmissionLimits, AdmissionPermit, Backoff, Demand, Flow, LoadSignal, ProbeResult,
    QueuePosition, named_delay,
};
use opentelemetry::{Context, global};
use opentelemetry_http::HeaderInjector;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::fault::{CallClass, CallFault};
use super::limits::CallLimits;
use super::transport::HttpTransport;
use crate::error::RemoteError;

/// Longest wait of the own backoff.
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);
/// Base of the backoff after a refusal for load if the configured one is shorter.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(50);
/// Time after which a call without a deadline is given up.
const LONGEST_PATIENCE: Duration = Duration::from_secs(600);
/// Time limit of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The header with the time that is left, in milliseconds.
const DEADLINE: HeaderName = HeaderName::from_static("x-guerdon-deadline-ms");

/// The inputs of an [`ServiceEndpoint`] beside its limits.
#[derive(Debug)]
pub(crate) struct ServiceSettings<'a> {
    pub(crate) limits: &'a CallLimits,
    /// The path that is appended to each URL; none if the URLs are complete.
    pub(crate) path: Option<&'a str>,
    /// The path of health checks, below the path of the URL, or from the root if URLs are complete.
    pub(crate) health: &'a str,
    pub(crate) api_key: Option<&'a SecretString>,
}

/// The addresses of one service.
#[derive(Debug)]
pub(crate) struct ServiceEndpoint {
    transport: HttpTransport,
    addresses: Vec<ServiceAddress>,
    admission: Arc<Admission>,
    api_key: Option<HeaderValue>,
    attempt_timeout: Duration,
    retries: u32,
    backoff: Backoff,
}

#[derive(Debug)]
struct ServiceAddress {
    url: Url,
    health: Url,
}

/// One request.
#[derive(Debug)]
pub(crate) struct CallRequest {
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
    /// The number of turns, by which clients share the addresses.
    pub(crate) turns: u64,
}

/// The state of a call between its attempts.
struct CallProgress {
    deadline: Instant,
    position: Option<QueuePosition>,
    probes: u32,
    avoid: Option<usize>,
    retries: u32,
    fault: Option<CallFault>,
}

impl ServiceEndpoint {
    pub(crate) fn new(settings: &ServiceSettings<'_>) -> Result<Self, RemoteError> {
        let ServiceSettings { limits, path, health, api_key } = settings;
        let address = |url: &String| ServiceAddress::parse(url, *path, health);
        let addresses = limits.urls.iter().map(address).collect::<Result<Vec<_>, _>>()?;
        let backoff =
            Backoff { base: limits.backoff, cap: LONGEST_BACKOFF, floor: SHORTEST_BACKOFF };
        let admission = AdmissionLimits {
            max_concurrent: limits.max_concurrent,
            max_queued: limits.max_queued,
            requests: None,
            tokens: None,
            span: Duration::from_secs(60),
            backoff,
        };
        Ok(Self {
            transport: HttpTransport::new(limits)?,
            admission: Admission::new(admission, addresses.len()),
            addresses,
            api_key: api_key.map(bearer).transpose()?,
            attempt_timeout: limits.attempt_timeout,
            retries: limits.retries,
            backoff,
        })
    }

    /// The time until the queue takes requests of `client` again, if it is full.
    pub(crate) fn full_for(&self, client: u64) -> Option<Duration> {
        self.admission.full_for(client)
    }

    /// Sends `request` until there is a reply or a fault that a retry does not fix.
    pub(crate) async fn call(
        &self,
        request: &CallRequest,
        deadline: Option<Instant>,
        flow: Flow,
    ) -> Result<Vec<u8>, CallFault> {
        let mut progress = CallProgress {
            deadline: deadline.unwrap_or_else(|| Instant::now() + LONGEST_PATIENCE),
            position: None,
            probes: self.retries,
            avoid: None,
            retries: 0,
            fault: None,
        };
        loop {
            let permit = self.permit(request, &flow, &mut progress).await?;
            let (index, position) = (permit.address(), permit.position());
            let sent = Instant::now();
            let span = tracing::debug_span!(
                "source.call",
                http.request.method = "POST",
                server.address = self.addresses.get(index).and_then(|one| one.url.host_str()),
                guerdon.turns = request.turns,
                error.type = tracing::field::Empty,
            );
            let outcome =
                self.attempt(index, request, progress.deadline).instrument(span.clone()).await;
            if let Err(fault) = &outcome {
                span.record("error.type", fault.class.as_str());
            }
            let signal = outcome.as_ref().map_or_else(CallFault::signal, |_| LoadSignal::Accepted);
            permit.settle(Some(request.turns), signal, sent.elapsed());
            let fault = match outcome {
                Ok(reply) => return Ok(reply),
                Err(fault) => fault,
            };
            progress.position = Some(position);
            if fault.class == CallClass::RateLimited {
                progress.fault = Some(fault);
                continue;
            }
            if !fault.is_retried() || progress.retries >= self.retries {
                return Err(fault);
            }
            let pause = self.backoff.full_jitter(progress.retries);
            progress.retries += 1;
            progress.avoid = Some(index);
            if Instant::now() + pause >= progress.deadline {
                return Err(fault);
            }
            progress.fault = Some(fault);
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits for a permit. Probes the addresses that have to be probed.
    async fn permit(
        &self,
        request: &CallRequest,
        flow: &Flow,
        progress: &mut CallProgress,
    ) -> Result<AdmissionPermit, CallFault> {
        loop {
            let demand = Demand {
                tokens: request.turns,
                estimate: None,
                flow: flow.clone(),
                deadline: Some(progress.deadline),
                position: progress.position,
                avoid: progress.avoid,
                probes: progress.probes,
            };
            let entered = tokio::time::timeout_at(progress.deadline, self.admission.enter(demand));
            let permit = match entered.await {
                Ok(Ok(permit)) => permit,
                // The fault of an attempt says more than that no address is up.
                Ok(Err(refusal)) => {
                    return Err(progress
                        .fault
                        .take()
                        .unwrap_or_else(|| CallFault::refused(refusal)));
                }
                Err(_) => return Err(progress.fault.take().unwrap_or_else(CallFault::late)),
            };
            if !permit.is_probe() {
                return Ok(permit);
            }
            progress.position = Some(permit.position());
            progress.probes = permit.probes();
            self.probe(permit).await;
        }
    }

    async fn attempt(
        &self,
        index: usize,
        request: &CallRequest,
        deadline: Instant,
    ) -> Result<Vec<u8>, CallFault> {
        let Some(address) = self.addresses.get(index) else {
            return Err(CallFault::internal("an address is not known"));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = self.attempt_timeout.min(left);
        let mut headers = request.headers.clone();
        headers.insert(
            DEADLINE,
            HeaderValue::from(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        );
        self.authorise(&mut headers);
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&Context::current(), &mut HeaderInjector(&mut headers));
        });
        let posted = self.transport.post(&address.url, headers, request.body.clone());
        let reply = match tokio::time::timeout(limit, posted).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return Err(CallFault::undelivered(error)),
            Err(_) if limit < self.attempt_timeout => return Err(CallFault::late()),
            Err(_) => return Err(CallFault::timed_out(limit)),
        };
        if reply.status.is_success() {
            return Ok(reply.body);
        }
        let delay = named_delay(&reply.headers, SystemTime::now());
        Err(CallFault::answered(reply.status, delay, &reply.body))
    }

    /// Asks an address for its health. Any answer but a server's failure is one: a function without
    /// a path for health answers that there is none.
    async fn probe(&self, permit: AdmissionPermit) {
        let Some(address) = self.addresses.get(permit.address()) else { return };
        let mut headers = HeaderMap::new();
        self.authorise(&mut headers);
        let asked = self.transport.get(&address.health, headers);
        let result = match tokio::time::timeout(PROBE_TIMEOUT, asked).await {
            Ok(Ok(status)) if status.is_server_error() => ProbeResult::Failed,
            Ok(Ok(_)) => ProbeResult::Passed,
            Ok(Err(_)) | Err(_) => ProbeResult::Failed,
        };
        permit.probed(result);
    }

    fn authorise(&self, headers: &mut HeaderMap) {
        if let Some(key) = &self.api_key {
            headers.insert(AUTHORIZATION, key.clone());
        }
    }
}

impl ServiceAddress {
    fn parse(text: &str, path: Option<&str>, health: &str) -> Result<Self, RemoteError> {
        let wrong = |detail: &str| {
            let detail = detail.to_owned();
            RemoteError::Url { url: guerdon_text::cut(text, 200).into_owned(), detail }
        };
        let mut url = Url::parse(text).map_err(|error| wrong(&format!("is no URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("cannot be called\n  help: write http://… or https://…"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            // The URL is not quoted, because the password would appear in the log.
            let detail = "holds a user name or password\n  help: use a key from the environment";
            return Err(RemoteError::Url { url: "…".to_owned(), detail: detail.to_owned() });
        }
        let mut checked = url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        match path {
            Some(path) => {
                url.set_path(&format!("{base}{path}"));
                checked.set_path(&format!("{base}{health}"));
            }
            None => checked.set_path(health),
        }
        checked.set_query(None);
        Ok(Self { url, health: checked })
    }
}

fn bearer(key: &SecretString) -> Result<HeaderValue, RemoteError> {
    let text = format!("Bearer {}", key.expose_secret().trim());
    let mut value = HeaderValue::from_str(&text).map_err(|_| RemoteError::ApiKey)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_a_protocol_is_appended_and_a_query_stays() {
        let parsed = |url, path| ServiceAddress::parse(url, path, "/health").unwrap();
        let server = parsed("http://h:1/base/?key=2", Some("/classify"));
        assert_eq!(server.url.as_str(), "http://h:1/base/classify?key=2");
        assert_eq!(server.health.as_str(), "http://h:1/base/health");
        let function = parsed("http://h:1/score", None);
        assert_eq!(function.url.as_str(), "http://h:1/score");
        assert_eq!(function.health.as_str(), "http://h:1/health");
    }

    #[test]
    fn an_address_that_cannot_be_called_is_refused_without_its_password() {
        for (url, part) in [
            ("localhost:9001/score", "cannot be called"),
            ("/score", "is no URL"),
            ("ftp://h/", "cannot be called"),
            ("http://user:s3cret@h/", "password"),
        ] {
            let error = ServiceAddress::parse(url, None, "/health").unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("s3cret"), "{error}");
        }
    }
}
