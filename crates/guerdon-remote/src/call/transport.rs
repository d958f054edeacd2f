//! HTTP: one request, and a reply of bounded size. Redirects to other hosts are not followed.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, StatusCode, Url};

use super::limits::CallLimits;
use crate::error::RemoteError;

/// The largest number of redirects that are followed, all to the same host.
const MOST_REDIRECTS: usize = 3;

/// A reply.
#[derive(Debug)]
pub(super) struct ServiceReply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The reason why there is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HttpFailure {
    /// The address was not reached.
    NotReached,
    /// The host's name has no address.
    UnknownHost,
    /// The host refused the connection.
    RefusedConnection,
    /// The TLS handshake failed.
    Tls,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The connection broke off.
    BrokeOff,
    /// The reply is too long.
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
}

/// An HTTP client with the limits of a source.
#[derive(Debug)]
pub(super) struct HttpTransport {
    client: Client,
    max_reply_bytes: usize,
}

impl HttpTransport {
    pub(super) fn new(limits: &CallLimits) -> Result<Self, RemoteError> {
        // reqwest is built without a TLS provider. A program that has installed its own keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .connect_timeout(limits.attempt_timeout.min(Duration::from_secs(10)))
            .pool_max_idle_per_host(limits.max_concurrent)
            .redirect(Policy::custom(follow))
            .dns_resolver(Arc::new(SystemResolver))
            .user_agent(concat!("guerdon/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        let client = match &limits.proxy {
            Some(proxy) => {
                reqwest::Proxy::all(proxy).and_then(|proxy| builder.proxy(proxy).build())
            }
            None => builder.build(),
        };
        let client = client.map_err(RemoteError::Client)?;
        Ok(Self { client, max_reply_bytes: limits.max_reply_bytes })
    }

    /// Posts a JSON body.
    pub(super) async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<ServiceReply, HttpFailure> {
        let request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .headers(headers)
            .body(body);
        let mut response = request.send().await.map_err(|error| lost(&error))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
            if body.len() + chunk.len() > self.max_reply_bytes {
                return Err(HttpFailure::TooLong { limit: self.max_reply_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(ServiceReply { status, headers, body })
    }

    /// The status of a `GET`, without its body.
    pub(super) async fn get(
        &self,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<StatusCode, HttpFailure> {
        let response = self.client.get(url.clone()).headers(headers).send().await;
        response.map(|response| response.status()).map_err(|error| lost(&error))
    }
}

/// Follows a redirect that keeps the method and the host. Any other one would send the dialogue to
/// an address that is not configured, or without its body.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let origin = |url: &Url| {
        (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default())
    };
    let keeps_method = matches!(attempt.status().as_u16(), 307 | 308);
    let keeps_host = attempt.previous().iter().all(|url| origin(url) == origin(attempt.url()));
    if keeps_method && keeps_host && attempt.previous().len() <= MOST_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// A failed look-up of a host, which has no type of its own in the standard library.
#[derive(Debug, thiserror::Error)]
#[error("the host's address could not be looked up")]
struct HostLookupError(#[source] std::io::Error);

/// Looks up hosts as the system does, with an error of its own.
#[derive(Debug)]
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        async move {
            let found =
                tokio::net::lookup_host((name.as_str(), 0)).await.map_err(HostLookupError)?;
            let found: Vec<SocketAddr> = found.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        }
        .boxed()
    }
}

/// The reason of a failure of the HTTP client, by the types of its causes.
fn lost(error: &reqwest::Error) -> HttpFailure {
    if !error.is_connect() {
        return HttpFailure::BrokeOff;
    }
    if error.is_timeout() {
        return HttpFailure::ConnectTimeout;
    }
    error.source().and_then(reason_of).unwrap_or(HttpFailure::NotReached)
}

/// The reason that follows from the type of an error or of one of its causes.
fn reason_of(error: &(dyn StdError + 'static)) -> Option<HttpFailure> {
    if error.is::<rustls::Error>() {
        return Some(HttpFailure::Tls);
    }
    if error.is::<HostLookupError>() {
        return Some(HttpFailure::UnknownHost);
    }
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        // The inner error is not among the sources of an I/O error, and may be an I/O error too.
        let inner = io.get_ref().and_then(|inner| reason_of(inner));
        let own = match io.kind() {
            std::io::ErrorKind::ConnectionRefused => Some(HttpFailure::RefusedConnection),
            std::io::ErrorKind::TimedOut => Some(HttpFailure::ConnectTimeout),
            _ => None,
        };
        if let Some(reason) = inner.or(own) {
            return Some(reason);
        }
    }
    error.source().and_then(reason_of)
}
