//! `GET /healthz`: liveness. `GET /readyz`: readiness, from the end of the warm-up until the server
//! stops.

use axum::extract::State;
use guerdon_cluster::{CoordinationState, Coordinator as _};
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

/// The line about the coordination between replicas; empty without `[cluster]`.
fn coordination(app: &App) -> String {
    match app.engine.cluster().map(|cluster| cluster.state()) {
        Some(CoordinationState::Up) => "coordination: up\n".to_owned(),
        Some(CoordinationState::Down { detail }) => {
            format!("coordination: down ({})\n", detail.replace('\n', " "))
        }
        _ => String::new(),
    }
}

/// Readiness: answers 200 while the server takes requests.
///
/// With `[cluster]` a second line has the state of the coordination. Without its store a server goes
/// on alone, within its part of quotas.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses(
    (status = 200, description = "The server takes requests.", body = String),
    (status = 503, description = "The server is starting or stopping.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn readyz(State(app): State<App>) -> Result<String, ApiError> {
    if app.is_ready() {
        Ok(format!("ready\n{}", coordination(&app)))
    } else {
        Err(ApiError::new(ProblemCode::NotReady, "the server is stopping"))
    }
}
