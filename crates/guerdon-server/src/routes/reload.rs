//! `POST /v1/reload`: reads configuration, packs and prompts again; answers when the new generation serves, or says why
//! it does not.

use axum::Json;
use axum::extract::State;
use guerdon_types::{Problem, ProblemCode};
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::ApiError;
use crate::reload::Trigger;
use crate::state::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(reload))
}

/// A successful reload.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Reloaded {
    /// The generation that serves now.
    generation: u64,
}

/// Loads what changed on disk, as a whole or not at all.
#[utoipa::path(post, path = "/v1/reload", tag = "operation", responses(
    (status = 200, body = Reloaded),
    (status = 422, description = "Something is broken; the old generation serves on.", body = Problem, content_type = "application/problem+json"),
))]
async fn reload(State(app): State<App>) -> Result<Json<Reloaded>, ApiError> {
    let (send, receive) = oneshot::channel();
    let gone = || ApiError::new(ProblemCode::NotReady, "the server is stopping");
    app.reload.send(Trigger::Asked(send)).await.map_err(|_| gone())?;
    let generation = receive.await.map_err(|_| gone())?.map_err(|report| {
        Problem::new(ProblemCode::ReloadFailed, report)
            .hint("mend the file and reload again; the old version serves on")
    })?;
    Ok(Json(Reloaded { generation }))
}
