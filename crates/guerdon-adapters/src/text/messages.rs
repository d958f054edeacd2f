//! Messages in the form of OpenAI's APIs, read leniently, since the content of a trainer's dataset
//! cannot be changed by the request's sender.

use guerdon_text::chat_markup::Speaker;
use guerdon_types::{Context, Message, Role};
use serde::Deserialize;
use serde_json::Value;

use super::dialogue::role;

/// A chat message in the form of OpenAI's APIs.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
pub(crate) struct ForeignMessage {
    /// `system`, `developer`, `user`, `assistant`, `tool` or `function`; any other role is the
    /// user's.
    #[serde(default)]
    role: String,
    /// A text, a list of parts whose texts are joined, or `null`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    content: Value,
}

impl ForeignMessage {
    /// The message, with an unknown role as the user's.
    pub(crate) fn read(self) -> Message {
        let role = Speaker::from_name(&self.role).map_or(Role::User, role);
        Message::new(role, text_of(&self.content))
    }
}

/// Reads messages.
pub(crate) fn read(messages: Vec<ForeignMessage>) -> Vec<Message> {
    messages.into_iter().map(ForeignMessage::read).collect()
}

/// The text of a content: the text itself, or the texts of its parts, concatenated.
pub(crate) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
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

    #[test]
    fn parts_are_joined_and_unknown_roles_are_users() {
        let parts = json!([{ "type": "text", "text": "48" }, { "type": "image_url" }, { "type": "text", "text": "0" }]);
        let message: ForeignMessage =
            serde_json::from_value(json!({ "role": "hotel", "content": parts })).unwrap();
        assert_eq!(message.read(), Message::new(Role::User, "480"));
        let call: ForeignMessage = serde_json::from_value(
            json!({ "role": "assistant", "content": null, "tool_calls": [] }),
        )
        .unwrap();
        assert_eq!(call.read(), Message::new(Role::Assistant, ""));
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
