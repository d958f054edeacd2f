//! `GET /healthz`: liveness. `GET /readyz`: readiness, from the end of the warm-up until the server
//! stops.

use axum::extract::State;
use guerdon_types::{Problem, ProblemCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::problem::ApiError;
use crate::http::state::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Liveness: answers while the process runs.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "The process runs.", body = String)))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Readiness: answers 200 while the server takes requests.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses(
    (status = 200, description = "The server takes requests.", body = String),
    (status = 503, description = "The server is starting or stopping.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn readyz(State(app): State<App>) -> Result<&'static str, ApiError> {
    if app.is_ready() {
        Ok("ready\n")
    } else {
        Err(ApiError::new(ProblemCode::NotReady, "the server is stopping"))
    }
}
