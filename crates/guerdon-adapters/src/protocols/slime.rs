//! `POST /rm`: the remote reward model of slime and miles. One request is one sample, and the whole
//! reply becomes its reward. The reply is therefore a bare number, or with `?reply=dict` (and
//! `--reward-key reward` at the trainer) an object with every part.
//!
//! slime tries ten times for any status, over some minutes, and then fails the rollout; miles tries
//! once.

use std::time::Duration;

use axum::response::Response;
use guerdon_types::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::score::{
    Item, ItemScore, NamedNumbers, OnFailure, Protocol, ReplyForm, ScoreCall, UrlOptions, numbers,
    sigmoid,
};
use crate::service::{ApiError, JsonBody};
use crate::text::{ForeignMessage, continued, facts, read, reply_to};

/// slime waits 120 s.
pub(super) const PROTOCOL: Protocol = Protocol {
    client: "slime",
    client_timeout: Duration::from_secs(120),
    on_failure: OnFailure::Error,
};

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(rm))
}

/// One sample.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct RmRequest {
    /// The prompt: a text with the chat template's markers, or messages.
    #[serde(default)]
    #[schema(value_type = RmPrompt)]
    prompt: Value,
    /// The response's text.
    #[serde(default)]
    #[schema(value_type = String)]
    response: Value,
    /// The dataset's label. An object, or a text that is a JSON object, is the rollout's context;
    /// any other label is the entry `label` of the context.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    label: Value,
}

/// A prompt in either form.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
enum RmPrompt {
    /// A text with the chat template's markers.
    Text(String),
    /// The dialogue so far.
    Messages(Vec<ForeignMessage>),
}

/// The sample's reward.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum RmReply {
    /// The fused reward.
    #[schema(value_type = f64)]
    Number(Option<f64>),
    /// The fused reward as `reward`, its sigmoid as `score`, and every part as in the `extra_logs`
    /// of `/get_reward`.
    Dict {
        /// The fused reward.
        #[schema(value_type = f64)]
        reward: Option<f64>,
        /// Its sigmoid.
        #[schema(value_type = f64)]
        score: Option<f64>,
        /// Every part.
        #[serde(flatten)]
        parts: NamedNumbers,
    },
}

/// Scores one sample in the form of slime's `--rm-type remote_rm`.
#[utoipa::path(post, path = "/rm", tag = "trainers", params(UrlOptions), request_body = RmRequest,
    responses(
    (status = 200, body = RmReply),
    (status = "4XX", description = "The request is not a sample.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or the sample has no reward; see `on_failure`.",
        body = Problem, content_type = "application/problem+json"),
))]
async fn rm(call: ScoreCall, JsonBody(request): JsonBody<RmRequest>) -> Result<Response, ApiError> {
    let item = call.compute(|options| item(request, options)).await?;
    let answers = call.score(&PROTOCOL, vec![item]).await?;
    let answer =
        answers.items.first().map_or(RmReply::Number(None), |answer| match call.options.reply {
            ReplyForm::Number => RmReply::Number(answer.reward),
            ReplyForm::Dict => dict(answer, numbers(answer, &answers.sources)),
        });
    Ok(answers.reply(answer))
}

fn item(RmRequest { prompt, response, label }: RmRequest, options: &UrlOptions) -> Item {
    let Value::String(response) = response else { return Item::broken("`response` is not a text") };
    let dialogue = match serde_json::from_value(prompt) {
        Ok(RmPrompt::Text(prompt)) => continued(&prompt, &response, options.thoughts),
        Ok(RmPrompt::Messages(prompt)) => reply_to(read(prompt), &response, options.thoughts),
        Err(_) => return Item::broken("`prompt` is neither a text nor messages"),
    };
    Item::text(dialogue, facts("label", label))
}

fn dict(answer: &ItemScore, parts: NamedNumbers) -> RmReply {
    RmReply::Dict { reward: answer.reward, score: answer.reward.map(sigmoid), parts }
}
