//! One message of a dialogue, read in OpenAI's and Anthropic's forms.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Role, ToolCall};
use crate::content::{Content, FlatText};
use crate::ids::optional_text_or_integer;

/// One message of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The author.
    pub role: Role,
    /// The text that the partner reads; `null` is read as an empty text. It may be empty: an empty
    /// reply is scored like any other. OpenAI's list of text parts and Anthropic's blocks are read
    /// too: texts and tool results are joined by line breaks, and spans count in the joined text.
    pub content: String,
    /// The author's name among those of the same role. Not scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The tools that the message calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<Object>>))]
    pub tool_calls: Vec<ToolCall>,
    /// The id of the call that the message is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The policy's thoughts, which its partner does not read. Not scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
}

/// The fields that the error of an unknown one names.
const FIELDS: &[&str] =
    &["role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content"];

/// Fields of other APIs that do not change what is scored.
const IGNORED: &[&str] = &[
    "annotations",
    "audio",
    "cache_control",
    "id",
    "loss",
    "metadata",
    "model",
    "phase",
    "prefix",
    "provider_specific_fields",
    "reasoning_details",
    "signature",
    "status",
    "stop_reason",
    "stop_sequence",
    "type",
    "usage",
    "weight",
];

impl Message {
    /// Creates a message by `role` with the text `content`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            name: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            reasoning_content: None,
        }
    }

    /// True if the message calls tools and has no text. Such a message is not an empty reply.
    #[must_use]
    pub fn only_calls(&self) -> bool {
        !self.tool_calls.is_empty() && self.content.trim().is_empty()
    }

    /// The text with the calls after it, each as JSON in a `<tool_call>` element. For sources that
    /// read one text a message.
    ///
    /// ```
    /// use guerdon_types::Message;
    ///
    /// let call = r#"{"role": "assistant", "content": null, "tool_calls": [
    ///     {"id": "1", "function": {"name": "rooms", "arguments": "{}"}}]}"#;
    /// let message: Message = serde_json::from_str(call)?;
    /// let shown = "<tool_call>\n{\"name\": \"rooms\", \"arguments\": {}}\n</tool_call>";
    /// assert_eq!(message.text_with_calls(), shown);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn text_with_calls(&self) -> Cow<'_, str> {
        if self.tool_calls.is_empty() {
            return Cow::Borrowed(&self.content);
        }
        let mut text = if self.only_calls() { String::new() } else { self.content.clone() };
        for call in &self.tool_calls {
            if !text.is_empty() {
                text.push('\n');
            }
            call.render(&mut text);
        }
        Cow::Owned(text)
    }

    /// The approximate size in memory, in bytes.
    pub(super) fn weight(&self) -> usize {
        let texts = [&self.name, &self.tool_call_id, &self.reasoning_content];
        MESSAGE_BYTES
            + self.content.len()
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
            + self.tool_calls.iter().map(ToolCall::weight).sum::<usize>()
    }

    /// The length of the longest text in bytes, the arguments of calls included.
    #[must_use]
    pub fn longest_text(&self) -> usize {
        let texts = [&self.name, &self.tool_call_id, &self.reasoning_content];
        let calls = self.tool_calls.iter().map(|call| call.name.len().max(call.arguments.len()));
        let others = texts.into_iter().flatten().map(String::len);
        others.chain(calls).max().unwrap_or(0).max(self.content.len())
    }
}

/// The approximate size of one message in memory, in bytes, without its text.
const MESSAGE_BYTES: usize = 64;

impl<'de> Deserialize<'de> for Message {
    /// Reads an object. serde's derived form would also read a list, as its fields in order.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message, A::Error> {
        let mut read = ReadMessage::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Role => set(&mut read.role, map.next_value()?, "role")?,
                Key::Content => set(&mut read.content, map.next_value()?, "content")?,
                Key::Name => read.name = map.next_value::<OptionalName>()?.0,
                Key::ToolCalls => {
                    read.calls = map.next_value::<Option<Vec<ToolCall>>>()?.unwrap_or_default();
                }
                Key::FunctionCall => read.function_call = map.next_value()?,
                Key::ToolCallId => read.tool_call_id = map.next_value::<OptionalName>()?.0,
                Key::Reasoning => {
                    let FlatText(text) = map.next_value()?;
                    read.reasoning = read.reasoning.or(Some(text)).filter(|text| !text.is_empty());
                }
                Key::Refusal => read.refusal = map.next_value()?,
                Key::Ignored => drop(map.next_value::<IgnoredAny>()?),
                // A column that other rows of a data set have.
                Key::Other(key) => {
                    if map.next_value::<Option<IgnoredAny>>()?.is_some() {
                        return Err(A::Error::unknown_field(&key, FIELDS));
                    }
                }
            }
        }
        read.message()
    }
}

/// A key of a message, under any of its names.
enum Key {
    Role,
    Content,
    Name,
    ToolCalls,
    FunctionCall,
    ToolCallId,
    Reasoning,
    Refusal,
    Ignored,
    Other(String),
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field of a message")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            "role" | "from" => Key::Role,
            "content" | "value" => Key::Content,
            "name" => Key::Name,
            "tool_calls" => Key::ToolCalls,
            "function_call" => Key::FunctionCall,
            "tool_call_id" | "tool_use_id" => Key::ToolCallId,
            "reasoning_content" | "reasoning" | "thinking" => Key::Reasoning,
            "refusal" => Key::Refusal,
            key if IGNORED.contains(&key) => Key::Ignored,
            key => Key::Other(key.to_owned()),
        })
    }
}

/// Sets a field that an object has once.
fn set<T, E: Error>(field: &mut Option<T>, value: T, name: &'static str) -> Result<(), E> {
    if field.replace(value).is_some() {
        return Err(E::duplicate_field(name));
    }
    Ok(())
}

/// A string, an integer as its digits, or `null`.
#[derive(Deserialize)]
struct OptionalName(#[serde(deserialize_with = "optional_text_or_integer")] Option<String>);

/// The fields of a message as they were sent.
#[derive(Default)]
struct ReadMessage {
    role: Option<Role>,
    content: Option<Content>,
    name: Option<String>,
    calls: Vec<ToolCall>,
    function_call: Option<ToolCall>,
    tool_call_id: Option<String>,
    reasoning: Option<String>,
    refusal: Option<String>,
}

impl ReadMessage {
    fn message<E: Error>(mut self) -> Result<Message, E> {
        let mut role = self.role.ok_or_else(|| E::missing_field("role"))?;
        self.calls.extend(self.function_call);
        let has_content = !self.calls.is_empty() || self.refusal.is_some();
        let mut content = match self.content {
            None if has_content => Content::default(),
            content => content.ok_or_else(|| E::missing_field("content"))?,
        };
        self.calls.append(&mut content.calls);
        if content.text.is_empty() {
            content.text = self.refusal.unwrap_or_default();
        }
        // Anthropic sends the results of tools as blocks of the user.
        if role == Role::User && content.has_results && !content.has_text {
            role = Role::Tool;
        }
        Ok(Message {
            role,
            content: content.text,
            name: self.name,
            tool_calls: self.calls,
            tool_call_id: self.tool_call_id.or(content.result_id),
            reasoning_content: self.reasoning.or(content.reasoning),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::RolloutEntry;

    fn read(message: &serde_json::Value) -> Message {
        serde_json::from_str(&message.to_string()).unwrap()
    }

    #[test]
    fn message_of_each_api_is_read_to_the_same_fields() {
        let call = ToolCall {
            id: Some("1".into()),
            name: "rooms".into(),
            arguments: "{\"day\":6}".into(),
        };
        let calling = Message {
            tool_calls: vec![call],
            reasoning_content: Some("They ask.".into()),
            ..Message::new(Role::Assistant, "One moment.")
        };
        for message in [
            json!({ "role": "assistant", "content": "One moment.", "reasoning_content": "They ask.",
                "tool_calls": [{ "id": "1", "type": "function",
                    "function": { "name": "rooms", "arguments": "{\"day\":6}" } }],
                "refusal": null, "annotations": [], "audio": null, "function_call": null }),
            json!({ "role": "assistant", "content": [
                { "type": "thinking", "thinking": "They ask.", "signature": "x" },
                { "type": "text", "text": "One moment.", "cache_control": { "type": "ephemeral" } },
                { "type": "tool_use", "id": "1", "name": "rooms", "input": { "day": 6 } }] }),
            json!({ "role": "Assistant", "reasoning": "They ask.", "content": "One moment.",
                "tool_calls": [{ "id": 1, "name": "rooms", "arguments": { "day": 6 } }],
                "column_of_another_row": null }),
        ] {
            assert_eq!(read(&message), calling, "{message}");
        }
        let result = Message {
            tool_call_id: Some("1".into()),
            ..Message::new(Role::Tool, "5 rooms\nfrom 420")
        };
        for message in [
            json!({ "role": "tool", "tool_call_id": 1, "content": "5 rooms\nfrom 420" }),
            json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "1",
                "content": [{ "type": "text", "text": "5 rooms" }, { "type": "text", "text": "from 420" }] }] }),
        ] {
            assert_eq!(read(&message), result, "{message}");
        }
    }

    #[test]
    fn message_is_written_in_the_form_that_is_read() {
        let plain = Message::new(Role::User, "a");
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"role":"user","content":"a"}"#);
        let message = Message {
            name: Some("Ann".into()),
            tool_calls: vec![ToolCall { id: None, name: "f".into(), arguments: "{".into() }],
            tool_call_id: Some("7".into()),
            reasoning_content: Some("b".into()),
            ..plain
        };
        let written = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&written).unwrap(), message, "{written}");
    }

    #[test]
    fn absent_text_needs_a_call_or_a_refusal() {
        let call = json!([{ "function": { "name": "f", "arguments": "{}" } }]);
        let calling = read(&json!({ "role": "assistant", "tool_calls": call }));
        assert!(calling.only_calls() && calling.content.is_empty());
        assert!(
            read(&json!({ "role": "assistant", "content": "\n", "tool_calls": call })).only_calls()
        );
        assert!(!read(&json!({ "role": "assistant", "content": null })).only_calls());
        let refusal = read(&json!({ "role": "assistant", "content": null, "refusal": "No." }));
        assert_eq!(refusal.content, "No.");
        assert!(serde_json::from_str::<Message>(r#"{"role": "assistant"}"#).is_err());
        assert!(serde_json::from_str::<Message>(r#"{"content": "a"}"#).is_err());
        let twice = r#"{"role": "user", "content": "a", "content": "b"}"#;
        assert!(serde_json::from_str::<Message>(twice).is_err());
    }

    #[test]
    fn misspelt_field_is_refused_with_the_nearest_one() {
        let json = r#"{"messages": [{"role": "user", "content": "a", "tool_cals": [1]}]}"#;
        let invalid = RolloutEntry::parse(json).rollout.unwrap_err();
        assert!(invalid.pointer.starts_with("/messages/0"), "{}", invalid.pointer);
        assert_eq!(invalid.hint.as_deref(), Some("did you mean `tool_calls`?"));
    }
}
