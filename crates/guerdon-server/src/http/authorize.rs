//! Authorization of requests: by token, or by origin if no tokens are configured; then the caller's
//! rate.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use guerdon_adapters::ScoreHandle;
use guerdon_types::{Problem, ProblemCode};
use http::request::Parts;
use http::{Method, Uri};

use crate::config::Scope;
use crate::engine::snapshot::Snapshot;
use crate::http::auth::{KnownToken, digest_of};
use crate::http::body::is_json;
use crate::http::caller::{CallerId, address_of};
use crate::http::credentials::credential_of;
use crate::http::guard;
use crate::http::pages::{SessionToken, Visitor, is_page, is_public};
use crate::http::problem::ApiError;
use crate::http::request_context::RequestContext;
use crate::http::state::App;

/// The scope that a path requires. `None` if the path is public. Paths that are not listed require
/// `score`.
fn scope_of(method: &Method, path: &str) -> Option<Scope> {
    match path {
        "/health" | "/healthz" | "/readyz" | "/openapi.json" | "/docs" => None,
        _ if path.starts_with("/docs/") || is_public(path) => None,
        _ if is_page(method, path) => Some(Scope::Read),
        "/v1/reload" | "/v1/rollback" | "/v1/promote" => Some(Scope::Admin),
        "/v1/rules/check" => Some(Scope::Check),
        "/v1/info" | "/v1/models" | "/metrics" | "/v1/rules" | "/info" => Some(Scope::Read),
        _ if path.starts_with("/profiles/")
            && (path.ends_with("/info") || path.ends_with("/v1/models")) =>
        {
            Some(Scope::Read)
        }
        _ => Some(Scope::Score),
    }
}

/// Checks the token or the origin and the caller's rate, and sets the caller in the request's
/// context.
pub(crate) async fn authorize(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, mut body) = request.into_parts();
    let mut context = RequestContext::of(&parts.extensions)?;
    if let Some(scope) = scope_of(&parts.method, parts.uri.path()) {
        let snapshot = context.snapshot();
        let caller = if snapshot.auth.is_open() {
            guard::check(&parts, &snapshot.config)?;
            if scope == Scope::Admin && !is_json(&parts.headers) {
                guard::check_unread_body(&parts.headers, body).await?;
                body = Body::empty();
            }
            app.callers.caller(None, address_of(&parts.extensions))
        } else {
            let for_browsers = is_page(&parts.method, parts.uri.path());
            let by_session =
                if for_browsers { caller_by_session(&app, snapshot, &mut parts)? } else { None };
            match by_session {
                Some(caller) => caller,
                None if for_browsers && credential_of(&parts.headers, &parts.uri).is_none() => {
                    return Ok(login_form(&parts.uri));
                }
                None => caller_by_token(&app, snapshot, &mut parts, scope)?,
            }
        };
        app.rate_limit.admit(caller).map_err(|wait| {
            let detail = "this caller sends too many requests a second";
            let hint = "send more rollouts a request, or raise `server.requests_per_second`";
            ApiError::from(Problem::new(ProblemCode::RateLimited, detail).hint(hint))
                .retry_after(wait)
        })?;
        context.caller = caller;
        parts.extensions.insert(context.clone());
    }
    parts.extensions.insert(ScoreHandle(Arc::new(context)));
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// The caller that the request's token names, if the token has the scope.
fn caller_by_token(
    app: &App,
    snapshot: &Snapshot,
    parts: &mut Parts,
    scope: Scope,
) -> Result<CallerId, ApiError> {
    let Some(credential) = credential_of(&parts.headers, &parts.uri) else {
        return Err(Problem::new(ProblemCode::Unauthorized, "this server requires a token")
            .hint(
                "send the header `Authorization: Bearer <token>`; a client that cannot set headers \
                 can send it in the URL, as `http://name:<token>@host/…` or `?key=<token>`",
            )
            .into());
    };
    let address = address_of(&parts.extensions);
    let Some(token) = known_token(app, snapshot, address, &credential.token)? else {
        return Err(ApiError::new(ProblemCode::Unauthorized, "unknown token"));
    };
    token.check(scope, credential.is_in_url)?;
    if is_page(&parts.method, parts.uri.path()) {
        parts.extensions.insert(Visitor::new(token, None));
    }
    Ok(app.callers.caller(Some(token.name()), address))
}

/// The configured token that is `secret`. Slows down an address that guesses.
pub(crate) fn known_token<'s>(
    app: &App,
    snapshot: &'s Snapshot,
    address: Option<SocketAddr>,
    secret: &str,
) -> Result<Option<&'s KnownToken>, ApiError> {
    let guesser = address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    let digest = digest_of(secret);
    app.guesses.check(guesser, digest).map_err(|wait| {
        let detail = "this address sent too many unknown tokens";
        let hint = "wait as Retry-After says, and correct the token of the programs there";
        ApiError::from(Problem::new(ProblemCode::RateLimited, detail).hint(hint)).retry_after(wait)
    })?;
    let found = snapshot.auth.find(&digest);
    match found {
        Some(_) => app.guesses.accepted(guesser, digest),
        None => app.guesses.guessed(guesser),
    }
    Ok(found)
}

/// The caller of a page with a session's cookie, whose session is then in `extensions`. `None` if
/// there is no session.
fn caller_by_session(
    app: &App,
    snapshot: &Snapshot,
    parts: &mut Parts,
) -> Result<Option<CallerId>, ApiError> {
    let cookie = SessionToken::of(&parts.headers);
    let known = cookie.as_ref().and_then(|cookie| cookie.verify(&snapshot.auth, SystemTime::now()));
    let Some((token, session)) = known else { return Ok(None) };
    token.check(Scope::Read, false)?;
    parts.extensions.insert(Visitor::new(token, Some(session.clone())));
    parts.extensions.insert(session);
    Ok(Some(app.callers.caller(Some(token.name()), address_of(&parts.extensions))))
}

/// The form that asks for a token, and then leads to the page at `uri`.
fn login_form(uri: &Uri) -> Response {
    let next = uri.path_and_query().map_or("/ui", |path| path.as_str());
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    Redirect::to(&format!("/ui/login?{query}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_require_their_scopes() {
        for (path, scope) in [
            ("/healthz", None),
            ("/docs/index.html", None),
            ("/docsx", Some(Scope::Score)),
            ("/v1/reload", Some(Scope::Admin)),
            ("/v1/rules", Some(Scope::Read)),
            ("/v1/rules/check", Some(Scope::Check)),
            ("/metrics", Some(Scope::Read)),
            ("/profiles/hotel/info", Some(Scope::Read)),
            ("/profiles/hotel/v1/models", Some(Scope::Read)),
            ("/v1/models", Some(Scope::Read)),
            ("/profiles/hotel/get_reward", Some(Scope::Score)),
            ("/v1/score", Some(Scope::Score)),
            ("/nowhere", Some(Scope::Score)),
            ("/", Some(Scope::Score)),
        ] {
            assert_eq!(scope_of(&Method::POST, path), scope, "{path}");
        }
        for (path, scope) in [
            ("/", Some(Scope::Read)),
            ("/ui", Some(Scope::Read)),
            ("/ui/rollouts/7", Some(Scope::Read)),
            ("/ui/logout", Some(Scope::Read)),
            ("/ui/login", None),
            ("/ui/assets/inspector.css", None),
            ("/uix", Some(Scope::Score)),
        ] {
            assert_eq!(scope_of(&Method::GET, path), scope, "GET {path}");
        }
    }
}
