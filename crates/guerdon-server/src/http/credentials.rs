//! Extraction of a request's token. Most trainers' clients cannot send a header, so the token may
//! also be in the URL: as `http://name:token@host/…`, which HTTP libraries send as a `Basic`
//! header, or as `?key=token`.

use axum::extract::Query;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};

/// Headers that carry a token, with or without `Bearer`, in order of precedence. eval-protocol
/// sends the first and ROLL the second.
const OTHER_HEADERS: [&str; 2] = ["x-api-key", "xrl-authorization"];

/// The token of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) token: String,
    /// True for `?key=token`. A token before `@` in a URL arrives in a header.
    pub(crate) is_in_url: bool,
}

/// The token of a request, if it has one. `Authorization` takes precedence over the other headers,
/// and headers take precedence over the URL.
pub(crate) fn credential_of(headers: &HeaderMap, uri: &Uri) -> Option<Credential> {
    let in_header = token_in_headers(headers).map(|token| Credential { token, is_in_url: false });
    in_header.or_else(|| Some(Credential { token: token_in_query(uri)?, is_in_url: true }))
}

fn token_in_headers(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = text(AUTHORIZATION.as_str()).and_then(token_of_scheme);
    authorization.or_else(|| {
        let mut found = OTHER_HEADERS.iter().filter_map(|name| text(name));
        found.find_map(|value| token_of_scheme(value).or_else(|| non_empty(value)))
    })
}

/// Reads `Bearer token` or `Basic base64(name:token)`. If the password is empty, as for the URL
/// `http://token@host`, the name is the token.
fn token_of_scheme(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return non_empty(rest);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    non_empty(if password.is_empty() { name } else { password })
}

fn token_in_query(uri: &Uri) -> Option<String> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    pairs.iter().find(|(name, _)| name == "key").and_then(|(_, token)| non_empty(token))
}

fn non_empty(token: &str) -> Option<String> {
    Some(token.trim()).filter(|token| !token.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn token(headers: &[(&str, &str)], uri: &str) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        });
        let credential = credential_of(&headers.collect(), &uri.parse().unwrap())?;
        assert_eq!(credential.is_in_url, headers_have_none(&credential, uri));
        Some(credential.token)
    }

    /// In these tests a token of the URL differs from that of the header.
    fn headers_have_none(credential: &Credential, uri: &str) -> bool {
        uri.contains("key=") && credential.token != "s3cret-of-header"
    }

    #[test]
    fn token_is_found_in_every_supported_place() {
        // "trainer:s3cret" and "s3cret:" in base64.
        for (name, value) in [
            ("authorization", "Bearer s3cret"),
            ("authorization", "basic dHJhaW5lcjpzM2NyZXQ="),
            ("authorization", "Basic czNjcmV0Og=="),
            ("x-api-key", "s3cret"),
            ("xrl-authorization", "Bearer s3cret"),
        ] {
            assert_eq!(
                token(&[(name, value)], "/get_reward").as_deref(),
                Some("s3cret"),
                "{name}: {value}"
            );
        }
        assert_eq!(token(&[], "/rm?profile=hotel&key=s3%63ret").as_deref(), Some("s3cret"));
    }

    #[test]
    fn token_of_the_url_is_used_when_the_header_has_none() {
        assert_eq!(token(&[("authorization", "")], "/reward?key=a").as_deref(), Some("a"));
        assert_eq!(token(&[("authorization", "Bearer ")], "/reward?key=a").as_deref(), Some("a"));
        assert_eq!(token(&[("authorization", "Basic !!!")], "/reward").as_deref(), None);
        assert_eq!(token(&[], "/reward?key="), None);
        let header = ("authorization", "Bearer s3cret-of-header");
        assert_eq!(token(&[header], "/reward?key=a").as_deref(), Some("s3cret-of-header"));
    }
}
