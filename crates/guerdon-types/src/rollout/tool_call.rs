//! A call of a tool by the policy.

use serde::de::Error;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::context::JsonValue;
use crate::ids::optional_text_or_integer;

/// A call of a tool. Written in OpenAI's form; also read without its `function` object, and with
/// Anthropic's `input` as the arguments.
///
/// ```
/// use guerdon_types::ToolCall;
///
/// let openai = r#"{"id": "1", "function": {"name": "rooms", "arguments": "{\"day\": 6}"}}"#;
/// let call: ToolCall = serde_json::from_str(openai)?;
/// assert_eq!(call.arguments_value()?["day"], 6);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = ToolCall))]
pub struct ToolCall {
    /// The id that the tool's result refers to.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// The arguments as JSON text, as the policy wrote them: they may be invalid JSON.
    pub arguments: String,
}

impl ToolCall {
    /// The arguments as a value. An empty text is an empty object.
    ///
    /// # Errors
    /// They are not JSON.
    pub fn arguments_value(&self) -> Result<Value, serde_json::Error> {
        if self.arguments.trim().is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_str(&self.arguments)
    }

    /// The approximate size in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>()
            + self.id.as_ref().map_or(0, String::len)
            + self.name.len()
            + self.arguments.len()
    }

    /// Appends the call in the form in which most chat templates show calls.
    pub(super) fn render(&self, text: &mut String) {
        let name = Value::from(self.name.as_str()).to_string();
        let arguments = match self.arguments.trim() {
            "" => "{}",
            arguments => arguments,
        };
        let parts =
            ["<tool_call>\n{\"name\": ", &name, ", \"arguments\": ", arguments, "}\n</tool_call>"];
        parts.into_iter().for_each(|part| text.push_str(part));
    }
}

impl Serialize for ToolCall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Function<'a> {
            name: &'a str,
            arguments: &'a str,
        }
        let function = Function { name: &self.name, arguments: &self.arguments };
        let mut call =
            serializer.serialize_struct("ToolCall", 2 + usize::from(self.id.is_some()))?;
        match &self.id {
            Some(id) => call.serialize_field("id", id)?,
            None => call.skip_field("id")?,
        }
        call.serialize_field("type", "function")?;
        call.serialize_field("function", &function)?;
        call.end()
    }
}

impl<'de> Deserialize<'de> for ToolCall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RawCall { id, function, name, arguments } = crate::json::object(deserializer)?;
        let (name, arguments) = match function {
            Some(CallFunction { name, arguments }) => (Some(name), arguments),
            None => (name, arguments),
        };
        let name = name.ok_or_else(|| D::Error::missing_field("function"))?;
        let arguments = arguments.map(arguments_text).unwrap_or_default();
        Ok(Self { id, name, arguments })
    }
}

/// The text of arguments that were sent as a text or as a value.
pub(crate) fn arguments_text(JsonValue(arguments): JsonValue) -> String {
    match arguments {
        Value::String(text) => text,
        Value::Null => String::new(),
        value => value.to_string(),
    }
}

/// The fields of the known forms. Others, such as `type` and `index`, do not change the call.
#[derive(Deserialize)]
struct RawCall {
    #[serde(default, deserialize_with = "optional_text_or_integer")]
    id: Option<String>,
    #[serde(default)]
    function: Option<CallFunction>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, alias = "input", alias = "parameters", alias = "args")]
    arguments: Option<JsonValue>,
}

#[derive(Deserialize)]
struct CallFunction {
    name: String,
    #[serde(default, alias = "parameters")]
    arguments: Option<JsonValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_the_same_call() {
        let call = ToolCall {
            id: Some("1".into()),
            name: "rooms".into(),
            arguments: r#"{"day":6}"#.into(),
        };
        for form in [
            r#"{"id": "1", "type": "function", "function": {"name": "rooms", "arguments": "{\"day\":6}"}}"#,
            r#"{"id": 1, "index": 0, "function": {"name": "rooms", "arguments": {"day": 6}}}"#,
            r#"{"type": "tool_use", "id": "1", "name": "rooms", "input": {"day": 6}}"#,
            r#"{"id": "1", "name": "rooms", "arguments": {"day": 6}, "function": null}"#,
        ] {
            assert_eq!(serde_json::from_str::<ToolCall>(form).unwrap(), call, "{form}");
        }
        let written = serde_json::to_string(&call).unwrap();
        assert_eq!(serde_json::from_str::<ToolCall>(&written).unwrap(), call, "{written}");
        for refused in ["3", "[]", "{}", "null", r#"{"function": {}}"#] {
            assert!(serde_json::from_str::<ToolCall>(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn empty_arguments_are_an_empty_object_and_broken_ones_an_error() {
        let call =
            |arguments: &str| ToolCall { id: None, name: "a".into(), arguments: arguments.into() };
        assert_eq!(call(" ").arguments_value().unwrap(), serde_json::json!({}));
        assert!(call("{").arguments_value().is_err());
    }
}
