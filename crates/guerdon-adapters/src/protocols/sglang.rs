//! SGLang's forms: `text` on `/classify`, and `POST /v1/embeddings`, in which a reward model's
//! embedding is one number, its reward; verl reads `data[-1].embedding[-1]`. Both are raw rewards.
//!
//! SGLang's `/v1/classify` is not served: it returns the softmax of all labels, which is always 1
//! for the single label of a reward model.

use axum::response::Response;
use guerdon_types::{Problem, RequestId};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::classifier::{PROTOCOL, Texts, text_items};
use super::vllm::model_name;
use crate::score::{ItemScore, ItemScores, ScoreCall, UrlOptions};
use crate::service::{ApiError, JsonBody};

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(embeddings))
}

/// SGLang's body.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(super) struct ClassifyText {
    /// Texts with the chat template's markers.
    pub(super) text: Texts,
}

/// One embedding for one text, a list for a list of texts.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum SglangReply {
    One(Option<SglangEmbedding>),
    Several(Vec<SglangEmbedding>),
}

#[derive(Debug, Serialize)]
pub(super) struct SglangEmbedding {
    embedding: [Option<f64>; 1],
    meta_info: MetaInfo,
}

#[derive(Debug, Serialize)]
struct MetaInfo {
    id: String,
    prompt_tokens: usize,
}

pub(super) fn classify_reply(
    request: &ClassifyText,
    answers: &ItemScores,
    id: &RequestId,
) -> SglangReply {
    let tokens = |answer: &ItemScore| {
        let turns = answer.result.iter().flat_map(|result| &result.turns);
        turns.filter_map(|turn| turn.rm.as_ref()).map(|rm| rm.tokens).sum()
    };
    let mut embedded = answers.items.iter().enumerate().map(|(index, answer)| SglangEmbedding {
        embedding: [answer.reward],
        meta_info: MetaInfo { id: format!("{id}-{index}"), prompt_tokens: tokens(answer) },
    });
    match &request.text {
        Texts::One(_) => SglangReply::One(embedded.next()),
        _ => SglangReply::Several(embedded.collect()),
    }
}

/// OpenAI's body.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct EmbeddingsRequest {
    /// Returned in the reply.
    #[serde(default)]
    model: Option<String>,
    /// Texts with the chat template's markers.
    input: Texts,
}

/// OpenAI's reply.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct EmbeddingsReply {
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: EmbeddingsUsage,
}

/// One text's reward.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Embedding {
    object: &'static str,
    index: usize,
    /// One number: the fused reward.
    #[schema(value_type = Vec<f64>)]
    embedding: [Option<f64>; 1],
}

/// Tokens that the reward model read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct EmbeddingsUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// Scores texts as SGLang serves a reward model: the embedding is the reward.
#[utoipa::path(post, path = "/v1/embeddings", tag = "trainers", params(UrlOptions),
    request_body = EmbeddingsRequest, responses(
    (status = 200, body = EmbeddingsReply),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or a text has no reward; see `on_failure`.",
        body = Problem, content_type = "application/problem+json"),
))]
async fn embeddings(
    call: ScoreCall,
    JsonBody(request): JsonBody<EmbeddingsRequest>,
) -> Result<Response, ApiError> {
    let items = text_items(&call, request.input).await?;
    let answers = call.score(&PROTOCOL, items).await?;
    let data = answers.rewards().into_iter().enumerate().map(|(index, reward)| Embedding {
        object: "embedding",
        index,
        embedding: [reward],
    });
    let tokens = answers.tokens();
    Ok(answers.reply(EmbeddingsReply {
        object: "list",
        data: data.collect(),
        model: model_name(request.model),
        usage: EmbeddingsUsage { prompt_tokens: tokens, total_tokens: tokens },
    }))
}
