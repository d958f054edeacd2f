//! Messages and prompts in every form.

use guerdon_text::chat_markup::{Speaker, marked_turns, trim_end_tokens};
use guerdon_types::Role;
use serde_json::{Map, Value, json};

use super::transcript::{self, message};

/// The fields of a message that are read. Rows hold others, such as weights for a loss.
const FIELDS: &[&str] = &[
    "content",
    "function_call",
    "name",
    "reasoning",
    "reasoning_content",
    "refusal",
    "role",
    "thinking",
    "tool_call_id",
    "tool_calls",
];

/// `messages` behind the system prompt, if there is one.
pub(super) fn prepended(system: Option<&Value>, mut messages: Vec<Value>) -> Vec<Value> {
    if let Some(system) = system {
        messages.insert(0, json!({ "role": "system", "content": system }));
    }
    messages
}

/// The messages of a column: a list, one message, lists of roles and contents, or any of these as
/// JSON in a text.
pub(super) fn messages(column: Value) -> Result<Vec<Value>, String> {
    match column {
        Value::Array(messages) => Ok(messages.into_iter().map(read).collect()),
        Value::Object(columns) => Ok(match transposed(&columns) {
            Some(messages) => messages.into_iter().map(read).collect(),
            None => vec![read(Value::Object(columns))],
        }),
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(column @ (Value::Array(_) | Value::Object(_))) => messages(column),
            _ => Err("the messages are a text".to_owned()),
        },
        _ => Err("the messages are no list".to_owned()),
    }
}

/// The messages of an object whose fields are lists, as `datasets` writes a sequence of objects.
fn transposed(columns: &Map<String, Value>) -> Option<Vec<Value>> {
    let count = columns.values().next()?.as_array()?.len();
    let at = |place: usize| {
        let field =
            |(name, list): (&String, &Value)| Some((name.clone(), list.get(place)?.clone()));
        columns.iter().map(field).collect::<Option<Map<_, _>>>().map(Value::Object)
    };
    (0..count).map(at).collect()
}

/// A message in the form of the API, without the fields that are not read.
fn read(message: Value) -> Value {
    let Value::Object(mut fields) = message else { return message };
    for (other, name) in [("from", "role"), ("value", "content")] {
        if let Some(value) = fields.remove(other) {
            fields.entry(name).or_insert(value);
        }
    }
    let is_call = matches!(fields.get("role"), Some(Value::String(role)) if role == "function_call" || role == "tool_call");
    if is_call && let Some(Value::String(call)) = fields.get("content") {
        let calls = match serde_json::from_str(call) {
            Ok(Value::Array(calls)) => calls,
            Ok(call) => vec![call],
            Err(_) => vec![json!({ "name": "unknown", "arguments": call })],
        };
        return json!({ "role": "assistant", "content": null, "tool_calls": calls });
    }
    fields.retain(|name, value| FIELDS.contains(&name.as_str()) && !value.is_null());
    if fields.contains_key("role") {
        fields.entry("content").or_insert(Value::Null);
    }
    Value::Object(fields)
}

/// A prompt: its messages, and the beginning of the reply.
#[derive(Default)]
pub(super) struct Prompt {
    pub(super) messages: Vec<Value>,
    pub(super) begun: String,
}

/// A prompt that is a text, with or without the markers of a chat template, or messages.
pub(super) fn prompt(column: Value) -> Result<Prompt, String> {
    let Value::String(text) = column else {
        return Ok(Prompt { messages: messages(column)?, begun: String::new() });
    };
    if let Some(messages) = transcript::messages(&text) {
        return Ok(Prompt { messages, begun: String::new() });
    }
    let Some(mut turns) = marked_turns(&text) else {
        let messages =
            if text.trim().is_empty() { Vec::new() } else { vec![message(Role::User, &text)] };
        return Ok(Prompt { messages, begun: String::new() });
    };
    let begun = turns.pop_if(|turn| turn.open && turn.speaker == Speaker::Assistant);
    Ok(Prompt {
        messages: turns.iter().map(|turn| message(turn.speaker.into(), turn.content)).collect(),
        begun: begun.map_or_else(String::new, |turn| turn.content.to_owned()),
    })
}

/// The replies of a column, each as the messages after the prompt: a text, a message, a list of
/// messages, or a list of any of these.
pub(super) fn replies(column: Value, begun: &str) -> Result<Vec<Vec<Value>>, String> {
    let reply = |text: &str| {
        let written = format!("{begun}{text}");
        vec![message(Role::Assistant, trim_end_tokens(&written))]
    };
    match column {
        Value::String(text) => Ok(vec![reply(&text)]),
        Value::Array(list) if !list.is_empty() && list.iter().all(Value::is_object) => {
            Ok(vec![messages(Value::Array(list))?])
        }
        Value::Array(list) => {
            let each = |one: Value| match one {
                Value::String(text) => Ok(reply(&text)),
                one => messages(one),
            };
            list.into_iter().map(each).collect()
        }
        column => Ok(vec![messages(column)?]),
    }
}
