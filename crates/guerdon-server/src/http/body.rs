//! Bytes of request bodies, after a check of content type, encoding and size.

use std::error::Error as StdError;

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use guerdon_types::{Problem, ProblemCode};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http_body_util::BodyExt as _;

use crate::http::admission::{RequestAdmission, RoomForBody};
use crate::http::caller::CallerId;
use crate::http::problem::ApiError;
use crate::listener::BodyError;

/// The first bytes of some editors' UTF-8 files.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads a JSON body of at most `limit` bytes, decompressed, into room that is taken while it
/// arrives. A byte order mark is left out.
///
/// # Errors
/// The problem to answer with: `unsupported_media_type`, `too_large`, `overloaded` if there is no
/// room, `not_ready` if the server stops meanwhile, `request_timeout` if the client is too slow, or
/// `malformed_json` for a body that breaks off.
pub(crate) async fn read_json(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    admission: &RequestAdmission,
    caller: CallerId,
) -> Result<(Bytes, RoomForBody), ApiError> {
    if !is_json(headers) {
        return Err(not_json(headers));
    }
    // The decompression layer leaves the header on a body that it could not decompress.
    if let Some(encoding) = headers.get(CONTENT_ENCODING) {
        let encoding = guerdon_text::quote(encoding.to_str().unwrap_or("?"));
        let detail = format!("the content encoding {encoding} is not supported");
        return Err(Problem::new(ProblemCode::UnsupportedMediaType, detail)
            .hint("send gzip, zstd or no encoding")
            .into());
    }
    // Such a client waits for an answer to its headers. Others are sending already, and read the
    // answer only if their body is read.
    if headers.contains_key(EXPECT) && expected(headers) > limit {
        return Err(too_large(limit));
    }
    let mut room = admission.room(caller).await?;
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unreadable(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - bytes.len() {
            return Err(too_large(limit));
        }
        admission.extend(&mut room, data.len()).await?;
        grow(&mut bytes, data.len(), expected(headers), limit);
        bytes.extend_from_slice(&data);
    }
    let mut bytes = bytes.freeze();
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes = bytes.slice(BYTE_ORDER_MARK.len()..);
    }
    Ok((bytes, room))
}

/// Returns whether the content type is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    content_type(headers)
        .split(';')
        .next()
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}

/// The problem of a body that is not JSON.
pub(crate) fn not_json(headers: &HeaderMap) -> ApiError {
    let given = guerdon_text::quote(content_type(headers));
    let detail = format!("the content type is {given}, not `application/json`");
    Problem::new(ProblemCode::UnsupportedMediaType, detail)
        .hint("send the header `Content-Type: application/json`")
        .into()
}

fn too_large(limit: usize) -> ApiError {
    let detail = format!("the body exceeds {limit} bytes, decompressed");
    Problem::new(ProblemCode::TooLarge, detail)
        .hint("send fewer rollouts a request, or raise `limits.max_body_bytes`")
        .into()
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The size that the client announced; of the compressed body, if it is compressed.
fn expected(headers: &HeaderMap) -> usize {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or_default()
}

/// Makes room for `more` bytes. The buffer doubles, up to the size that the body will have, so that
/// an announced size alone takes no memory.
fn grow(bytes: &mut BytesMut, more: usize, expected: usize, limit: usize) {
    let needed = bytes.len() + more;
    if needed <= bytes.capacity() {
        return;
    }
    let doubled = bytes.capacity().saturating_mul(2).max(4 << 10).min(limit);
    let target = if expected >= needed { doubled.min(expected) } else { doubled };
    bytes.reserve(target.max(needed) - bytes.len());
}

/// The problem of a body that could not be read to its end.
fn unreadable(error: &axum::Error) -> ApiError {
    let cause = body_error(error);
    let code = match cause {
        Some(BodyError::Stopping) => ProblemCode::NotReady,
        Some(BodyError::Slow { .. }) => ProblemCode::RequestTimeout,
        _ => ProblemCode::MalformedJson,
    };
    ApiError::new(code, format!("the body could not be read: {error}"))
}

/// The [`BodyError`] among the causes of `error`. The decompression layer wraps it in an I/O error,
/// which is no step of its own in the chain of sources.
fn body_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a BodyError> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let error: &(dyn StdError + 'static) = match inner {
            Some(inner) => inner,
            None => error,
        };
        if let Some(found) = error.downcast_ref::<BodyError>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    async fn read(headers: &[(&str, &str)], body: &'static [u8]) -> Result<Bytes, u16> {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
        });
        let headers: HeaderMap = headers.collect();
        let admission = RequestAdmission::new(&Config::default());
        let read = read_json(&headers, Body::from(body), 10, &admission, CallerId(1)).await;
        read.map(|(bytes, _)| bytes)
            .map_err(|error| axum::response::IntoResponse::into_response(error).status().as_u16())
    }

    #[tokio::test]
    async fn json_is_read_without_its_byte_order_mark_and_up_to_the_limit() {
        let json = ("content-type", "Application/JSON; charset=utf-8");
        assert_eq!(read(&[json], b"\xEF\xBB\xBF{}").await.unwrap(), "{}");
        assert_eq!(read(&[json], b"0123456789").await.unwrap().len(), 10);
        assert_eq!(read(&[json], b"0123456789a").await, Err(413));
        assert_eq!(read(&[("content-type", "text/plain")], b"{}").await, Err(415));
        assert_eq!(read(&[json, ("content-encoding", "br")], b"{}").await, Err(415));
    }

    #[tokio::test]
    async fn client_that_asks_first_is_refused_before_it_sends_too_much() {
        let headers = |length| {
            let json = ("content-type", "application/json");
            [json, ("expect", "100-continue"), ("content-length", length)]
        };
        assert_eq!(read(&headers("11"), b"").await, Err(413));
        assert_eq!(read(&headers("10"), b"0123456789").await.unwrap().len(), 10);
    }

    #[test]
    fn cause_is_found_behind_an_io_error() {
        let wrapped = std::io::Error::other(BodyError::Stopping);
        let error = axum::Error::new(wrapped);
        assert!(matches!(body_error(&error), Some(BodyError::Stopping)));
        assert!(body_error(&axum::Error::new(std::io::Error::other("other"))).is_none());
    }

    proptest! {
        /// The buffer never takes more than twice the bytes that arrived, or a page.
        #[test]
        fn buffer_follows_the_bytes_that_arrived(
            chunks in proptest::collection::vec(1usize..9_000, 1..40),
            expected in 0usize..(1 << 40),
        ) {
            let mut bytes = BytesMut::new();
            for chunk in chunks {
                grow(&mut bytes, chunk, expected, usize::MAX);
                bytes.extend_from_slice(&vec![0; chunk]);
                prop_assert!(bytes.capacity() <= (2 * bytes.len()).max(4 << 10));
            }
        }
    }
}
