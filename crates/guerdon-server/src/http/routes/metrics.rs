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
    let snapshot = app.engine.snapshot();
    metrics.judge_states.set(snapshot.judge_statuses());
    let models = snapshot.models.iter();
    let queued = models.map(|(name, model)| (name.clone(), model.queue_depth()));
    metrics.set_depths(app.admission.in_flight(), queued);
    if let Some(ledger) = app.engine.ledger() {
        metrics.ledger.set(ledger.counts());
    }
    if let Some(cluster) = app.engine.cluster() {
        metrics.cluster.set(&snapshot.config.cluster.namespace, cluster);
    }
    let text = metrics
        .render()
        .map_err(|error| ApiError::new(ProblemCode::Internal, error.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
