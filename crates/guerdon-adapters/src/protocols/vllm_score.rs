//! `POST /score`: vLLM's scores of pairs. A pair is a prompt and a reply to it: one prompt with all
//! its replies, as in best-of-n, or one prompt for each reply. The reward is sent as its sigmoid
//! unless `use_activation` is false.
//!
//! vLLM and SGLang also serve `/v1/score`, the latter with the likelihoods of given next tokens.
//! Here that path is guerdon's own.

use axum::Extension;
use axum::response::Response;
use guerdon_types::{Context, Invalid, Problem, ProblemCode, RequestId};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::classifier::{PROTOCOL, Texts};
use super::vllm::{ListReply, entries};
use crate::score::{Item, ScoreCall, UrlOptions};
use crate::service::{ApiError, JsonBody};
use crate::text::continued;

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(score))
}

/// Prompts and replies to them.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct PairsRequest {
    /// Returned in the reply.
    #[serde(default)]
    model: Option<String>,
    /// The prompts, or one for all replies. vLLM also accepts the names `text_1` and `data_1`.
    #[serde(alias = "text_1", alias = "data_1")]
    queries: Texts,
    /// The replies. vLLM also accepts the names `items`, `text_2` and `data_2`.
    #[serde(alias = "items", alias = "text_2", alias = "data_2")]
    documents: Texts,
    /// `false` returns raw rewards. Default: their sigmoids.
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
#[utoipa::path(post, path = "/score", tag = "trainers", params(UrlOptions),
    request_body = PairsRequest, responses(
    (status = 200, body = ListReply<PairScore>),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or a pair has no reward; see `on_failure`.",
        body = Problem, content_type = "application/problem+json"),
))]
async fn score(
    call: ScoreCall,
    Extension(id): Extension<RequestId>,
    JsonBody(request): JsonBody<PairsRequest>,
) -> Result<Response, ApiError> {
    let PairsRequest { model, queries, documents, use_activation } = request;
    let (queries, documents) = (queries.list(), documents.list());
    call.check_count(documents.len())?;
    if let [query] = queries.as_slice() {
        call.check_copies(query, documents.len())?;
    }
    let items = call.compute(move |options| pairs(&queries, &documents, options)).await??;
    let answers = call.score(&PROTOCOL, items).await?;
    let data = entries(&answers, use_activation, |index, score| PairScore {
        index,
        object: "score",
        score,
    });
    Ok(answers.reply(ListReply::new(format!("score-{id}"), model, &answers, data)))
}

/// The dialogue of each pair. A single prompt is paired with every reply.
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
