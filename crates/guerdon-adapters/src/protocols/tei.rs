//! `POST /predict` and `POST /`: text-embeddings-inference, and the requests of `huggingface_hub`'s
//! client. The reward is sent as its sigmoid unless `raw_scores` is true or
//! `parameters.function_to_apply` is `none`.
//!
//! As in text-embeddings-inference, a list of two texts is one pair, here a prompt and its
//! response; a batch is a list of lists.

use std::time::Duration;

use axum::response::Response;
use guerdon_types::{Context, Problem};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::classifier::LABEL;
use crate::score::{Item, OnFailure, Protocol, ScoreCall, UrlOptions, sigmoid};
use crate::service::{ApiError, JsonBody};
use crate::text::{continued, whole};

/// `huggingface_hub` sets no timeout by default; gateways commonly wait a minute.
pub(super) const PROTOCOL: Protocol = Protocol {
    client: "text-embeddings-inference",
    client_timeout: Duration::from_secs(60),
    on_failure: OnFailure::Error,
};

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(predict)).routes(routes!(root))
}

/// Texts to score.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct PredictRequest {
    inputs: PredictInputs,
    /// `true` returns raw rewards. Default: their sigmoids.
    #[serde(default)]
    raw_scores: bool,
    /// Sent by Hugging Face's own clients, which then expect one list for each text.
    #[serde(default)]
    parameters: Option<PredictParameters>,
}

/// One text or pair, or a batch of them.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(
    untagged,
    expecting = "`inputs` is a text, a list of one text, a pair of prompt and response, or a list of such lists: \
                 for several texts, send [[\"first text\"], [\"second text\"]]"
)]
enum PredictInputs {
    /// One text with the chat template's markers.
    Text(String),
    /// One text in a list, or one pair of prompt and response.
    One(PredictInput),
    /// A batch.
    Batch(Vec<PredictInput>),
}

/// A text alone, or a prompt and its response.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
enum PredictInput {
    /// A text.
    Text([String; 1]),
    /// A prompt and its response.
    Pair([String; 2]),
}

/// Hugging Face's parameters.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct PredictParameters {
    /// `sigmoid` (the default), or `none` for raw rewards.
    #[serde(default)]
    function_to_apply: Option<String>,
}

/// The score of the one label.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Prediction {
    /// The reward, or its sigmoid.
    #[schema(value_type = f64)]
    score: Option<f64>,
    label: &'static str,
}

/// The labels of one text, or a list of them for a batch.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum PredictReply {
    /// The labels of one text.
    One(Vec<Prediction>),
    /// The labels of each text.
    Batch(Vec<[Prediction; 1]>),
}

/// Scores texts as text-embeddings-inference does.
#[utoipa::path(post, path = "/predict", tag = "trainers", params(UrlOptions),
    request_body = PredictRequest, responses(
    (status = 200, body = PredictReply),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or a text has no reward; see `on_failure`.",
        body = Problem, content_type = "application/problem+json"),
))]
async fn predict(
    call: ScoreCall,
    JsonBody(request): JsonBody<PredictRequest>,
) -> Result<Response, ApiError> {
    let PredictRequest { inputs, raw_scores, parameters } = request;
    let function =
        parameters.as_ref().and_then(|parameters| parameters.function_to_apply.as_deref());
    let raw = raw_scores || function == Some("none");
    let (inputs, batch) = match inputs {
        PredictInputs::Text(text) => (vec![PredictInput::Text([text])], false),
        PredictInputs::One(input) => (vec![input], false),
        PredictInputs::Batch(inputs) => (inputs, true),
    };
    call.check_count(inputs.len())?;
    let items = call.compute(move |options| -> Vec<Item> {
        let item = |input: &PredictInput| {
            let dialogue = match input {
                PredictInput::Text([text]) => whole(text, options.thoughts),
                PredictInput::Pair([prompt, response]) => {
                    continued(prompt, response, options.thoughts)
                }
            };
            Item::text(dialogue, Context::new())
        };
        inputs.iter().map(item).collect()
    });
    let answers = call.score(&PROTOCOL, items.await?).await?;
    let predictions = answers.rewards().into_iter().map(|reward| Prediction {
        score: if raw { reward } else { reward.map(sigmoid) },
        label: LABEL,
    });
    let reply = if batch || parameters.is_some() {
        PredictReply::Batch(predictions.map(|prediction| [prediction]).collect())
    } else {
        PredictReply::One(predictions.collect())
    };
    Ok(answers.reply(reply))
}

/// Scores texts as `/predict` does; Hugging Face's inference endpoints use this path.
#[utoipa::path(post, path = "/", tag = "trainers", params(UrlOptions),
    request_body = PredictRequest, responses(
    (status = 200, body = PredictReply),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or a text has no reward; see `on_failure`.",
        body = Problem, content_type = "application/problem+json"),
))]
async fn root(call: ScoreCall, body: JsonBody<PredictRequest>) -> Result<Response, ApiError> {
    predict(call, body).await
}
