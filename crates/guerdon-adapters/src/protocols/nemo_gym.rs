//! NeMo-Gym's resources server, for NeMo-RL, verifiers and prime-rl: `POST /seed_session`, then
//! `POST /verify` with the dataset's row and the policy's response in OpenAI's Responses form.
//!
//! The reply contains the whole request and the reward, because the client reads both from the
//! reply. NeMo-RL refuses a reward that is not the sum of its `reward_components`; these are the
//! contribution of each source and a residual. A rollout without a reward is answered with status
//! 200, `_ng_failure_class`, and `mask_sample`, which keeps the sample out of the loss.

use std::time::Duration;

use axum::Json;
use axum::response::Response;
use guerdon_types::{Context, Message, Problem, Role, ToolCall};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::score::{
    Item, ItemScores, OnFailure, Protocol, ScoreCall, UrlOptions, contributions, numbers,
};
use crate::service::{ApiError, JsonBody};
use crate::text::{ForeignMessage, text_of};

/// verifiers waits 60 s; NeMo-Gym's own client sets no timeout.
pub(super) const PROTOCOL: Protocol = Protocol {
    client: "NeMo-Gym",
    client_timeout: Duration::from_secs(60),
    on_failure: OnFailure::Null,
};

/// The field that marks a rollout without a reward; its value is the kind of failure.
pub(super) const FAILURE_CLASS: &str = "_ng_failure_class";

/// Fields of a reply next to those of the row.
const REWARD: &str = "reward";
const REWARD_COMPONENTS: &str = "reward_components";

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(seed_session))
        .routes(routes!(verify))
        .routes(routes!(reverify_mode))
}

/// Opens a session. Nothing is stored.
#[utoipa::path(post, path = "/seed_session", tag = "trainers", params(UrlOptions),
    request_body = Object, responses(
    (status = 200, description = "An empty object.", body = Object),
    (status = "4XX", description = "The body is not a JSON object.", body = Problem,
        content_type = "application/problem+json"),
))]
async fn seed_session(
    _options: UrlOptions,
    JsonBody(_row): JsonBody<Map<String, Value>>,
) -> Json<Value> {
    Json(json!({}))
}

/// Reports that a rollout may be verified again later: equal rows and responses are scored alike.
#[utoipa::path(get, path = "/reverify_mode", tag = "trainers", responses((status = 200,
    body = String, content_type = "application/json")))]
async fn reverify_mode() -> Json<&'static str> {
    Json("stateless")
}

/// A dataset's row with the policy's response.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct VerifyRequest {
    /// The policy's input, in OpenAI's Responses form.
    #[schema(value_type = Object)]
    responses_create_params: Map<String, Value>,
    /// The policy's response, in the same form.
    #[schema(value_type = Object)]
    response: Map<String, Value>,
    /// The rest of the row: the context for rules and judge.
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
    /// The contribution of each source, and in `residual` the effect of clips and gates. The
    /// components sum to the reward.
    reward_components: std::collections::BTreeMap<String, f64>,
}

/// Scores one rollout as a NeMo-Gym resources server does.
#[utoipa::path(post, path = "/verify", tag = "trainers", params(UrlOptions),
    request_body = VerifyRequest, responses(
    (status = 200,
        description = "The parts are numbers next to the reward, unless the row has a field of that name.",
        body = VerifyReply),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503,
        description = "Overloaded, or with `on_failure=error` the rollout has no reward.",
        body = Problem, content_type = "application/problem+json"),
))]
async fn verify(
    call: ScoreCall,
    JsonBody(request): JsonBody<VerifyRequest>,
) -> Result<Response, ApiError> {
    let item = call.compute(move |options| {
        let item = Item::messages(messages(&request), context(&request.row), options);
        (item, request)
    });
    let (item, request) = item.await?;
    let answers = call.score(&PROTOCOL, vec![item]).await?;
    // The reply repeats the request.
    call.compute(move |_| answers.reply(reply(request, &answers))).await
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
    let prompt = messages.len();
    let output = request.response.get("output").and_then(Value::as_array);
    messages.extend(output.into_iter().flatten().filter_map(message));
    // A response without a message is a turn that only calls tools, or an empty reply.
    if !messages.iter().skip(prompt).any(|message| message.role == Role::Assistant) {
        let tool_calls = output.into_iter().flatten().filter_map(call).collect();
        messages.push(Message { tool_calls, ..Message::new(Role::Assistant, "") });
    }
    messages
}

/// Converts an item of a response: a message or a tool's result. Returns `None` for reasoning and
/// calls, which are not visible to the partner.
fn message(item: &Value) -> Option<Message> {
    match item.get("type").and_then(Value::as_str).unwrap_or("message") {
        "message" => Some(ForeignMessage::deserialize(item).ok()?.read()),
        "function_call_output" | "custom_tool_call_output" => {
            let id = item.get("call_id").and_then(Value::as_str).map(str::to_owned);
            let result = Message::new(Role::Tool, text_of(item.get("output")?));
            Some(Message { tool_call_id: id, ..result })
        }
        _ => None,
    }
}

/// The call of an item of a response; `None` for another item.
fn call(item: &Value) -> Option<ToolCall> {
    item.get("type").filter(|kind| *kind == "function_call")?;
    let id = item.get("call_id").and_then(Value::as_str).map(str::to_owned);
    let call = ToolCall::deserialize(item).ok()?;
    Some(ToolCall { id: id.or(call.id), ..call })
}

/// The row's context. Entries under `verifier_metadata` replace others of the same name.
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
    // A row that was scored before has the fields of a reply, which are written anew.
    for field in [REWARD, REWARD_COMPONENTS] {
        request.row.remove(field);
    }
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
    // NeMo-Gym requires a number. The marks set above keep the sample out of the loss.
    Some(VerifyReply { request, reward: answer.reward.unwrap_or(0.0), reward_components })
}
