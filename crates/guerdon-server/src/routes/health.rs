//! `GET /healthz`: the process runs. `GET /readyz`: it takes requests; not before the models are warm, not while
//! stopping.

use axum::extract::State;
use guerdon_types::{Problem, ProblemCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::ApiError;
use crate::state::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Whether the process runs.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "It runs.", body = String)))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the server takes requests.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses(
    (status = 200, description = "It does.", body = String),
    (status = 503, description = "It is starting or stopping.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn readyz(State(app): State<App>) -> Result<&'static str, ApiError> {
    if app.is_ready() {
        Ok("ready\n")
    } else {
        Err(ApiError::new(ProblemCode::NotReady, "the server is stopping"))
    }
}
