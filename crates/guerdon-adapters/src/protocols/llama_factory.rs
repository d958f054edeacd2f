//! `POST /v1/score/evaluation`: LLaMA-Factory's PPO with `reward_model_type: api`. The client sets
//! no timeout, ignores the status and makes a tensor of `scores`. An item without a reward is
//! therefore an error, not a `null`.

use std::time::Duration;

use axum::Extension;
use axum::response::Response;
use guerdon_types::{Context, Problem, RequestId};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::vllm::model_name;
use crate::score::{Item, OnFailure, Protocol, ScoreCall, UrlOptions};
use crate::service::{ApiError, JsonBody};
use crate::text::whole;

/// LLaMA-Factory sets no timeout; the route's deadline is the longest of all routes.
pub(super) const PROTOCOL: Protocol = Protocol {
    client: "LLaMA-Factory",
    client_timeout: Duration::MAX,
    on_failure: OnFailure::Error,
};

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(score_evaluation))
}

/// Texts to score.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct ScoreEvaluationRequest {
    /// Returned in the reply.
    #[serde(default)]
    model: String,
    /// Prompt and response as one text each, with the chat template's markers and the padding.
    messages: Vec<String>,
}

/// The scores.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ScoreEvaluationReply {
    /// The request's id.
    id: String,
    /// `score.evaluation`.
    object: &'static str,
    /// The request's `model`.
    model: String,
    /// The fused rewards.
    #[schema(value_type = Vec<f64>)]
    scores: Vec<Option<f64>>,
}

/// Scores texts as LLaMA-Factory's API server does.
#[utoipa::path(post, path = "/v1/score/evaluation", tag = "trainers", params(UrlOptions),
    request_body = ScoreEvaluationRequest, responses(
    (status = 200, body = ScoreEvaluationReply),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or a text has no reward; see `on_failure`.",
        body = Problem, content_type = "application/problem+json"),
))]
async fn score_evaluation(
    call: ScoreCall,
    Extension(request_id): Extension<RequestId>,
    JsonBody(request): JsonBody<ScoreEvaluationRequest>,
) -> Result<Response, ApiError> {
    let ScoreEvaluationRequest { model, messages } = request;
    call.check_count(messages.len())?;
    let items = call.compute(move |options| -> Vec<Item> {
        let item = |text: &String| Item::text(whole(text, options.thoughts), Context::new());
        messages.iter().map(item).collect()
    });
    let answers = call.score(&PROTOCOL, items.await?).await?;
    Ok(answers.reply(ScoreEvaluationReply {
        id: format!("scoreval-{request_id}"),
        object: "score.evaluation",
        model: model_name(Some(model)),
        scores: answers.rewards(),
    }))
}
