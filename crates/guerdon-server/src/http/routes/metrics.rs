//! `GET /metrics`: Prometheus, in the OpenMetrics text format.

use axum::extract::State;
use axum::response::IntoResponse;
use guerdon_types::ProblemCode;
use http::header::CONTENT_TYPE;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::problem::ApiError;
use crate::http::state::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// All metrics.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses(
    (status = 200, description = "OpenMetrics text.", body = String,
        content_type = "application/openmetrics-text"),
))]
async fn metrics(State(app): State<App>) -> Result<impl IntoResponse, ApiError> {
    let metrics = app.engine.metrics();
    metrics.judge_states.set(app.engine.snapshot().judge_statuses());
    let text = metrics
        .render()
        .map_err(|error| ApiError::new(ProblemCode::Internal, error.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
