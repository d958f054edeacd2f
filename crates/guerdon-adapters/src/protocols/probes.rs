//! `GET /health` and `GET /info`: what launchers, load balancers and clients of a serving engine ask before they send it a
//! text. vLLM, SGLang, text-embeddings-inference and Infinity all have the first; the second is text-embeddings-inference's,
//! and what `huggingface_hub` reads as an endpoint's info.

use std::collections::BTreeMap;

use axum::Json;
use guerdon_types::{Problem, ProblemCode};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::classifier::LABEL;
use crate::score::UrlOptions;
use crate::service::{ApiError, ScoreHandle};

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(info))
}

/// Whether the server takes requests: `/readyz` under the name that serving engines give it.
#[utoipa::path(get, path = "/health", tag = "trainers", responses(
    (status = 200, description = "It does.", body = String),
    (status = 503, description = "It is starting or stopping.", body = Problem, content_type = "application/problem+json"),
))]
async fn health(ScoreHandle(service): ScoreHandle) -> Result<&'static str, ApiError> {
    if service.is_ready() {
        Ok("ready\n")
    } else {
        Err(ApiError::new(ProblemCode::NotReady, "the server is stopping"))
    }
}

/// What text-embeddings-inference says of itself, as far as guerdon has it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct EngineInfo {
    /// The profile: it is what a caller chooses.
    model_id: String,
    /// The reward model's hash.
    model_sha: Option<String>,
    /// A classifier of one label, which that server calls a reranker.
    model_type: ModelType,
    /// Texts in one request.
    max_client_batch_size: usize,
    /// Longer texts lose their oldest turns.
    auto_truncate: bool,
    /// guerdon's.
    version: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum ModelType {
    Reranker(Labels),
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Labels {
    id2label: BTreeMap<String, &'static str>,
    label2id: BTreeMap<&'static str, usize>,
}

/// What text-embeddings-inference's clients ask of a server. `/v1/info` says more.
#[utoipa::path(get, path = "/info", tag = "trainers", params(UrlOptions), responses(
    (status = 200, body = EngineInfo),
    (status = "4XX", description = "There is no such profile.", body = Problem, content_type = "application/problem+json"),
))]
async fn info(
    ScoreHandle(service): ScoreHandle,
    options: UrlOptions,
) -> Result<Json<EngineInfo>, ApiError> {
    let profile = service.profile(options.profile.as_ref())?;
    Ok(Json(EngineInfo {
        model_id: profile.name.to_string(),
        model_sha: profile.model_hash,
        model_type: ModelType::Reranker(Labels {
            id2label: BTreeMap::from([("0".to_owned(), LABEL)]),
            label2id: BTreeMap::from([(LABEL, 0)]),
        }),
        max_client_batch_size: service.limits().max_rollouts,
        auto_truncate: true,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}
