//! Problem bodies of refused requests. The status codes are [`ProblemCode`]'s.

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use guerdon_types::{Problem, ProblemCode, RequestId};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

pub(crate) use guerdon_adapters::ApiError;

/// The longest text of a problem, in characters. A text may quote a request, which may be as long
/// as the largest body.
const MAX_CHARS: usize = 1_000;

/// The longest report of a failed reload, in characters. It quotes the operator's files.
const MAX_REPORT_CHARS: usize = 64 << 10;

/// Shortens the texts of a problem, before it is sent and logged.
fn cut_texts(problem: &mut Problem) {
    let is_report = problem.code == ProblemCode::ReloadFailed;
    let max_detail = if is_report { MAX_REPORT_CHARS } else { MAX_CHARS };
    let others = [&mut problem.hint, &mut problem.pointer, &mut problem.instance];
    let others = others.into_iter().flatten().map(|text| (text, MAX_CHARS));
    for (text, max_chars) in others.chain([(&mut problem.detail, max_detail)]) {
        if let Cow::Owned(short) = guerdon_text::cut(text, max_chars) {
            *text = short;
        }
    }
}

/// Writes the problem that a handler left in the response's extensions, with the request's id and
/// path.
pub(crate) fn finish(mut response: Response, request_id: &RequestId, path: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<std::sync::Arc<Problem>>() else {
        return response;
    };
    let mut problem = std::sync::Arc::unwrap_or_clone(problem);
    problem.request_id = Some(request_id.clone());
    problem.instance = Some(path.to_owned());
    cut_texts(&mut problem);
    if problem.status >= 500 && problem.code == ProblemCode::Internal {
        tracing::error!(detail = problem.detail, "request failed");
    } else {
        tracing::info!(
            code = problem.code.as_str(),
            detail = problem.detail,
            pointer = problem.pointer,
            "request refused"
        );
    }
    let code = problem.code.known();
    let mut written = (response.status(), Json(problem)).into_response();
    let headers = written.headers_mut();
    // Headers of the router stay, such as `Allow` of a 405.
    let own = |name: &HeaderName| name != CONTENT_TYPE && name != CONTENT_LENGTH;
    headers.extend(
        response
            .headers()
            .iter()
            .filter(|(name, _)| own(name))
            .map(|(n, v)| (n.clone(), v.clone())),
    );
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if matches!(written.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        written.headers_mut().entry(RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    if code == Some(ProblemCode::Unauthorized) {
        written.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    written
}
