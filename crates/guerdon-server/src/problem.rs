//! From a [`Problem`] to an HTTP reply. The status codes are [`ProblemCode`]'s; this file only writes them.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use guerdon_types::{Invalid, Problem, ProblemCode, RequestId};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

/// Any failure of a handler.
#[derive(Debug)]
pub(crate) struct ApiError {
    problem: Box<Problem>,
    retry_after: Option<Duration>,
}

impl ApiError {
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// What went wrong.
    pub(crate) fn detail(&self) -> &str {
        &self.problem.detail
    }

    /// Says when to come back, where a second would be too soon.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
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
    /// Leaves the problem beside an empty reply: [`finish`] writes it once the request's id and path are at hand.
    fn into_response(self) -> Response {
        let mut response = StatusCode::from_u16(self.problem.status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response.extensions_mut().insert(std::sync::Arc::new(*self.problem));
        response
    }
}

/// Writes the problem that a handler left, with the request it belongs to.
pub(crate) fn finish(mut response: Response, request_id: &RequestId, path: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<std::sync::Arc<Problem>>() else {
        return response;
    };
    let mut problem = std::sync::Arc::unwrap_or_clone(problem);
    problem.request_id = Some(request_id.clone());
    problem.instance = Some(path.to_owned());
    if problem.status >= 500 && problem.code == ProblemCode::Internal {
        tracing::error!(detail = problem.detail, "A request failed.");
    } else {
        tracing::info!(
            code = problem.code.as_str(),
            detail = problem.detail,
            pointer = problem.pointer,
            "A request was refused."
        );
    }
    let code = problem.code;
    let mut written = (response.status(), Json(problem)).into_response();
    let headers = written.headers_mut();
    // A 405's `Allow`, for one, is the router's own and must stay.
    let own = |name: &HeaderName| name != CONTENT_TYPE && name != CONTENT_LENGTH;
    headers.extend(
        response
            .headers()
            .iter()
            .filter(|(name, _)| own(name))
            .map(|(n, v)| (n.clone(), v.clone())),
    );
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    match code {
        ProblemCode::RateLimited | ProblemCode::Overloaded | ProblemCode::NotReady => {
            headers.entry(RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
        }
        ProblemCode::Unauthorized => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    written
}
