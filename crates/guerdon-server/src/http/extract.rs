//! Extractors of the server's own routes.

use axum::extract::{FromRequest, Request};
use guerdon_adapters::parse_body;
use guerdon_types::IncomingRequest;

use crate::http::problem::ApiError;
use crate::http::request_context::RequestContext;
use crate::http::state::App;

/// The body of `POST /v1/score`, with each rollout parsed separately.
#[derive(Debug)]
pub(crate) struct ScoreBody(pub(crate) IncomingRequest);

impl FromRequest<App> for ScoreBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let context = RequestContext::of(&parts.extensions)?;
        let max_rollouts = context.snapshot().config.limits.max_rollouts;
        let bytes = context.read_body(&parts.headers, body).await?;
        let parse = move |bytes: &[u8]| IncomingRequest::parse(bytes, max_rollouts);
        Ok(Self(parse_body(bytes, parse).await?))
    }
}
