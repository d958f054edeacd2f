//! `GET /health`, `GET /info` and `GET /v1/models`: probes that launchers, load balancers and clients of a serving
//! engine send before the first text. vLLM, SGLang, text-embeddings-inference and Infinity serve
//! the first. The second is text-embeddings-inference's; `huggingface_hub` reads it as an
//! endpoint's info. The third is OpenAI's, which vLLM and SGLang serve; its clients take the name of a
//! model from it.

use std::collections::BTreeMap;

use axum::Json;
use guerdon_types::{Problem, ProblemCode, ProfileName};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::classifier::{LABEL, now};
use crate::score::UrlOptions;
use crate::service::{ApiError, ScoreHandle};

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(info)).routes(routes!(models))
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

/// The profiles, as OpenAI's list of models.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ListedModels {
    object: &'static str,
    /// The default profile, then the others by name.
    data: Vec<ListedModel>,
}

/// A profile, as OpenAI's clients read a model.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ListedModel {
    /// The profile's name.
    id: String,
    object: &'static str,
    /// The time of the reply, in seconds since 1970.
    created: u64,
    owned_by: &'static str,
}

/// Lists the profiles as models, for clients that ask before the first text. With a profile in the
/// URL, that profile alone. The field `model` of a request is echoed and selects nothing: a profile
/// is selected in the URL.
#[utoipa::path(get, path = "/v1/models", tag = "trainers", params(UrlOptions), responses(
    (status = 200, body = ListedModels),
    (status = "4XX", description = "There is no such profile.", body = Problem,
        content_type = "application/problem+json"),
))]
async fn models(
    ScoreHandle(service): ScoreHandle,
    options: UrlOptions,
) -> Result<Json<ListedModels>, ApiError> {
    let first = service.profile(options.profile.as_ref())?.name;
    let mut names = vec![first.clone()];
    if options.profile.is_none() {
        names.extend(service.profiles().into_iter().filter(|name| *name != first));
    }
    let model = |name: ProfileName| ListedModel {
        id: name.to_string(),
        object: "model",
        created: now(),
        owned_by: "guerdon",
    };
    Ok(Json(ListedModels { object: "list", data: names.into_iter().map(model).collect() }))
}
