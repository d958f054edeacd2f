//! Transport of requests: HTTP by default, or another implementation such as an engine in the same
//! process or a script in a test.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use opentelemetry::{Context, global};
use opentelemetry_http::HeaderInjector;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::KeyHeader;
use crate::error::Error;

/// No honest verdict is longer.
const LONGEST_REPLY: usize = 1 << 20;

/// A reply of the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportReply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The HTTP headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// The reason why there is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportError {
    /// The endpoint was not reached, so nothing was billed.
    NotReached,
    /// The host's name has no address.
    UnknownHost,
    /// The host refused the connection.
    RefusedConnection,
    /// The TLS handshake failed.
    Tls,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The connection broke off, so that something may have been paid.
    BrokeOff,
    /// The reply is too long to be a verdict.
    TooLong,
}

/// Carries the body of a chat completion to one address, and brings the reply back.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends `body`. Dropping the future gives the attempt up; the endpoint's time limit does that.
    fn send(&self, body: Vec<u8>) -> BoxFuture<'_, Result<TransportReply, TransportError>>;
}

/// HTTP.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    url: Url,
    key: Option<(HeaderName, HeaderValue)>,
}

/// Settings of the HTTP client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpConfig<'a> {
    pub(crate) url: &'a str,
    pub(crate) proxy: Option<&'a str>,
    pub(crate) timeout: Duration,
    pub(crate) max_concurrent: usize,
    pub(crate) key_header: KeyHeader,
}

impl Http {
    pub(crate) fn new(config: &HttpConfig<'_>, key: Option<&SecretString>) -> Result<Self, Error> {
        Ok(Self {
            client: client(config).map_err(Error::Client)?,
            url: completions_url(config.url)?,
            key: key.map(|key| header(config.key_header, key)).transpose()?,
        })
    }

    async fn post(&self, body: Vec<u8>) -> Result<TransportReply, TransportError> {
        let mut request =
            self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        if let Some((name, key)) = &self.key {
            request = request.header(name, key.clone());
        }
        let mut trace = HeaderMap::new();
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&Context::current(), &mut HeaderInjector(&mut trace));
        });
        let request = request.headers(trace);
        let mut response = request.send().await.map_err(|error| lost(&error))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_REPLY {
                return Err(TransportError::TooLong);
            }
        }
        Ok(TransportReply { status, headers, body })
    }
}

/// A failed look-up of a host, which has no type of its own in the standard library.
#[derive(Debug, thiserror::Error)]
#[error("the host's address could not be looked up")]
struct HostLookup(#[source] std::io::Error);

/// Looks up hosts as the system does, with an error of its own.
#[derive(Debug)]
struct HostResolver;

impl Resolve for HostResolver {
    fn resolve(&self, name: Name) -> Resolving {
        async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(HostLookup)?;
            let found: Vec<SocketAddr> = found.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        }
        .boxed()
    }
}

/// The reason of a failure of the HTTP client, by the types of its causes.
fn lost(error: &reqwest::Error) -> TransportError {
    if !error.is_connect() {
        return TransportError::BrokeOff;
    }
    if error.is_timeout() {
        return TransportError::ConnectTimeout;
    }
    let reason = std::error::Error::source(error).and_then(reason_of);
    reason.unwrap_or(TransportError::NotReached)
}

/// The reason that follows from the type of an error or of one of its causes.
fn reason_of(error: &(dyn std::error::Error + 'static)) -> Option<TransportError> {
    if error.is::<rustls::Error>() {
        return Some(TransportError::Tls);
    }
    if error.is::<HostLookup>() {
        return Some(TransportError::UnknownHost);
    }
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        // The inner error is not among the sources of an I/O error, and may be an I/O error too.
        let inner = io.get_ref().and_then(|inner| reason_of(inner));
        let own = match io.kind() {
            std::io::ErrorKind::ConnectionRefused => Some(TransportError::RefusedConnection),
            std::io::ErrorKind::TimedOut => Some(TransportError::ConnectTimeout),
            _ => None,
        };
        if let Some(reason) = inner.or(own) {
            return Some(reason);
        }
    }
    error.source().and_then(reason_of)
}

impl Transport for Http {
    fn send(&self, body: Vec<u8>) -> BoxFuture<'_, Result<TransportReply, TransportError>> {
        self.post(body).boxed()
    }
}

/// The base URL with the path of chat completions.
pub(crate) fn completions_url(base: &str) -> Result<Url, Error> {
    let wrong = |detail: &str| Error::Url { url: base.to_owned(), detail: detail.to_owned() };
    let mut url = Url::parse(base).map_err(|error| wrong(&format!("is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("cannot be called; write http://… or https://…"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // The URL is not quoted, because the password would appear in the log.
        let detail =
            "holds a user name or password; use `api_key_env` or `api_key_file`".to_owned();
        return Err(Error::Url { url: "…".to_owned(), detail });
    }
    // Not `join`, which would drop the base's last segment and its query (`?api-version=…`).
    let path = format!("{}/chat/completions", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn client(config: &HttpConfig<'_>) -> reqwest::Result<Client> {
    // reqwest is built without a TLS provider. A program that has installed its own keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .connect_timeout(config.timeout.min(Duration::from_secs(10)))
        .pool_max_idle_per_host(config.max_concurrent)
        // A redirect would send the key and the judged text to an address that is not configured.
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Arc::new(HostResolver))
        .user_agent(concat!("guerdon/", env!("CARGO_PKG_VERSION")))
        .no_proxy();
    match config.proxy {
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy)?).build(),
        None => builder.build(),
    }
}

fn header(header: KeyHeader, key: &SecretString) -> Result<(HeaderName, HeaderValue), Error> {
    let key = key.expose_secret().trim();
    let (name, text) = match header {
        KeyHeader::Bearer => (AUTHORIZATION, format!("Bearer {key}")),
        KeyHeader::ApiKey => (HeaderName::from_static("api-key"), key.to_owned()),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| Error::ApiKey)?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_and_a_query_stays() {
        assert_eq!(
            completions_url("http://h/v1/").unwrap().as_str(),
            "http://h/v1/chat/completions"
        );
        assert_eq!(
            completions_url("https://h/d?api-version=1").unwrap().path(),
            "/d/chat/completions"
        );
        assert_eq!(
            completions_url("https://h/d?api-version=1").unwrap().query(),
            Some("api-version=1")
        );
    }

    /// The error of a request to `url`.
    async fn failure(url: &str) -> TransportError {
        let config = HttpConfig {
            url,
            proxy: None,
            timeout: Duration::from_millis(300),
            max_concurrent: 1,
            key_header: KeyHeader::default(),
        };
        Http::new(&config, None).unwrap().send(b"{}".to_vec()).await.unwrap_err()
    }

    /// A listener whose connections are handled by `serve`, and its authority.
    async fn listener(
        serve: impl AsyncFn(tokio::net::TcpStream) + Send + 'static,
    ) -> (String, impl Future<Output = ()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let serving = async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream).await;
            }
        };
        (authority, serving)
    }

    /// The error of a request to a listener that handles connections with `serve`.
    async fn failure_at(
        scheme: &str,
        serve: impl AsyncFn(tokio::net::TcpStream) + Send + 'static,
    ) -> TransportError {
        let (authority, serving) = listener(serve).await;
        let url = format!("{scheme}://{authority}/v1");
        tokio::select! {
            error = failure(&url) => error,
            () = serving => panic!("the listener ended"),
        }
    }

    async fn writes(mut stream: tokio::net::TcpStream, bytes: &[u8]) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
    }

    #[tokio::test]
    async fn what_goes_wrong_on_the_way_is_told_apart() {
        // No name server is asked for a label of this length.
        let host = format!("http://{}.invalid/v1", "a".repeat(64));
        assert_eq!(failure(&host).await, TransportError::UnknownHost);
        let closed = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let refused = failure(&format!("http://{closed}/v1")).await;
        assert_eq!(refused, TransportError::RefusedConnection);
        // Plain text where a handshake is expected.
        let plain =
            failure_at("https", async |stream| writes(stream, b"HTTP/1.1 200 OK\r\n\r\n").await);
        assert_eq!(plain.await, TransportError::Tls);
        // A host that takes the connection and says nothing.
        let silent = failure_at("https", async |stream| {
            tokio::time::sleep(Duration::from_secs(2)).await;
            drop(stream);
        });
        assert_eq!(silent.await, TransportError::ConnectTimeout);
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
        let broken = failure_at("http", async |stream| writes(stream, half).await);
        assert_eq!(broken.await, TransportError::BrokeOff);
        let long = failure_at("http", async |stream| {
            let mut reply = b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n".to_vec();
            reply.resize(2 << 20, b' ');
            writes(stream, &reply).await;
        });
        assert_eq!(long.await, TransportError::TooLong);
    }

    #[test]
    fn a_key_is_never_shown() {
        for kind in [KeyHeader::Bearer, KeyHeader::ApiKey] {
            let (_, value) = header(kind, &SecretString::from("sk-very-secret\n")).unwrap();
            assert!(!format!("{value:?}").contains("secret"));
            assert!(value.to_str().unwrap().ends_with("sk-very-secret"));
        }
    }
}
