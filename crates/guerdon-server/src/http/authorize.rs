//! Authorization of requests: by token, or by origin if no tokens are configured; then the caller's
//! rate.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use guerdon_adapters::ScoreHandle;
use guerdon_types::{Problem, ProblemCode};
use http::request::Parts;

use crate::config::Scope;
use crate::engine::snapshot::Snapshot;
use crate::http::auth::digest_of;
use crate::http::body::is_json;
use crate::http::caller::{CallerId, address_of};
use crate::http::credentials::credential_of;
use crate::http::guard;
use crate::http::problem::ApiError;
use crate::http::request_context::RequestContext;
use crate::http::state::App;

/// The scope that a path requires. `None` if the path is public. Paths that are not listed require
/// `score`.
fn scope_of(path: &str) -> Option<Scope> {
    match path {
        "/health" | "/healthz" | "/readyz" | "/openapi.json" | "/docs" => None,
        _ if path.starts_with("/docs/") => None,
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
    if let Some(scope) = scope_of(parts.uri.path()) {
        let snapshot = context.snapshot();
        let caller = if snapshot.auth.is_open() {
            guard::check(&parts, &snapshot.config)?;
            if scope == Scope::Admin && !is_json(&parts.headers) {
                guard::check_unread_body(&parts.headers, body).await?;
                body = Body::empty();
            }
            app.callers.caller(None, address_of(&parts.extensions))
        } else {
            caller_by_token(&app, snapshot, &parts, scope)?
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
    parts: &Parts,
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
    let guesser = address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    let digest = digest_of(&credential.token);
    app.guesses.check(guesser, digest).map_err(|wait| {
        let detail = "this address sent too many unknown tokens";
        let hint = "wait as Retry-After says, and correct the token of the programs there";
        ApiError::from(Problem::new(ProblemCode::RateLimited, detail).hint(hint)).retry_after(wait)
    })?;
    let Some(token) = snapshot.auth.find(&digest) else {
        app.guesses.guessed(guesser);
        return Err(ApiError::new(ProblemCode::Unauthorized, "unknown token"));
    };
    app.guesses.accepted(guesser, digest);
    token.check(scope, credential.is_in_url)?;
    Ok(app.callers.caller(Some(token.name()), address))
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
        ] {
            assert_eq!(scope_of(path), scope, "{path}");
        }
    }
}
