//! `POST /score`: vLLM's scores of pairs. A pair is a prompt and a reply to it: one prompt with all its
//! replies, as best-of-n asks, or pairs side by side. One label means a sigmoid, unless `use_activation` is false.
//!
//! vLLM and SGLang answer `/v1/score` too, the latter with something else (how likely given tokens are to come next). Here
//! that path is guerdon's own.

use axum::Extension;
use axum::response::Response;
use guerdon_types::{Context, Invalid, Problem, ProblemCode, RequestId};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::classifier::{PROTOCOL, Texts};
use super::vllm::{Listed, numbered};
use crate::score::UrlOptions;
use crate::score::{Item, ScoreCall};
use crate::service::{ApiError, JsonBody};
use crate::text::continued;

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(score))
}

/// Prompts and replies to them.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct PairsRequest {
    /// Echoed.
    #[serde(default)]
    model: Option<String>,
    /// The prompts, or one for all replies. vLLM calls them `text_1` or `data_1` too.
    #[serde(alias = "text_1", alias = "data_1")]
    queries: Texts,
    /// The replies. vLLM calls them `items`, `text_2` or `data_2` too.
    #[serde(alias = "items", alias = "text_2", alias = "data_2")]
    documents: Texts,
    /// `false`: raw rewards. Default: their sigmoids.
    #[serde(default, alias = "activation")]
    use_activation: Option<bool>,
}

/// One pair's score.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PairScore {
    index: usize,
    object: &'static str,
    /// The reward, or its sigmoid.
    #[schema(value_type = f64)]
    score: Option<f64>,
}

/// Scores replies to prompts as vLLM scores pairs.
#[utoipa::path(post, path = "/score", tag = "trainers", params(UrlOptions), request_body = PairsRequest, responses(
    (status = 200, body = Listed<PairScore>),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or a pair has no reward; see `on_failure`.", body = Problem, content_type = "application/problem+json"),
))]
async fn score(
    call: ScoreCall,
    Extension(id): Extension<RequestId>,
    JsonBody(request): JsonBody<PairsRequest>,
) -> Result<Response, ApiError> {
    let PairsRequest { model, queries, documents, use_activation } = request;
    let items = pairs(&queries.list(), &documents.list(), &call.options)?;
    let answers = call.score(&PROTOCOL, items).await?;
    let data = numbered(&answers, use_activation, |index, score| PairScore {
        index,
        object: "score",
        score,
    });
    Ok(answers.reply(Listed::new(format!("score-{id}"), model, &answers, data)))
}

/// The dialogue of each pair; one prompt goes with every reply.
fn pairs(
    prompts: &[String],
    replies: &[String],
    options: &UrlOptions,
) -> Result<Vec<Item>, Invalid> {
    if prompts.len() != 1 && prompts.len() != replies.len() {
        let detail =
            format!("{} queries do not go with {} documents", prompts.len(), replies.len());
        return Err(Invalid::new(ProblemCode::InvalidRequest, "/documents", detail)
            .hint("send one query, or one for each document"));
    }
    let pairs = prompts.iter().cycle().zip(replies);
    Ok(pairs.map(|(prompt, reply)| pair(prompt, reply, options)).collect())
}

/// A prompt and a reply to it.
pub(super) fn pair(prompt: &str, reply: &str, options: &UrlOptions) -> Item {
    Item::text(continued(prompt, reply, options.thoughts), Context::new())
}
