//! The interface that adapters score through: a handle in the extensions of each request, bound to
//! the request's caller and to the snapshot that was current when the request arrived. The server
//! implements it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use guerdon_types::{
    FusionConfig, Invalid, Limits, Problem, ProblemCode, ProfileName, RolloutResult, ScoreRequest,
    parse_json, without_lone_surrogates,
};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::score::SourceName;

/// The largest body, in bytes, that is parsed and converted on the thread of the request. Others
/// are on a blocking thread.
pub(crate) const SHORT_BODY: usize = 128 << 10;

/// The largest number of JSON values in a body.
const MAX_VALUES: usize = 4_000_000;

/// Scoring for one request. All answers come from one snapshot of the configuration.
pub trait ScoreService: fmt::Debug + Send + Sync + 'static {
    /// True while the server takes requests.
    fn is_ready(&self) -> bool;

    /// The server's limits.
    fn limits(&self) -> Limits;

    /// The profile of that name, or the default profile.
    ///
    /// # Errors
    /// [`Invalid`] if there is no such profile; the detail names those that exist.
    fn profile(&self, name: Option<&ProfileName>) -> Result<ProfileSummary, Invalid>;

    /// The names of all profiles, in alphabetical order.
    fn profiles(&self) -> Vec<ProfileName>;

    /// Reads a JSON body whole, after a check of content type, encoding and size. Then takes one of
    /// the places for concurrent requests, which the service holds until it is dropped.
    ///
    /// # Errors
    /// The problem to answer with.
    fn read_body(&self, headers: HeaderMap, body: Body) -> BoxFuture<'_, Result<Bytes, ApiError>>;

    /// Checks `request` and binds it to the request's caller and snapshot.
    ///
    /// # Errors
    /// The request as a whole cannot be served, or a source that it needs can take nothing more at
    /// the moment.
    fn open(&self, request: ScoreRequest) -> Result<Box<dyn ScoringBatch>, ApiError>;
}

/// A checked request, ready to be scored.
pub trait ScoringBatch: Send {
    /// The sources that will be asked, in the order of the reply.
    fn sources(&self) -> Vec<SourceName>;

    /// The fusion that will make the rewards.
    fn fusion(&self) -> FusionConfig;

    /// Scores every rollout; results are in the request's order.
    fn collect(self: Box<Self>) -> BoxFuture<'static, Vec<RolloutResult>>;
}

/// A profile as adapters describe it to their clients.
#[derive(Debug, Clone)]
pub struct ProfileSummary {
    /// The profile's name.
    pub name: ProfileName,
    /// The reward model's content hash; `None` for a profile without a reward model.
    pub model_hash: Option<String>,
}

/// The request's [`ScoreService`], as extractor. The server puts it into the request's extensions.
#[derive(Debug, Clone)]
pub struct ScoreHandle(pub Arc<dyn ScoreService>);

impl ScoreHandle {
    fn of(parts: &Parts) -> Result<Self, ApiError> {
        let missing =
            || ApiError::new(ProblemCode::Internal, "the request has no scoring service attached");
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}

impl<S: Sync> FromRequestParts<S> for ScoreHandle {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::of(parts)
    }
}

/// A JSON body, within the server's limits.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<S: Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let ScoreHandle(service) = ScoreHandle::of(&parts)?;
        let bytes = service.read_body(parts.headers, body).await?;
        let parse = |bytes: &[u8]| {
            check_values(bytes, MAX_VALUES)?;
            parse_mended(bytes)
        };
        Ok(Self(parse_body(bytes, parse).await?))
    }
}

/// Parses a body. Halves of surrogate pairs are read as U+FFFD: most protocols have no place for the
/// error of one item.
fn parse_mended<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Invalid> {
    match parse_json(bytes) {
        Err(invalid) if invalid.code == ProblemCode::MalformedJson => {
            let mended = without_lone_surrogates(bytes).ok_or(invalid)?;
            parse_json(&mended)
        }
        Err(invalid) if bytes.trim_ascii_start().first() == Some(&b'[') => Err(Invalid::new(
            invalid.code,
            invalid.pointer,
            "the body is a list, and this route takes an object",
        )
        .hint("put the list into a field of an object; /docs shows the fields of each route")),
        parsed => parsed,
    }
}

/// Refuses a body of more than `limit` values. An empty list has two bytes as text and many times
/// that in memory.
fn check_values(bytes: &[u8], limit: usize) -> Result<(), Invalid> {
    // Each value but the first stands behind one of these.
    let (mut before, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => before += 1,
            _ => {}
        }
    }
    if before < limit {
        return Ok(());
    }
    let detail = format!("the body has more than {limit} values");
    Err(Invalid::new(ProblemCode::TooLarge, "", detail).hint("send fewer items a request"))
}

/// Runs `work`, which computes for a time that grows with a request, on a blocking thread.
///
/// # Errors
/// `internal`, if it panicked.
pub async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let failed =
        |_| ApiError::new(ProblemCode::Internal, "the request failed; see the server's log");
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

/// The text of a JSON reply.
///
/// # Errors
/// `internal`, if the value cannot be written.
pub fn json_bytes(reply: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(reply).map_err(|error| {
        ApiError::new(ProblemCode::Internal, format!("the reply could not be written: {error}"))
    })
}

/// A reply with a JSON text.
pub fn json_reply(json: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}

/// Parses a body with `parse`, on a blocking thread if it is large.
///
/// # Errors
/// The error of `parse`, or `internal` if it panicked.
pub async fn parse_body<T: Send + 'static>(
    bytes: Bytes,
    parse: impl FnOnce(&[u8]) -> Result<T, Invalid> + Send + 'static,
) -> Result<T, ApiError> {
    if bytes.len() <= SHORT_BODY {
        return Ok(parse(&bytes)?);
    }
    Ok(compute(move || parse(&bytes)).await??)
}

/// A refused request: the problem to answer with, and when to try again.
#[derive(Debug)]
pub struct ApiError {
    problem: Box<Problem>,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// A refusal with this code.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// The problem's detail.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.problem.detail
    }

    /// Sets the `Retry-After` header: whole seconds, rounded up, at least one. Without it, the header
    /// of a retriable problem is one second.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

/// A wait in whole seconds, rounded up, at least one: a client that waits so long is not too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self::from(Box::new(problem))
    }
}

impl From<Box<Problem>> for ApiError {
    fn from(problem: Box<Problem>) -> Self {
        Self { problem, retry_after: None }
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Problem::from(invalid).into()
    }
}

impl IntoResponse for ApiError {
    /// An empty reply with the problem in its extensions (`Arc<Problem>`). The server's outermost
    /// layer writes the body, because the request's id and path are available only there.
    fn into_response(self) -> Response {
        let mut response = StatusCode::from_u16(self.problem.status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        response.extensions_mut().insert(Arc::new(*self.problem));
        response
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn values_of(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(values_of).sum(),
            Value::Object(fields) => fields.values().map(values_of).sum(),
            _ => 0,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), "[,\\[{\"\\\\ab]{0,8}".prop_map(Value::from)];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map("[,\\[{\"\\\\ab]{0,4}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// No body of more values than the limit passes, and none of half as many is refused.
        #[test]
        fn a_body_passes_by_its_number_of_values(value in any_json()) {
            let (text, count) = (value.to_string(), values_of(&value));
            prop_assert!(check_values(text.as_bytes(), count - 1).is_err() || count == 1);
            prop_assert!(check_values(text.as_bytes(), 2 * count + 1).is_ok(), "{}", text);
        }
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (90_500, "91")] {
            let error = ApiError::new(ProblemCode::Overloaded, "full");
            let response = error.retry_after(Duration::from_millis(millis)).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], seconds, "{millis} ms");
        }
    }

    #[test]
    fn half_an_emoji_costs_one_character_and_not_the_batch() {
        let texts: Vec<String> = parse_mended(br#"["a", "b \ud83d", "c"]"#).unwrap();
        assert_eq!(texts, ["a", "b \u{fffd}", "c"]);
        let broken = parse_mended::<Value>(br#"["\ud83d", "#).unwrap_err();
        assert_eq!(broken.code, ProblemCode::MalformedJson);
    }

    #[test]
    fn commas_in_texts_are_not_values() {
        let text = json!({ "query": [",[{".repeat(1_000)] }).to_string();
        assert!(check_values(text.as_bytes(), 10).is_ok());
    }
}
