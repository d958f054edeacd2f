//! `POST /rerank`: best of n. The query is the prompt, the texts are replies to it, and the reply
//! lists them by their reward, the best first. Three servers serve this path: a body with `texts`
//! is text-embeddings-inference's, one with `documents` and `raw_scores` Infinity's, any other with
//! `documents` vLLM's. Each sends sigmoids unless the request sets raw rewards.
//!
//! A reply without a reward comes last, if `on_failure` permits it at all.

use axum::Extension;
use axum::response::Response;
use guerdon_types::{Problem, ProblemCode, RequestId};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::classifier::{PROTOCOL, now};
use super::vllm::{TokenUsage, model_name};
use super::vllm_score::pair;
use crate::score::{Item, ItemScores, ScoreCall, UrlOptions, sigmoid};
use crate::service::{ApiError, JsonBody};

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(rerank))
}

/// A prompt and replies to it.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct RerankRequest {
    /// The prompt, with or without the chat template's markers.
    query: String,
    /// The replies to rank, in the field of text-embeddings-inference. The field's name selects the
    /// form of the answer.
    #[serde(default)]
    texts: Option<Vec<String>>,
    /// The replies to rank, in the field of vLLM and Infinity.
    #[serde(default)]
    documents: Option<Vec<String>>,
    /// Returned in the reply.
    #[serde(default)]
    model: Option<String>,
    /// text-embeddings-inference and Infinity: `true` returns raw rewards, `false` their sigmoids.
    #[serde(default)]
    raw_scores: Option<bool>,
    /// vLLM: `false` returns raw rewards.
    #[serde(default)]
    use_activation: Option<bool>,
    /// text-embeddings-inference and Infinity: `true` returns the texts of the replies.
    #[serde(default, alias = "return_documents")]
    return_text: bool,
    /// vLLM and Infinity: the number of replies to return; 0 returns all.
    #[serde(default)]
    top_n: Option<usize>,
}

/// The replies to rank.
#[derive(Debug)]
enum Replies {
    /// The field of text-embeddings-inference.
    Texts(Vec<String>),
    /// The field of vLLM and Infinity.
    Documents(Vec<String>),
}

/// The replies, best first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum RerankReply {
    /// The form of text-embeddings-inference.
    Ranks(Vec<Rank>),
    /// The form of vLLM and Infinity.
    Results(Results),
}

/// An entry of text-embeddings-inference's list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Rank {
    /// The reply's index in the request.
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The reward, or its sigmoid.
    #[schema(value_type = f64)]
    score: Option<f64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Results {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    results: Vec<RerankResult>,
    usage: TokenUsage,
}

/// An entry of vLLM's and Infinity's list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct RerankResult {
    /// The reply's index in the request.
    index: usize,
    /// The reward, or its sigmoid.
    #[schema(value_type = f64)]
    relevance_score: Option<f64>,
    /// vLLM always sends an object with `text`; Infinity sends a text if the request sets
    /// `return_documents`.
    document: Option<RerankDocument>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum RerankDocument {
    Vllm { text: String },
    Infinity(String),
}

/// Ranks replies to a prompt as text-embeddings-inference, vLLM or Infinity rerank texts.
#[utoipa::path(post, path = "/rerank", tag = "trainers", params(UrlOptions),
    request_body = RerankRequest, responses(
    (status = 200, description = "In the form of the server whose body was sent.",
        body = RerankReply),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or a reply has no reward; see `on_failure`.",
        body = Problem, content_type = "application/problem+json"),
))]
async fn rerank(
    call: ScoreCall,
    Extension(id): Extension<RequestId>,
    JsonBody(request): JsonBody<RerankRequest>,
) -> Result<Response, ApiError> {
    let RerankRequest { query, model, raw_scores, use_activation, return_text, top_n, .. } =
        request;
    let replies = match (request.texts, request.documents) {
        (Some(texts), _) => Replies::Texts(texts),
        (None, Some(documents)) => Replies::Documents(documents),
        (None, None) => {
            let detail = "the body has neither `texts` nor `documents`";
            return Err(Problem::new(ProblemCode::InvalidRequest, detail)
                .pointer("")
                .hint("send the replies to rank as `texts` or as `documents`, a list of texts")
                .into());
        }
    };
    let (Replies::Texts(texts) | Replies::Documents(texts)) = &replies;
    call.check_count(texts.len())?;
    call.check_copies(&query, texts.len())?;
    let items = call.compute(move |options| {
        let (Replies::Texts(texts) | Replies::Documents(texts)) = &replies;
        let items: Vec<Item> = texts.iter().map(|reply| pair(&query, reply, options)).collect();
        (items, replies)
    });
    let (items, replies) = items.await?;
    let answers = call.score(&PROTOCOL, items).await?;
    let raw = raw_scores.or(use_activation.map(|activate| !activate)).unwrap_or(false);
    let mut ranked = ranked(&answers, raw);
    ranked.truncate(top_n.filter(|top| *top > 0).unwrap_or(usize::MAX));
    Ok(answers.reply(match replies {
        Replies::Texts(mut texts) => RerankReply::Ranks(
            ranked
                .into_iter()
                .map(|(index, score)| Rank {
                    index,
                    text: return_text.then(|| take(&mut texts, index)),
                    score,
                })
                .collect(),
        ),
        Replies::Documents(mut texts) => {
            let document = |texts: &mut _, index| match raw_scores {
                None => Some(RerankDocument::Vllm { text: take(texts, index) }),
                Some(_) => return_text.then(|| RerankDocument::Infinity(take(texts, index))),
            };
            RerankReply::Results(Results {
                id: format!("rerank-{id}"),
                object: "rerank",
                created: now(),
                model: model_name(model),
                results: ranked
                    .into_iter()
                    .map(|(index, relevance_score)| RerankResult {
                        index,
                        relevance_score,
                        document: document(&mut texts, index),
                    })
                    .collect(),
                usage: TokenUsage::of(&answers),
            })
        }
    }))
}

/// Indices and scores, the best first; equal rewards in the order of the request.
fn ranked(answers: &ItemScores, raw: bool) -> Vec<(usize, Option<f64>)> {
    let score = |reward: Option<f64>| if raw { reward } else { reward.map(sigmoid) };
    let mut ranked: Vec<_> = answers.rewards().into_iter().enumerate().collect();
    let worth = |reward: Option<f64>| reward.unwrap_or(f64::NEG_INFINITY);
    // By the rewards themselves: far from zero, sigmoids of different rewards are equal.
    ranked.sort_by(|(_, a), (_, b)| worth(*b).total_cmp(&worth(*a)));
    ranked.into_iter().map(|(index, reward)| (index, score(reward))).collect()
}

fn take(texts: &mut [String], index: usize) -> String {
    texts.get_mut(index).map(std::mem::take).unwrap_or_default()
}
