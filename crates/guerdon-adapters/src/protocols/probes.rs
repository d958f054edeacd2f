//! `GET /health` and `GET /info`: probes that launchers, load balancers and clients of a serving
//! engine send before the first text. vLLM, SGLang, text-embeddings-inference and Infinity serve
//! the first. The second is text-embeddings-inference's; `huggingface_hub` reads it as an
//! endpoint's info.

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

/// Reports that the server takes requests: `/readyz` under the name that serving engines use.
#[utoipa::path(get, path = "/health", tag = "trainers", responses(
    (status = 200, description = "The server takes requests.", body = String),
    (status = 503, description = "The server is starting or stopping.", body = Problem,
        content_type = "application/problem+json"),
))]
async fn health(ScoreHandle(service): ScoreHandle) -> Result<&'static str, ApiError> {
    if service.is_ready() {
        Ok("ready\n")
    } else {
        Err(ApiError::new(ProblemCode::NotReady, "the server is stopping"))
    }
}

/// The fields of text-embeddings-inference's `/info` that guerdon has.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct EngineInfo {
    /// The profile's name.
    model_id: String,
    /// The reward model's content hash.
    model_sha: Option<String>,
    /// A classifier with one label, which text-embeddings-inference calls a reranker.
    model_type: ModelType,
    /// Maximum number of texts in one request.
    max_client_batch_size: usize,
    /// Always true: texts that are too long lose their oldest turns.
    auto_truncate: bool,
    /// guerdon's version.
    version: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum ModelType {
    Reranker(LabelMaps),
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct LabelMaps {
    id2label: BTreeMap<String, &'static str>,
    label2id: BTreeMap<&'static str, usize>,
}

/// Describes the server to text-embeddings-inference's clients. `/v1/info` has more.
#[utoipa::path(get, path = "/info", tag = "trainers", params(UrlOptions), responses(
    (status = 200, body = EngineInfo),
    (status = "4XX", description = "There is no such profile.", body = Problem,
        content_type = "application/problem+json"),
))]
async fn info(
    ScoreHandle(service): ScoreHandle,
    options: UrlOptions,
) -> Result<Json<EngineInfo>, ApiError> {
    let profile = service.profile(options.profile.as_ref())?;
    Ok(Json(EngineInfo {
        model_id: profile.name.to_string(),
        model_sha: profile.model_hash,
        model_type: ModelType::Reranker(LabelMaps {
            id2label: BTreeMap::from([("0".to_owned(), LABEL)]),
            label2id: BTreeMap::from([(LABEL, 0)]),
        }),
        max_client_batch_size: service.limits().max_rollouts,
        auto_truncate: true,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}
