//! From a body's bytes to a typed request. Whatever is wrong is answered with a JSON pointer to the place.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use guerdon_types::{Invalid, Problem, ProblemCode};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use tokio::sync::OwnedSemaphorePermit;

use crate::caller::{Caller, address_of};
use crate::config::nearest_key;
use crate::problem::ApiError;
use crate::state::App;

/// Beyond this, parsing moves to a thread that may block.
const PARSE_INLINE: usize = 128 << 10;

/// A place among the requests served at the same time; taken before the body is read, or the reading would be unbounded.
#[derive(Debug)]
pub(crate) struct Permit(pub(crate) OwnedSemaphorePermit);

impl FromRequestParts<App> for Permit {
    type Rejection = ApiError;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Arc::clone(&app.permits).try_acquire_owned().map(Self).map_err(|_| {
            Problem::new(ProblemCode::Overloaded, "this server serves as many requests as it may")
                .hint("wait as Retry-After says, or raise `limits.max_concurrent_requests`")
                .into()
        })
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get()
            .copied()
            .unwrap_or_else(|| app.callers.caller(None, address_of(&parts.extensions))))
    }
}

/// A JSON body.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<App> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let content_type = parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case("application/json")
        {
            let detail = format!("the content type is `{content_type}`, not `application/json`");
            return Err(Problem::new(ProblemCode::UnsupportedMediaType, detail)
                .hint("send the header `Content-Type: application/json`")
                .into());
        }
        // What the decompression layer could not undo it has left on the request.
        if let Some(encoding) = parts.headers.get(CONTENT_ENCODING) {
            let detail = format!(
                "the content encoding `{}` is not supported",
                encoding.to_str().unwrap_or("?")
            );
            return Err(Problem::new(ProblemCode::UnsupportedMediaType, detail)
                .hint("send gzip, zstd or none")
                .into());
        }
        let bytes = read(body, app.engine.live().config.limits.max_body_bytes).await?;
        let parsed = if bytes.len() <= PARSE_INLINE {
            parse(&bytes)
        } else {
            tokio::task::spawn_blocking(move || parse(&bytes))
                .await
                .map_err(|_| ApiError::new(ProblemCode::Internal, "reading the body failed"))?
        };
        Ok(Self(parsed?))
    }
}

async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            if error.to_string().contains("length limit") {
                let detail =
                    format!("the body is larger than this server's {limit} bytes, decompressed");
                return Problem::new(ProblemCode::TooLarge, detail)
                    .hint("send fewer rollouts a request, or raise `limits.max_body_bytes`")
                    .into();
            }
            cause = error.source();
        }
        ApiError::new(ProblemCode::MalformedJson, format!("the body could not be read: {error}"))
    })
}

/// # Errors
/// [`Invalid`]: `malformed_json` where the text is no JSON, `invalid_request` where it is of the wrong shape.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Invalid> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| invalid(bytes, &pointer(error.path()), error.inner()))?;
    deserializer.end().map_err(|error| invalid(bytes, "", &error))?;
    Ok(value)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

fn invalid(bytes: &[u8], pointer: &str, error: &serde_json::Error) -> Invalid {
    let detail = error.to_string();
    if error.is_data() {
        let invalid = Invalid::new(ProblemCode::InvalidRequest, pointer, detail);
        let nearest = nearest_key(&invalid.detail);
        return match nearest {
            Some(hint) => invalid.hint(hint),
            None => invalid,
        };
    }
    let invalid = Invalid::new(ProblemCode::MalformedJson, pointer, detail);
    if spells_no_number(bytes, error) {
        return invalid.hint("NaN and infinity are no JSON; send null, or leave the value out");
    }
    invalid.hint("check the body with any JSON linter; line and column are the server's own count")
}

/// Whether the text at the error spells NaN or infinity, as Python's `json.dumps` does by default.
fn spells_no_number(bytes: &[u8], error: &serde_json::Error) -> bool {
    let Some(line) = bytes.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)) else {
        return false;
    };
    let at = error.column().saturating_sub(2).min(line.len());
    let around = String::from_utf8_lossy(&line[at..line.len().min(at + 12)]);
    around.contains("NaN") || around.contains("Inf") || detail_is_out_of_range(error)
}

fn detail_is_out_of_range(error: &serde_json::Error) -> bool {
    error.to_string().contains("number out of range")
}

#[cfg(test)]
mod tests {
    use guerdon_types::ScoreRequest;

    use super::*;

    fn refused(json: &str) -> Invalid {
        parse::<ScoreRequest>(json.as_bytes()).unwrap_err()
    }

    #[test]
    fn an_unknown_role_is_pointed_at_and_the_known_ones_named() {
        let invalid =
            refused(r#"{"rollouts": [{"messages": [{"role": "asistant", "content": "a"}]}]}"#);
        assert_eq!(invalid.pointer, "/rollouts/0/messages/0/role");
        assert_eq!(invalid.code, ProblemCode::InvalidRequest);
        assert_eq!(invalid.hint.as_deref(), Some("did you mean `assistant`?"));
    }

    #[test]
    fn an_unknown_field_is_pointed_at_with_the_nearest_one() {
        let invalid = refused(r#"{"rollouts": [{"mesages": []}]}"#);
        assert!(invalid.pointer.starts_with("/rollouts/0"), "{}", invalid.pointer);
        assert_eq!(invalid.hint.as_deref(), Some("did you mean `messages`?"));
    }

    #[test]
    fn a_nan_is_no_json_and_the_answer_says_so() {
        for nan in ["NaN", "Infinity", "-Infinity", "1e999"] {
            let invalid = refused(&format!(
                r#"{{"rollouts": [{{"messages": [{{"role": "assistant", "content": "a"}}], "context": {{"target_price": {nan}}}}}]}}"#
            ));
            assert_eq!(invalid.code, ProblemCode::MalformedJson, "{nan}");
            assert!(invalid.hint.as_deref().unwrap().contains("NaN"), "{nan}: {invalid:?}");
        }
    }

    #[test]
    fn a_score_that_is_no_choice_names_the_choices() {
        let invalid = refused(r#"{"rollouts": [{"messages": [], "score": "first"}]}"#);
        assert_eq!(invalid.pointer, "/rollouts/0/score");
        assert!(invalid.detail.contains("\"last\", \"all\" or a list"), "{}", invalid.detail);
    }

    #[test]
    fn text_after_the_body_is_refused() {
        assert_eq!(refused(r#"{"rollouts": []} x"#).code, ProblemCode::MalformedJson);
    }
}
