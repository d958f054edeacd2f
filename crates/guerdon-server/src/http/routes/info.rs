//! `GET /v1/info`: sources, versions and limits.

use axum::Json;
use axum::extract::State;
use guerdon_types::Info;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::request_context::RequestContext;
use crate::http::state::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(info))
}

/// Profiles with their sources and versions, and the limits of this server.
#[utoipa::path(get, path = "/v1/info", tag = "operation", responses((status = 200, body = Info)))]
async fn info(State(app): State<App>, context: RequestContext) -> Json<Info> {
    Json(app.engine.info_of(&context.serving))
}
