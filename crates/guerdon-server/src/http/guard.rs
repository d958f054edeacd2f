//! Protection of a server without tokens against web pages. A page can make its visitor's browser
//! send requests to a server on the same machine, and with DNS rebinding also read the replies.
//!
//! The browser states the page in `Origin` and `Sec-Fetch-Site`, and the name that the page used in
//! `Host`. Programs send no `Origin` and are not affected.

use guerdon_types::{Problem, ProblemCode};
use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, Version};
use http_body_util::BodyExt as _;

use crate::config::{Config, HostName, WebOrigin};
use crate::http::body::{is_json, not_json};
use crate::http::problem::ApiError;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Checks a request to a server without tokens.
///
/// # Errors
/// `forbidden`, naming the key that would allow it.
pub(crate) fn check(request: &Parts, config: &Config) -> Result<(), ApiError> {
    let hosts = hosts(request);
    if !config.auth.insecure {
        check_hosts(request, hosts.as_deref().unwrap_or_default(), config)?;
    }
    check_origin(request, hosts.as_deref().unwrap_or_default(), config)
}

/// Checks that the body is JSON or empty. For routes that read no body: a page may send other types
/// without asking the server first.
///
/// # Errors
/// `unsupported_media_type`.
pub(crate) async fn check_unread_body(
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Result<(), ApiError> {
    if is_json(headers) {
        return Ok(());
    }
    let mut body = body;
    while let Some(frame) = body.frame().await {
        let is_empty = match &frame {
            Ok(frame) => frame.data_ref().is_none_or(bytes::Bytes::is_empty),
            Err(_) => false,
        };
        if !is_empty {
            return Err(not_json(headers));
        }
    }
    Ok(())
}

/// The authority of a whole URL in the request line, or of HTTP/2's `:authority`.
fn target(request: &Parts) -> Option<&Authority> {
    // Without a scheme the target is no URL, such as that of CONNECT.
    request.uri.scheme().and_then(|_| request.uri.authority())
}

/// Every host that the request names: in its target, as HTTP/2 always does, and in its headers.
/// `None` for one that is no host name.
fn hosts(request: &Parts) -> Option<Vec<HostName>> {
    let target = target(request).map(|authority| authority.as_str().parse().ok());
    let headers = request.headers.get_all(HOST).iter();
    let headers = headers.map(|host| host.to_str().ok()?.trim().parse().ok());
    target.into_iter().chain(headers).collect()
}

fn check_hosts(request: &Parts, hosts: &[HostName], config: &Config) -> Result<(), ApiError> {
    let names_host = target(request).is_some() || request.headers.contains_key(HOST);
    // Older programs than browsers send no host. Since HTTP/1.1 it is mandatory.
    if !names_host && request.version <= Version::HTTP_10 {
        return Ok(());
    }
    let allowed = |host: &HostName| {
        host.is_loopback() || config.server.hosts.iter().any(|allowed| allowed.covers(host))
    };
    if !hosts.is_empty()
        && hosts.iter().all(allowed)
        && hosts.windows(2).all(|two| two[0] == two[1])
    {
        return Ok(());
    }
    let stated = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let stated = stated.or_else(|| target(request).map(Authority::as_str));
    let stated = guerdon_text::quote(stated.unwrap_or_default());
    let detail = format!("a server without tokens does not answer to the host {stated}");
    let hint = format!(
        "use a loopback name such as `localhost`, add {stated} to `hosts` under [server], or configure [[auth.tokens]]"
    );
    Err(Problem::new(ProblemCode::Forbidden, detail).hint(hint).into())
}

fn check_origin(request: &Parts, hosts: &[HostName], config: &Config) -> Result<(), ApiError> {
    let text = |name: &HeaderName| request.headers.get(name).map(|value| value.as_bytes());
    let mut origins = request.headers.get_all(ORIGIN).iter();
    let is_cross_site =
        text(&FETCH_SITE).is_some_and(|site| site.eq_ignore_ascii_case(b"cross-site"));
    let Some(stated) = origins.next() else {
        let is_navigation = request.method == Method::GET
            && text(&FETCH_MODE).is_some_and(|mode| mode.eq_ignore_ascii_case(b"navigate"))
            && text(&FETCH_DEST).is_none_or(|dest| dest.eq_ignore_ascii_case(b"document"));
        return if is_cross_site && !is_navigation { Err(foreign("another site")) } else { Ok(()) };
    };
    let stated = stated.to_str().unwrap_or("?");
    let origin = stated.parse::<WebOrigin>().ok().filter(|_| origins.next().is_none());
    let Some(origin) = origin else { return Err(foreign(stated)) };
    if config.server.origins.contains(&origin) {
        return Ok(());
    }
    let is_own = !hosts.is_empty() && hosts.iter().all(|host| origin.is_at(host));
    if is_own && !is_cross_site { Ok(()) } else { Err(foreign(stated)) }
}

fn foreign(origin: &str) -> ApiError {
    let origin = guerdon_text::quote(origin);
    let detail = format!("a web page of {origin} may not send requests to a server without tokens");
    let hint = "if the page is yours, add its origin to `origins` under [server], or configure [[auth.tokens]]";
    Problem::new(ProblemCode::Forbidden, detail).hint(hint).into()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn config() -> Config {
        let mut config = Config::default();
        config.server.hosts =
            vec!["guerdon.example".parse().unwrap(), "10.0.0.7:80".parse().unwrap()];
        config.server.origins = vec!["https://dash.example".parse().unwrap()];
        config
    }

    fn parts(target: &str, version: Version, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method("POST").uri(target).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn allows(headers: &[(&str, &str)]) -> bool {
        check(&parts("/v1/score", Version::HTTP_11, headers), &config()).is_ok()
    }

    const OWN_HOSTS: [&str; 9] = [
        "localhost",
        "LOCALHOST:8787",
        "localhost.",
        "localhost.:1",
        "127.0.0.1:8787",
        "[::1]:8787",
        "guerdon.example",
        "Guerdon.Example.:9",
        "10.0.0.7:80",
    ];
    const FOREIGN_HOSTS: [&str; 9] = [
        "",
        "evil.example",
        "localhost.evil.example",
        "10.0.0.7:81",
        "10.0.0.7",
        "0.0.0.0:8787",
        "[::]",
        "user@localhost",
        "localhost, evil.example",
    ];
    const FOREIGN_ORIGINS: [&str; 8] = [
        "null",
        "file://",
        "http://evil.example",
        "http://localhost:3000",
        "https://dash.example:1",
        "chrome-extension://abcdef",
        "http://localhost:8787/",
        "",
    ];

    #[test]
    fn only_loopback_and_configured_hosts_are_answered() {
        for host in OWN_HOSTS {
            assert!(allows(&[("host", host)]), "{host}");
        }
        for host in FOREIGN_HOSTS {
            assert!(!allows(&[("host", host)]), "{host}");
        }
        assert!(!allows(&[]), "HTTP/1.1 without a host");
        assert!(check(&parts("/", Version::HTTP_10, &[]), &config()).is_ok());
    }

    #[test]
    fn host_of_the_target_counts_too() {
        let with = |target, headers: &[(&str, &str)]| {
            check(&parts(target, Version::HTTP_2, headers), &config()).is_ok()
        };
        assert!(with("http://localhost:8787/v1/score", &[]));
        assert!(!with("http://evil.example/v1/score", &[]));
        assert!(!with("http://evil.example/v1/score", &[("host", "localhost")]));
        assert!(!with("http://localhost/v1/score", &[("host", "evil.example")]));
        assert!(with(
            "http://localhost/",
            &[("host", "localhost"), ("origin", "http://localhost")]
        ));
        assert!(!with("http://localhost/", &[("origin", "http://evil.example")]));
        let connect = &[("host", "localhost")];
        assert!(with("evil.example:80", connect), "not a URL; no route has this form");
    }

    #[test]
    fn several_hosts_are_refused_unless_they_are_equal() {
        assert!(!allows(&[("host", "localhost"), ("host", "evil.example")]));
        assert!(!allows(&[("host", "localhost"), ("host", "127.0.0.1")]));
        assert!(allows(&[("host", "localhost"), ("host", "LOCALHOST")]));
    }

    #[test]
    fn pages_of_other_origins_are_refused_with_the_key_to_set() {
        let host = ("host", "localhost:8787");
        for origin in FOREIGN_ORIGINS {
            assert!(!allows(&[host, ("origin", origin)]), "{origin}");
        }
        for origin in ["http://localhost:8787", "HTTP://LOCALHOST:8787", "https://dash.example"] {
            assert!(allows(&[host, ("origin", origin)]), "{origin}");
        }
        assert!(!allows(&[host, ("origin", "http://localhost:8787"), ("origin", "null")]));
        let refused = check(&parts("/", Version::HTTP_11, &[host, ("origin", "null")]), &config());
        assert!(format!("{:?}", refused.unwrap_err()).contains("`origins` under [server]"));
        let refused = check(&parts("/", Version::HTTP_11, &[("host", "evil")]), &config());
        assert!(format!("{:?}", refused.unwrap_err()).contains("`hosts` under [server]"));
    }

    #[test]
    fn cross_site_requests_are_refused_except_navigations_and_configured_origins() {
        let (host, cross) = (("host", "localhost"), ("sec-fetch-site", "cross-site"));
        assert!(!allows(&[host, cross]));
        assert!(!allows(&[host, cross, ("origin", "http://localhost")]));
        assert!(allows(&[host, cross, ("origin", "https://dash.example")]));
        for site in ["same-origin", "same-site", "none"] {
            assert!(allows(&[host, ("sec-fetch-site", site)]), "{site}");
        }
        let navigation = |method: &str, dest: &str| {
            let headers = [host, cross, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", dest)];
            let mut request = parts("/v1/info", Version::HTTP_11, &headers);
            request.method = method.parse().unwrap();
            check(&request, &config()).is_ok()
        };
        assert!(navigation("GET", "document"));
        assert!(!navigation("GET", "iframe") && !navigation("POST", "document"));
    }

    #[test]
    fn insecure_server_checks_origins_and_no_hosts() {
        let mut config = config();
        config.auth.insecure = true;
        let check = |headers: &[(&str, &str)]| {
            check(&parts("/", Version::HTTP_11, headers), &config).is_ok()
        };
        assert!(check(&[("host", "anything.example")]) && check(&[]));
        assert!(!check(&[("host", "a.example"), ("origin", "http://b.example")]));
    }

    proptest! {
        /// A host passes only if it is a loopback name or is configured, whatever its case, its
        /// final dot and its port are.
        #[test]
        fn no_other_name_passes(name in "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}", port in 1u16.., dot: bool) {
            let host = format!("{name}{}:{port}", if dot { "." } else { "" });
            let own = name == "localhost" || name.ends_with(".localhost") || name == "guerdon.example";
            prop_assert_eq!(allows(&[("host", &host)]), own);
            prop_assert_eq!(allows(&[("host", &host.to_uppercase())]), own);
        }

        /// A page passes only if its authority is the host's.
        #[test]
        fn no_other_page_passes(page in "[a-z]{1,6}", page_port in 1u16..4, host_port in 1u16..4) {
            let host = format!("{page}.localhost:{host_port}");
            let origin = format!("http://{page}.localhost:{page_port}");
            let passes = allows(&[("host", &host), ("origin", &origin)]);
            prop_assert_eq!(passes, page_port == host_port);
        }
    }

    #[tokio::test]
    async fn unread_body_is_empty_or_json() {
        let check = async |content_type: Option<&'static str>, body: &'static str| {
            let mut headers = HeaderMap::new();
            if let Some(content_type) = content_type {
                headers.insert(http::header::CONTENT_TYPE, content_type.parse().unwrap());
            }
            check_unread_body(&headers, axum::body::Body::from(body)).await.is_ok()
        };
        assert!(check(None, "").await && check(Some("text/plain"), "").await);
        assert!(check(Some("application/json"), "{}").await);
        assert!(!check(None, "{}").await && !check(Some("text/plain"), "{}").await);
    }
}
