//! `POST /v1/reload`: reads configuration, packs and prompts again, and answers with the new
//! generation or the report of errors. `POST /v1/rollback`: returns to the generation before. `POST
//! /v1/promote`: lets the candidate serve every request.

use axum::Json;
use axum::extract::State;
use guerdon_types::{Problem, ProblemCode};
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::problem::ApiError;
use crate::http::state::App;
use crate::watch::trigger::Trigger;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(reload)).routes(routes!(rollback)).routes(routes!(promote))
}

/// Sends a trigger to the reload task and waits for its answer. The task makes one change of
/// generation at a time.
async fn ask<T>(
    app: &App,
    trigger: impl FnOnce(oneshot::Sender<T>) -> Trigger,
) -> Result<T, ApiError> {
    let gone = || ApiError::new(ProblemCode::NotReady, "the server is stopping");
    let (send, receive) = oneshot::channel();
    app.reload.send(trigger(send)).await.map_err(|_| gone())?;
    receive.await.map_err(|_| gone())
}

/// A successful reload.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Reloaded)]
struct ReloadReply {
    /// The generation that serves now.
    generation: u64,
}

/// Loads the files from disk, as a whole or not at all.
#[utoipa::path(post, path = "/v1/reload", tag = "operation", responses(
    (status = 200, body = ReloadReply),
    (status = 422, description = "A file is broken; the old generation keeps serving.", body = Problem, content_type = "application/problem+json"),
))]
async fn reload(State(app): State<App>) -> Result<Json<ReloadReply>, ApiError> {
    let generation = ask(&app, Trigger::Request).await?.map_err(|report| {
        Problem::new(ProblemCode::ReloadFailed, report)
            .hint("correct the file and reload; the old generation keeps serving")
    })?;
    Ok(Json(ReloadReply { generation }))
}

/// A rollback.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RolledBack)]
struct RollbackReply {
    /// The generation that serves now.
    generation: u64,
    /// The generation whose models, packs, prompts and fusion it repeats.
    repeats: u64,
}

/// Drops the candidate; without a candidate, returns to the generation before the last reload.
///
/// Models, packs, prompts and fusion go back; tokens and limits stay. Files are not changed: the
/// next edit or reload loads them as they are on disk.
#[utoipa::path(post, path = "/v1/rollback", tag = "operation", responses(
    (status = 200, body = RollbackReply),
    (status = 422, description = "There was no reload to roll back.", body = Problem, content_type = "application/problem+json"),
))]
async fn rollback(State(app): State<App>) -> Result<Json<RollbackReply>, ApiError> {
    let (generation, repeats) = ask(&app, Trigger::RollBack)
        .await?
        .map_err(|nothing| ApiError::new(ProblemCode::ReloadFailed, nothing.to_string()))?;
    Ok(Json(RollbackReply { generation, repeats }))
}

/// Lets the candidate serve every request.
///
/// With `reload.share` below 1 a reload makes its models, packs, prompts and fusion a candidate: it
/// serves that share of the requests, and every reply compares the other generation's rules on each
/// turn (`beside`).
#[utoipa::path(post, path = "/v1/promote", tag = "operation", responses(
    (status = 200, body = ReloadReply),
    (status = 422, description = "There is no candidate.", body = Problem, content_type = "application/problem+json"),
))]
async fn promote(State(app): State<App>) -> Result<Json<ReloadReply>, ApiError> {
    let generation = ask(&app, Trigger::Promote)
        .await?
        .map_err(|nothing| ApiError::new(ProblemCode::ReloadFailed, nothing.to_string()))?;
    Ok(Json(ReloadReply { generation }))
}
