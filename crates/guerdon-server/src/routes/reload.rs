//! `POST /v1/reload`: reads configuration, packs and prompts again; answers when the new generation serves, or says why
//! it does not. `POST /v1/rollback`: serves again what served before. `POST /v1/promote`: ends a new
//! generation's trial.

use axum::Json;
use axum::extract::State;
use guerdon_types::{Problem, ProblemCode};
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::ApiError;
use crate::state::App;
use crate::trigger::Trigger;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(reload)).routes(routes!(rollback)).routes(routes!(promote))
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

/// A rollback.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct RolledBack {
    /// The generation that serves now.
    generation: u64,
    /// The generation whose models, packs, prompts and fusion it repeats.
    repeats: u64,
}

/// Drops the generation on trial; or, if none is, serves again what served before the last reload.
///
/// Models, packs, prompts and fusion go back; tokens and limits stay. Files are not touched: the next change to one of
/// them, or the next reload, loads what is on disk.
#[utoipa::path(post, path = "/v1/rollback", tag = "operation", responses(
    (status = 200, body = RolledBack),
    (status = 422, description = "There is nothing to go back to.", body = Problem, content_type = "application/problem+json"),
))]
async fn rollback(State(app): State<App>) -> Result<Json<RolledBack>, ApiError> {
    let engine = std::sync::Arc::clone(&app.engine);
    // A reload in progress is waited for, and may take as long as a model takes to load.
    let done = tokio::task::spawn_blocking(move || engine.roll_back()).await;
    let done = done.map_err(|_| ApiError::new(ProblemCode::Internal, "the rollback failed"))?;
    let (generation, repeats) =
        done.map_err(|nothing| ApiError::new(ProblemCode::ReloadFailed, nothing.to_string()))?;
    Ok(Json(RolledBack { generation, repeats }))
}

/// Lets the generation on trial serve every request.
///
/// With `reload.share` below 1 a reload puts its models, packs, prompts and fusion on trial: they serve that share of the
/// requests, and every reply tells what the other generation's rules make of each turn (`beside`).
#[utoipa::path(post, path = "/v1/promote", tag = "operation", responses(
    (status = 200, body = Reloaded),
    (status = 422, description = "No generation is on trial.", body = Problem, content_type = "application/problem+json"),
))]
async fn promote(State(app): State<App>) -> Result<Json<Reloaded>, ApiError> {
    let engine = std::sync::Arc::clone(&app.engine);
    let done = tokio::task::spawn_blocking(move || engine.promote()).await;
    let done = done.map_err(|_| ApiError::new(ProblemCode::Internal, "the promotion failed"))?;
    let generation =
        done.map_err(|nothing| ApiError::new(ProblemCode::ReloadFailed, nothing.to_string()))?;
    Ok(Json(Reloaded { generation }))
}
