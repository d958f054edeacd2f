//! Content codings of request bodies, in the form that the decompression layer knows.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// Rewrites `Content-Encoding`: names in lower case (RFC 9110, 8.4.1), `gzip` for `x-gzip`, and
/// without `identity` and empty elements. A list of several codings stays one and is refused later.
pub(crate) async fn normalise_coding(mut request: Request, next: Next) -> Response {
    if request.headers().contains_key(CONTENT_ENCODING) {
        normalise(request.headers_mut());
    }
    next.run(request).await
}

fn normalise(headers: &mut HeaderMap) {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        // An unreadable value is left as it is, to be refused.
        let Ok(value) = value.to_str() else { return };
        codings.extend(value.split(',').map(|coding| coding.trim().to_ascii_lowercase()));
    }
    codings.retain(|coding| !coding.is_empty() && coding != "identity");
    for coding in &mut codings {
        if coding == "x-gzip" {
            *coding = "gzip".to_owned();
        }
    }
    headers.remove(CONTENT_ENCODING);
    if !codings.is_empty()
        && let Ok(value) = HeaderValue::from_str(&codings.join(", "))
    {
        headers.insert(CONTENT_ENCODING, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
        }
        normalise(&mut headers);
        headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn codings_are_read_as_the_standard_says() {
        for (values, becomes) in [
            (&["gzip"][..], Some("gzip")),
            (&["GZIP"], Some("gzip")),
            (&["X-Gzip"], Some("gzip")),
            (&["ZSTD"], Some("zstd")),
            (&[""], None),
            (&["identity"], None),
            (&["Identity , gzip,"], Some("gzip")),
            (&["br"], Some("br")),
            (&["gzip, zstd"], Some("gzip, zstd")),
            (&["gzip", "identity"], Some("gzip")),
            (&["gzip", "zstd"], Some("gzip, zstd")),
            (&["x-gzip,x-gzip"], Some("gzip, gzip")),
        ] {
            assert_eq!(normalised(values).as_deref(), becomes, "{values:?}");
        }
    }
}
