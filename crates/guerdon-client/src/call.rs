//! One HTTP exchange: sends a request, reads the reply, and classifies failures as transient or
//! final.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use guerdon_queue::named_delay;
use guerdon_types::{Problem, ProblemCode};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use serde::de::{DeserializeOwned, IgnoredAny};
use uuid::Uuid;

use crate::Error;
use crate::error::is_transient;
use crate::retry::{AttemptError, RetryAdvice};
use crate::version;

/// The most characters that an error quotes of a body which is not a problem body.
const QUOTED: usize = 200;

/// One request. It can be sent several times.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    /// The place of the server in the client's list.
    pub(crate) server: usize,
    path: Vec<String>,
    query: Vec<(String, String)>,
    url: Url,
    /// The URL without user, password and query: any of them may be a secret.
    pub(crate) shown: String,
    body: Option<Bytes>,
    /// The same on each attempt, so that a server or a proxy can recognise a repeated request.
    idempotency_key: Option<String>,
    lines: bool,
}

/// The URL of `path` below `base`, with more pairs in its query; and the same without secrets.
fn located<P: AsRef<str>>(base: &Url, path: &[P], query: &[(String, String)]) -> (Url, String) {
    let mut url = base.clone();
    // Fails only for URLs that cannot have a path, which the builder refuses.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    let shown = format!("{}{}", url.origin().ascii_serialization(), url.path());
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    (url, shown)
}

impl Call {
    pub(crate) fn get(base: &Url, path: &[&str]) -> Self {
        let (url, shown) = located(base, path, &[]);
        Self {
            method: Method::GET,
            server: 0,
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            query: Vec::new(),
            url,
            shown,
            body: None,
            idempotency_key: None,
            lines: false,
        }
    }

    pub(crate) fn post(base: &Url, path: &[&str], body: Bytes) -> Self {
        Self {
            method: Method::POST,
            body: Some(body),
            idempotency_key: Some(Uuid::now_v7().to_string()),
            ..Self::get(base, path)
        }
    }

    /// Adds pairs to the query of the URL.
    pub(crate) fn query(mut self, pairs: &[(String, String)]) -> Self {
        if !pairs.is_empty() {
            self.url.query_pairs_mut().extend_pairs(pairs);
        }
        self.query.extend_from_slice(pairs);
        self
    }

    /// The same request to another server: the place of the server in the client's list, and its
    /// URL. Body and idempotency key stay.
    pub(crate) fn at(&self, server: usize, base: &Url) -> Self {
        let (url, shown) = located(base, &self.path, &self.query);
        Self { server, url, shown, ..self.clone() }
    }

    /// Requests a streamed reply, one line per result.
    pub(crate) fn lines(self) -> Self {
        Self { lines: true, ..self }
    }

    /// Sends the request. Returns the head of the reply with any status.
    pub(crate) async fn head(&self, http: &reqwest::Client) -> Result<Response, AttemptError> {
        let mut request = http.request(self.method.clone(), self.url.clone());
        if let Some(body) = &self.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        if let Some(key) = &self.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if self.lines {
            // A compressor would hold lines back until its window is full.
            request =
                request.header(ACCEPT, "application/x-ndjson").header(ACCEPT_ENCODING, "identity");
        }
        let response = request.send().await.map_err(|error| self.transport(error))?;
        version::check(response.headers(), &self.shown).map_err(|error| AttemptError {
            error,
            again: RetryAdvice::Never,
            has_begun: true,
        })?;
        Ok(response)
    }

    /// Sends the request and waits for any reply, at most `patience`.
    pub(crate) async fn probe(
        &self,
        http: &reqwest::Client,
        patience: Duration,
    ) -> Result<(), Error> {
        let request = http.request(self.method.clone(), self.url.clone()).timeout(patience);
        request.send().await.map(drop).map_err(|error| self.transport(error).error)
    }

    /// Sends the request. Returns the head of a successful reply, or the error in its body.
    pub(crate) async fn success(&self, http: &reqwest::Client) -> Result<Response, AttemptError> {
        let response = self.head(http).await?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response).await)
        }
    }

    /// Sends the request and parses the body of a successful reply.
    pub(crate) async fn reply<T: DeserializeOwned>(
        &self,
        http: &reqwest::Client,
    ) -> Result<T, AttemptError> {
        self.parsed(&self.body(http).await?)
    }

    /// Sends the request and returns the JSON text of a successful reply.
    pub(crate) async fn json(&self, http: &reqwest::Client) -> Result<String, AttemptError> {
        let body = self.body(http).await?;
        self.parsed::<IgnoredAny>(&body)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn body(&self, http: &reqwest::Client) -> Result<Bytes, AttemptError> {
        let response = self.success(http).await?;
        response.bytes().await.map_err(|error| self.transport(error))
    }

    fn parsed<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, AttemptError> {
        serde_json::from_slice(body).map_err(|error| {
            let detail =
                format!("the body cannot be parsed as a reply ({error}): {:?}", excerpt(body));
            // Without a length, a body that was cut short looks complete.
            let again = if error.is_eof() { RetryAdvice::Fault(None) } else { RetryAdvice::Never };
            AttemptError { error: self.decode(detail), again, has_begun: true }
        })
    }

    pub(crate) fn decode(&self, detail: impl Into<String>) -> Error {
        Error::Decode { url: self.shown.clone(), detail: detail.into() }
    }

    pub(crate) fn problem(&self, problem: Problem) -> Error {
        Error::Problem { url: self.shown.clone(), tries: 1, problem: Box::new(problem) }
    }

    fn transport(&self, error: reqwest::Error) -> AttemptError {
        let again = if error.is_builder() { RetryAdvice::Never } else { RetryAdvice::Away(None) };
        // Without a connection nothing was sent.
        let has_begun = !error.is_builder() && !error.is_connect();
        // reqwest prints the URL with its query, which may contain a key.
        let error =
            Error::Transport { url: self.shown.clone(), tries: 1, cause: error.without_url() };
        AttemptError { error, again, has_begun }
    }

    /// The error of a reply that is not a success.
    pub(crate) async fn refusal(&self, response: Response) -> AttemptError {
        let status = response.status();
        let delay = named_delay(response.headers(), SystemTime::now());
        let moved =
            response.headers().get(LOCATION).and_then(text).map(|to| format!("moved to {to}"));
        // An incomplete body does not change the status.
        let body = response.bytes().await.unwrap_or_default();
        let error = match serde_json::from_slice(&body) {
            Ok(problem) => self.problem(problem),
            Err(_) => self.status(status, moved.unwrap_or_else(|| excerpt(&body))),
        };
        let unscored = error.problem().is_some_and(|problem| problem.code == ProblemCode::Unscored);
        let again = match status.as_u16() {
            status if !is_transient(status) => RetryAdvice::Never,
            500 => RetryAdvice::Fault(delay),
            _ if unscored => RetryAdvice::Fault(delay),
            _ => RetryAdvice::Away(delay),
        };
        // A server that is busy or not ready refuses a request before it begins, and says so itself.
        let is_refusal = error.problem().is_some() && matches!(status.as_u16(), 429 | 503);
        AttemptError { error, again, has_begun: !is_refusal || unscored }
    }

    fn status(&self, status: StatusCode, body: String) -> Error {
        Error::Status { url: self.shown.clone(), tries: 1, status: status.as_u16(), body }
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

/// The beginning of a body, for an error message.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_extends_any_base_and_secrets_are_hidden() {
        let call = |base: &str| Call::get(&Url::parse(base).unwrap(), &["v1", "score"]);
        assert_eq!(call("http://h:1").url.as_str(), "http://h:1/v1/score");
        assert_eq!(call("http://h:1/rewards/").url.as_str(), "http://h:1/rewards/v1/score");
        let keyed = call("http://me:s3cret@h/a?key=s3cret");
        assert_eq!(keyed.url.as_str(), "http://me:s3cret@h/a/v1/score?key=s3cret");
        assert_eq!(keyed.shown, "http://h/a/v1/score");
    }

    #[test]
    fn excerpt_ends_at_a_character_boundary() {
        let text = excerpt("价".repeat(500).as_bytes());
        assert_eq!(text.chars().count(), QUOTED + 3);
    }
}
