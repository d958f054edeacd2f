//! Login and logout: a form takes a token and sets the session's cookie.

use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use guerdon_inspector::{Login, Site};
use guerdon_types::{Problem, ProblemCode};
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use subtle::ConstantTimeEq as _;

use super::form::{Form, field, random};
use super::inspector::response;
use super::session::{Session, SessionToken, end_header, login_cookie, login_header};
use crate::config::Scope;
use crate::http::authorize::known_token;
use crate::http::caller::address_of;
use crate::http::problem::ApiError;
use crate::http::request_context::RequestContext;
use crate::http::state::App;

/// The longest form, in bytes.
const MAX_FORM: usize = 16 << 10;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The login form. `next` in the query is the page after it.
pub(super) async fn form(request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let next = field(query.as_bytes(), "next").unwrap_or_default();
    shown(request.headers(), local(&next), None, 200)
}

/// Takes a token and sets the cookie.
pub(super) async fn submit(
    State(app): State<App>,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let form = Form::read(body, MAX_FORM).await?;
    let next = local(&form.field("next")).to_owned();
    let again = |error: &str, status| Ok(shown(&parts.headers, &next, Some(error), status));
    let csrf = form.field("csrf");
    let expected = login_cookie(&parts.headers);
    let is_own = expected.is_some_and(|own| own.as_bytes().ct_eq(csrf.as_bytes()).into());
    if !is_own {
        return again("The form was too old, or cookies are refused. Please try again.", 403);
    }
    let secret = form.field("token");
    let address = address_of(&parts.extensions);
    let Some(token) = known_token(&app, context.snapshot(), address, secret.trim())? else {
        return again("This token is not known.", 401);
    };
    if token.check(Scope::Read, false).is_err() {
        return again("This token may not read: it needs the scope read, score or admin.", 403);
    }
    let session = SessionToken::new(token, SystemTime::now());
    Ok(with_cookie(Redirect::to(&next), &session.header(is_https(&parts.headers))))
}

/// Ends the session.
pub(super) async fn logout(request: Request) -> Result<Response, ApiError> {
    let (Parts { headers, extensions, .. }, body) = request.into_parts();
    let csrf = Form::read(body, MAX_FORM).await?.field("csrf");
    let session = extensions.get::<Session>();
    if session.is_some_and(|session| !session.allows(&csrf)) {
        let problem = Problem::new(ProblemCode::Forbidden, "the form is of another session");
        return Err(problem.hint("open /ui again, and log out there").into());
    }
    Ok(with_cookie(Redirect::to("/ui/login"), &end_header(is_https(&headers))))
}

fn shown(headers: &HeaderMap, next: &str, error: Option<&str>, status: u16) -> Response {
    let known = login_cookie(headers);
    let csrf = known.unwrap_or_else(random);
    let reply = Site::login(&Login { csrf: &csrf, next, error }, status);
    with_cookie(response(reply), &login_header(&csrf, is_https(headers)))
}

fn with_cookie(response: impl IntoResponse, cookie: &str) -> Response {
    let mut response = response.into_response();
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}

/// The page after a login: one of these pages, never another site.
fn local(next: &str) -> &str {
    let is_own = next == "/ui" || next.starts_with("/ui/") || next.starts_with("/ui?");
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_own && is_plain && !next.starts_with("/ui/log") { next } else { "/ui" }
}

fn is_https(headers: &HeaderMap) -> bool {
    headers.get(FORWARDED_PROTO).is_some_and(|proto| proto == "https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_after_a_login_is_one_of_ours() {
        for next in ["/ui", "/ui/rollouts?run=a%20b", "/ui?x=1"] {
            assert_eq!(local(next), next);
        }
        for next in [
            "",
            "//evil.example",
            "https://evil.example",
            "/ui\\evil",
            "/v1/reload",
            "/ui/login",
            "/ui/\r\nx",
            "/uix",
        ] {
            assert_eq!(local(next), "/ui", "{next}");
        }
    }
}
