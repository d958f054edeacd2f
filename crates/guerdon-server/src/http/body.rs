//! Bytes of request bodies, after a check of content type, encoding and size.

use axum::body::{Body, Bytes};
use guerdon_types::{Problem, ProblemCode};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::http::problem::ApiError;

/// Reads a JSON body of at most `limit` bytes, decompressed.
///
/// # Errors
/// The problem to answer with: `unsupported_media_type`, `too_large`, or `malformed_json` for a
/// body that breaks off.
pub(crate) async fn read_json(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let content_type =
        headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let detail = format!("the content type is `{content_type}`, not `application/json`");
        return Err(Problem::new(ProblemCode::UnsupportedMediaType, detail)
            .hint("send the header `Content-Type: application/json`")
            .into());
    }
    // The decompression layer leaves the header on a body that it could not decompress.
    if let Some(encoding) = headers.get(CONTENT_ENCODING) {
        let encoding = encoding.to_str().unwrap_or("?");
        let detail = format!("the content encoding `{encoding}` is not supported");
        return Err(Problem::new(ProblemCode::UnsupportedMediaType, detail)
            .hint("send gzip, zstd or no encoding")
            .into());
    }
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let detail = format!("the body exceeds {limit} bytes, decompressed");
            Err(Problem::new(ProblemCode::TooLarge, detail)
                .hint("send fewer rollouts a request, or raise `limits.max_body_bytes`")
                .into())
        }
        Err(error) => Err(ApiError::new(
            ProblemCode::MalformedJson,
            format!("the body could not be read: {error}"),
        )),
    }
}
