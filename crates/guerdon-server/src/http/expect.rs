//! The header `x-guerdon-expect`: the digest of the configuration that must serve a scoring request.
//! It works on every scoring route, also for trainers' protocols that have no field for it.

use guerdon_types::{ConfigDigest, Expectation, IncomingRequest, Invalid, ProblemCode};
use http::{HeaderMap, HeaderName};

/// The header.
const EXPECT: HeaderName = HeaderName::from_static("x-guerdon-expect");

/// The digest in the header, if there is one.
pub(crate) type ExpectedDigest = Result<Option<ConfigDigest>, Invalid>;

/// Reads the header. A second one is an error, because it may name another digest.
pub(crate) fn expected_digest(headers: &HeaderMap) -> ExpectedDigest {
    let invalid = |detail: String| {
        Invalid::new(ProblemCode::InvalidRequest, "", format!("header {EXPECT}: {detail}"))
            .hint("send `sha256:` and 64 hexadecimal digits, as in `versions.digest` of a reply")
    };
    let mut values = headers.get_all(EXPECT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid("it is given more than once".to_owned()));
    }
    let text = value.to_str().map_err(|_| invalid("it is not text".to_owned()))?;
    text.trim().parse().map(Some).map_err(|error| invalid(format!("{error}")))
}

/// Puts the expectation of the header into `request`, which may have its own. Returns true if the
/// header is the origin of the request's expectation.
///
/// # Errors
/// The header is not a digest, or not the one in the request.
pub(crate) fn apply(
    expected: &ExpectedDigest,
    request: &mut IncomingRequest,
) -> Result<bool, Invalid> {
    let Some(digest) = expected.clone()? else { return Ok(false) };
    match &request.settings.expect {
        None => {
            request.settings.expect = Some(Expectation::new(digest));
            Ok(true)
        }
        Some(own) if own.digest == digest => Ok(false),
        Some(own) => {
            let detail =
                format!("the request expects {}, and the header {EXPECT} {digest}", own.digest);
            Err(Invalid::new(ProblemCode::InvalidRequest, "/expect/digest", detail)
                .hint("leave one of them out"))
        }
    }
}

/// The refusal of a request. For an expectation of the header it has no pointer into the body, which
/// has no such field.
pub(crate) fn by_header(mut invalid: Invalid, is_by_header: bool) -> Invalid {
    if is_by_header && invalid.code == ProblemCode::Conflict {
        invalid.pointer.clear();
    }
    invalid
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (EXPECT, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn malformed_or_repeated_header_is_an_error_that_names_it() {
        for bad in [&["sha256:1"][..], &[""], &["*"], &["sha256:1", "sha256:1"]] {
            let invalid = expected_digest(&headers(bad)).unwrap_err();
            assert!(invalid.detail.starts_with("header x-guerdon-expect: "), "{invalid}");
        }
        assert_eq!(expected_digest(&headers(&[])), Ok(None));
    }

    #[test]
    fn header_and_body_must_agree() {
        let (a, b) = (ConfigDigest::of("a"), ConfigDigest::of("b"));
        let mut request = IncomingRequest::default();
        assert_eq!(apply(&Ok(Some(a.clone())), &mut request), Ok(true));
        assert_eq!(request.settings.expect, Some(Expectation::new(a.clone())));
        assert_eq!(apply(&Ok(Some(a)), &mut request), Ok(false));
        let invalid = apply(&Ok(Some(b)), &mut request).unwrap_err();
        assert_eq!(invalid.pointer, "/expect/digest");
        assert_eq!(apply(&Ok(None), &mut request), Ok(false));
    }
}
