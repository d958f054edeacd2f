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
        Some(Value::Array(items)) => append(&mut messages, items),
        _ => {}
    }
    let prompt = messages.len();
    let output = request.response.get("output").and_then(Value::as_array);
    append(&mut messages, output.map_or(&[], Vec::as_slice));
    // A response without a message is a turn that only calls tools, or an empty reply.
    if !messages.iter().skip(prompt).any(|message| message.role == Role::Assistant) {
        let tool_calls = output.into_iter().flatten().filter_map(call).collect();
        messages.push(Message { tool_calls, ..Message::new(Role::Assistant, "") });
    }
    messages
}

/// Adds the messages among items of a response. Calls next to a message are of its turn; a result of
/// a tool, or what others say, ends the turn. Turns that only call tools are left out.
fn append(messages: &mut Vec<Message>, items: &[Value]) {
    let mut before = Vec::new();
    let mut is_open = false;
    for item in items {
        if let Some(call) = call(item) {
            match messages.last_mut().filter(|_| is_open) {
                Some(turn) => turn.tool_calls.push(call),
                None => before.push(call),
            }
        } else if let Some(mut message) = message(item) {
            is_open = message.role == Role::Assistant;
            let calls = std::mem::take(&mut before);
            if is_open {
                message.tool_calls.extend(calls);
            }
            messages.push(message);
        }
    }
}

/// Converts an item of a response: a message or a tool's result. Returns `None` for reasoning, which
/// is not visible to the partner, and for calls.
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
    let id = || item.get("call_id").and_then(Value::as_str).map(str::to_owned);
    match item.get("type").and_then(Value::as_str)? {
        "function_call" => {
            let call = ToolCall::deserialize(item).ok()?;
            Some(ToolCall { id: id().or(call.id), ..call })
        }
        "custom_tool_call" => {
            let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
            Some(ToolCall { id: id(), name: text("name")?, arguments: text("input")? })
        }
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &Value, output: &Value) -> Vec<Message> {
        let request = json!({
            "responses_create_params": { "input": input }, "response": { "output": output },
        });
        messages(&serde_json::from_value(request).unwrap())
    }

    /// Each message as its role, its text and the names of its calls.
    fn shown(messages: &[Message]) -> Vec<String> {
        let shown = |message: &Message| {
            let calls: Vec<&str> =
                message.tool_calls.iter().map(|call| call.name.as_str()).collect();
            format!("{:?} {} [{}]", message.role, message.content, calls.join(" "))
        };
        messages.iter().map(shown).collect()
    }

    #[test]
    fn calls_belong_to_the_turn_that_they_stand_next_to() {
        let said = |text: &str| json!({ "type": "message", "role": "assistant", "content": text });
        let call = |name: &str| json!({ "type": "function_call", "call_id": "c", "name": name, "arguments": "{}" });
        let result = || json!({ "type": "function_call_output", "call_id": "c", "output": "400" });
        let thought = || json!({ "type": "reasoning", "summary": [] });
        for (output, wanted) in [
            (json!([said("a"), call("x"), call("y")]), vec!["Assistant a [x y]"]),
            (json!([thought(), call("x"), said("a")]), vec!["Assistant a [x]"]),
            (
                json!([call("x"), result(), said("a"), call("y")]),
                vec!["Tool 400 []", "Assistant a [y]"],
            ),
            (json!([said("a"), said("b")]), vec!["Assistant a []", "Assistant b []"]),
            (json!([call("x")]), vec!["Assistant  [x]"]),
            (json!([thought()]), vec!["Assistant  []"]),
            (json!([]), vec!["Assistant  []"]),
            (
                json!([{ "type": "custom_tool_call", "name": "sql", "input": "select 1" }, said("a")]),
                vec!["Assistant a [sql]"],
            ),
        ] {
            let messages = read(&json!("480 ?"), &output);
            assert_eq!(shown(&messages)[0], "User 480 ? []");
            assert_eq!(shown(&messages)[1..], wanted, "{output}");
        }
        // A call of the response is none of the prompt's last turn.
        let history = json!([{ "role": "user", "content": "hi" }, said("yes"), call("z")]);
        let messages = read(&history, &json!([call("x")]));
        assert_eq!(shown(&messages)[1..], ["Assistant yes [z]", "Assistant  [x]"]);
    }
}
