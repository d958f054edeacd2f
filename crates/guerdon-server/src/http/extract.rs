//! Extractors of the server's own routes.

use axum::extract::{FromRequest, FromRequestParts, Request};
use guerdon_adapters::{ScoreService as _, parse_body};
use guerdon_types::IncomingRequest;
use http::request::Parts;
use tokio::sync::OwnedSemaphorePermit;

use crate::http::body::read_json;
use crate::http::problem::ApiError;
use crate::http::request_context::RequestContext;
use crate::http::state::App;

/// A permit for one concurrent request. Acquired before the body is read, which bounds the memory
/// for bodies.
#[derive(Debug)]
pub(crate) struct Permit(pub(crate) OwnedSemaphorePermit);

impl FromRequestParts<App> for Permit {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        RequestContext::of(&parts.extensions)?.admit().map(Self)
    }
}

/// The body of `POST /v1/score`, with each rollout parsed separately.
#[derive(Debug)]
pub(crate) struct ScoreBody(pub(crate) IncomingRequest);

impl FromRequest<App> for ScoreBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let context = RequestContext::of(&parts.extensions)?;
        let limits = context.snapshot().config.limits;
        let bytes = read_json(&parts.headers, body, limits.max_body_bytes).await?;
        let parse = move |bytes: &[u8]| IncomingRequest::parse(bytes, limits.max_rollouts);
        Ok(Self(parse_body(bytes, parse).await?))
    }
}
