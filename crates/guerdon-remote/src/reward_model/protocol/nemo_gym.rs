//! NeMo-Gym's `/verify`: the prompt as `responses_create_params`, the reply as OpenAI's response,
//! and the context as the fields of the row.

use guerdon_types::{AbstainWhy, Message, Role, Rollout};
use serde_json::{Map, Value, json};

use super::exchange::{Raw, parsed};
use crate::ask::Silence;

/// The fields of the request that a row cannot have.
const RESERVED: [&str; 2] = ["responses_create_params", "response"];

/// The request about `reply`, which follows the messages `before`.
pub(in crate::reward_model) fn request(
    rollout: &Rollout,
    before: &[Message],
    reply: &Message,
) -> String {
    let mut body: Map<String, Value> = rollout.context.clone();
    body.retain(|field, _| !RESERVED.contains(&field.as_str()));
    let input: Vec<Value> = before.iter().flat_map(items).collect();
    let output: Vec<Value> = output_items(reply);
    let response = json!({
        "id": "resp_0", "object": "response", "created_at": 0, "model": "policy",
        "output": output, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
    });
    body.insert("responses_create_params".to_owned(), json!({ "input": input }));
    body.insert("response".to_owned(), response);
    Value::Object(body).to_string()
}

/// A message as items of OpenAI's Responses: a text, the calls of tools, or the result of one.
fn items(message: &Message) -> Vec<Value> {
    if message.role == Role::Tool {
        let output = json!({
            "type": "function_call_output",
            "call_id": message.tool_call_id,
            "output": message.content,
        });
        return vec![output];
    }
    let text = json!({
        "type": "message", "role": message.role.as_str(), "content": message.content,
    });
    let said = (!message.only_calls()).then_some(text);
    said.into_iter().chain(calls(message)).collect()
}

/// The reply as the items of a response.
fn output_items(reply: &Message) -> Vec<Value> {
    let text = json!({
        "id": "msg_0", "type": "message", "role": "assistant", "status": "completed",
        "content": [{ "type": "output_text", "text": reply.content, "annotations": [] }],
    });
    let said = (!reply.only_calls()).then_some(text);
    said.into_iter().chain(calls(reply)).collect()
}

fn calls(message: &Message) -> impl Iterator<Item = Value> {
    message.tool_calls.iter().enumerate().map(|(place, call)| {
        let id = call.id.clone().unwrap_or_else(|| format!("call_{place}"));
        json!({
            "type": "function_call", "call_id": id, "name": call.name,
            "arguments": call.arguments,
        })
    })
}

/// The reward, unless the server marks it as the placeholder of a failure.
pub(super) fn read(body: &[u8]) -> Result<Vec<Raw>, String> {
    let reply: Map<String, Value> = parsed(body)?;
    let masked = reply
        .get("instance_config")
        .and_then(|config| config.get("mask_sample"))
        .is_some_and(|mask| mask == true);
    if let Some(class) = reply.get("_ng_failure_class").filter(|class| !class.is_null()) {
        let detail = format!("the verifier failed: {class}");
        return Ok(vec![Raw::Silent(Silence::new(AbstainWhy::EndpointError, detail))]);
    }
    if masked {
        let silence = Silence::new(AbstainWhy::EndpointError, "the verifier masks the sample");
        return Ok(vec![Raw::Silent(silence)]);
    }
    let reward = reply.get("reward").and_then(Value::as_f64);
    let reward = reward.ok_or("the reply has no number `reward`")?;
    Ok(vec![Raw::Numbers(vec![reward])])
}
