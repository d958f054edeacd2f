//! Messages in the form of OpenAI's APIs, read leniently, since the content of a trainer's dataset
//! cannot be changed by the request's sender.

use guerdon_types::{Context, Message, Role, ToolCall};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A chat message in the form of OpenAI's or Anthropic's API.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
pub(crate) struct ForeignMessage {
    /// A role of `/v1/score`, or one of its other names; any other role is the user's.
    #[serde(default)]
    #[schema(value_type = String)]
    role: Value,
    /// A text, a list of parts whose texts are joined by line breaks, or `null`. A part that is no
    /// text stands as its kind: `[image]`, `[audio]`, `[video]` or `[file]`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    content: Value,
    /// The other fields of a message of `/v1/score`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    fields: Map<String, Value>,
}

impl ForeignMessage {
    /// The message. What cannot be read is left out: the content of a dataset cannot be changed by
    /// the sender of the request.
    pub(crate) fn read(self) -> Message {
        let Self { role, content, mut fields } = self;
        for (name, value) in [("role", role), ("content", content)] {
            if !value.is_null() {
                fields.insert(name.to_owned(), value);
            }
        }
        let message = Value::Object(fields);
        if let Ok(message) = Message::deserialize(&message) {
            return message;
        }
        let field = |name: &str| message.get(name);
        let role = field("role").and_then(Value::as_str).and_then(Role::from_name);
        let content = field("content").map(text_of).unwrap_or_default();
        let calls = field("tool_calls").and_then(Value::as_array).into_iter().flatten();
        let tool_calls = calls.filter_map(|call| ToolCall::deserialize(call).ok()).collect();
        Message { tool_calls, ..Message::new(role.unwrap_or(Role::User), content) }
    }
}

/// Reads messages.
pub(crate) fn read(messages: Vec<ForeignMessage>) -> Vec<Message> {
    messages.into_iter().map(ForeignMessage::read).collect()
}

/// The text of a content: the text itself, or the texts of its parts, joined by line breaks. A part
/// that cannot be scored stands as a placeholder, so that judge and rules see that there was one.
pub(crate) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let text = |part: &'_ Value| {
                let text = part.as_str().or_else(|| part.get("text")?.as_str());
                text.or_else(|| placeholder(part.get("type")?.as_str()?)).map(str::to_owned)
            };
            parts.iter().filter_map(text).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// The placeholder of a part of this type; `None` for a type that is no medium.
fn placeholder(kind: &str) -> Option<&'static str> {
    let media =
        [("image", "[image]"), ("audio", "[audio]"), ("video", "[video]"), ("file", "[file]")];
    media.into_iter().find(|(name, _)| kind.contains(name)).map(|(_, shown)| shown)
}

/// The context of a rollout from a dataset's label. An object is the context itself, and so is a
/// text that is a JSON object; any other label is one entry called `name`.
pub(crate) fn facts(name: &str, label: Value) -> Context {
    match label {
        Value::Null => Context::new(),
        Value::Object(facts) => facts,
        Value::String(text) if text.trim_start().starts_with('{') => {
            serde_json::from_str(&text).unwrap_or_else(|_| named(name, Value::String(text)))
        }
        label => named(name, label),
    }
}

fn named(name: &str, label: Value) -> Context {
    Context::from_iter([(name.to_owned(), label)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(json: Value) -> Message {
        serde_json::from_value::<ForeignMessage>(json).unwrap().read()
    }

    #[test]
    fn parts_are_joined_and_unknown_roles_are_users() {
        let parts = json!([{ "type": "text", "text": "48" }, { "type": "image_url" }, { "type": "text", "text": "0" }]);
        let read = message(json!({ "role": "hotel", "content": parts }));
        assert_eq!(read, Message::new(Role::User, "48\n[image]\n0"));
        for (kind, shown) in [
            ("image", "[image]"),
            ("input_image", "[image]"),
            ("input_audio", "[audio]"),
            ("video_url", "[video]"),
            ("input_file", "[file]"),
            ("strange", ""),
        ] {
            let content = json!([{ "type": kind, "url": "u" }]);
            let read = message(json!({ "role": "user", "content": content }));
            assert_eq!(read, Message::new(Role::User, shown), "{kind}");
        }
        assert_eq!(message(json!({ "content": 3 })), Message::new(Role::User, ""));
        assert!(serde_json::from_value::<ForeignMessage>(json!(["assistant", "a"])).is_err());
        let strange = json!({ "role": "gpt", "content": "a", "column": 1 });
        assert_eq!(message(strange), Message::new(Role::Assistant, "a"));
    }

    #[test]
    fn calls_and_thoughts_are_kept_apart_from_the_text() {
        let calls = json!([{ "id": "1", "function": { "name": "rooms", "arguments": "{}" } }]);
        let read = message(json!({ "role": "assistant", "content": null, "tool_calls": calls,
            "reasoning_content": "They ask.", "column": 1 }));
        assert!(read.only_calls());
        assert_eq!(read.tool_calls[0].name, "rooms");
        let empty = message(json!({ "role": "assistant", "content": null, "tool_calls": [] }));
        assert_eq!(empty, Message::new(Role::Assistant, ""));
    }

    #[test]
    fn a_label_that_is_an_object_is_the_context() {
        let object = json!({ "target_price": 420 });
        assert_eq!(Value::Object(facts("label", object.clone())), object);
        assert_eq!(Value::Object(facts("label", json!("{\"target_price\": 420}"))), object);
        assert_eq!(Value::Object(facts("label", json!("{42}"))), json!({ "label": "{42}" }));
        assert_eq!(Value::Object(facts("label", json!(42))), json!({ "label": 42 }));
        assert!(facts("label", Value::Null).is_empty());
    }
}
