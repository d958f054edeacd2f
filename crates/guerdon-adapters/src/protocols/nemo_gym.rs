//! NeMo-Gym's resources server, as NeMo-RL, verifiers and prime-rl speak to one: `POST /seed_session`, then `POST /verify`
//! with the dataset's row and the policy's response in OpenAI's Responses form.
//!
//! The reply echoes the request, since the client takes both out of it again, and adds the reward. NeMo-RL refuses a
//! reward that is not the sum of its `reward_components`, so these are what each source added, and a residual. What could
//! not be scored is answered as the protocol has it: a 200 with `_ng_failure_class`, and `mask_sample`, which keeps the
//! sample out of the loss.

use std::time::Duration;

use axum::Json;
use axum::response::Response;
use guerdon_types::{Context, Message, Problem, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::score::{Item, ItemScores, Protocol, ScoreCall};
use crate::score::{OnFailure, UrlOptions};
use crate::score::{contributions, numbers};
use crate::service::{ApiError, JsonBody};
use crate::text::{ForeignMessage, text_of};

/// verifiers waits 60 s; NeMo-Gym's own client for ever.
pub(super) const PROTOCOL: Protocol = Protocol {
    client: "NeMo-Gym",
    client_waits: Duration::from_secs(60),
    on_failure: OnFailure::Null,
};

/// Marks a rollout that could not be scored, and says why it is one.
pub(super) const FAILURE_CLASS: &str = "_ng_failure_class";

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(seed_session))
        .routes(routes!(verify))
        .routes(routes!(reverify_mode))
}

/// Opens a session; there is nothing to keep of it.
#[utoipa::path(post, path = "/seed_session", tag = "trainers", params(UrlOptions), request_body = Object, responses(
    (status = 200, description = "An empty object.", body = Object),
))]
async fn seed_session(
    _choices: UrlOptions,
    JsonBody(_row): JsonBody<Map<String, Value>>,
) -> Json<Value> {
    Json(json!({}))
}

/// Whether a rollout may be verified again later: the same row and response are the same question.
#[utoipa::path(get, path = "/reverify_mode", tag = "trainers", responses((status = 200, body = String)))]
async fn reverify_mode() -> Json<&'static str> {
    Json("stateless")
}

/// A dataset's row with the policy's response.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct VerifyRequest {
    /// What the policy was asked, in OpenAI's Responses form.
    #[schema(value_type = Object)]
    responses_create_params: Map<String, Value>,
    /// What it responded, in the same form.
    #[schema(value_type = Object)]
    response: Map<String, Value>,
    /// The rest of the row: facts for rules and judge.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    row: Map<String, Value>,
}

/// The request and its reward.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct VerifyReply {
    #[serde(flatten)]
    request: VerifyRequest,
    /// The fused reward.
    reward: f64,
    /// What each source added to it, and as `residual` what clips and gates changed. They sum to the reward.
    reward_components: std::collections::BTreeMap<String, f64>,
}

/// Scores one rollout as a NeMo-Gym resources server does.
#[utoipa::path(post, path = "/verify", tag = "trainers", params(UrlOptions), request_body = VerifyRequest, responses(
    (status = 200, description = "Parts stand beside the reward as numbers, where the row has no field of their name.", body = VerifyReply),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or with `on_failure=error` the rollout has no reward.", body = Problem, content_type = "application/problem+json"),
))]
async fn verify(
    call: ScoreCall,
    JsonBody(request): JsonBody<VerifyRequest>,
) -> Result<Response, ApiError> {
    let item = Item::messages(messages(&request), context(&request.row));
    let answers = call.score(&PROTOCOL, vec![item]).await?;
    Ok(answers.reply(reply(request, &answers)))
}

fn messages(request: &VerifyRequest) -> Vec<Message> {
    let params = &request.responses_create_params;
    let instructions = params.get("instructions").map(text_of).filter(|text| !text.is_empty());
    let mut messages: Vec<_> =
        instructions.into_iter().map(|text| Message::new(Role::System, text)).collect();
    match params.get("input") {
        Some(Value::String(text)) => messages.push(Message::new(Role::User, text.clone())),
        Some(Value::Array(items)) => messages.extend(items.iter().filter_map(message)),
        _ => {}
    }
    let asked = messages.len();
    let output = request.response.get("output").and_then(Value::as_array);
    messages.extend(output.into_iter().flatten().filter_map(message));
    // A response of calls or thoughts alone says nothing to the partner; that is a reply, and an empty one.
    if !messages.iter().skip(asked).any(|message| message.role == Role::Assistant) {
        messages.push(Message::new(Role::Assistant, ""));
    }
    messages
}

/// An item of a response: a message or what a tool answered. Reasoning and calls are not said to the partner.
fn message(item: &Value) -> Option<Message> {
    match item.get("type").and_then(Value::as_str).unwrap_or("message") {
        "message" => Some(ForeignMessage::deserialize(item).ok()?.read()),
        "function_call_output" | "custom_tool_call_output" => {
            Some(Message::new(Role::Tool, text_of(item.get("output")?)))
        }
        _ => None,
    }
}

/// The row's facts; those under `verifier_metadata` go before the others of their name.
fn context(row: &Map<String, Value>) -> Context {
    let mut context: Context = row
        .iter()
        .filter(|(name, _)| !name.starts_with('_'))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    if let Some(Value::Object(metadata)) = context.remove("verifier_metadata") {
        context.extend(metadata);
    }
    context
}

fn reply(mut request: VerifyRequest, answers: &ItemScores) -> Option<VerifyReply> {
    let answer = answers.items.first()?;
    let reward_components = contributions(answer, &answers.sources, &answers.fusion);
    for (name, number) in numbers(answer, &answers.sources) {
        request.row.entry(name).or_insert_with(|| json!(number));
    }
    if let (None, Some(why)) = (answer.reward, &answer.failure) {
        request.row.insert(FAILURE_CLASS.to_owned(), json!("judge_failed"));
        request.row.insert("_ng_failure_judge_error".to_owned(), json!(why));
        let config = request.row.entry("instance_config").or_insert_with(|| json!({}));
        if let Value::Object(config) = config {
            config.insert("mask_sample".to_owned(), json!(true));
        }
    }
    // Zero only beside the marks above, which keep it out of the loss: the protocol has no other word for "unscored".
    Some(VerifyReply { request, reward: answer.reward.unwrap_or(0.0), reward_components })
}
