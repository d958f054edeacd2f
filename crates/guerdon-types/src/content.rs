//! The content of a message: a text, `null`, OpenAI's list of parts, or Anthropic's blocks.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::ToolCall;
use crate::context::JsonValue;
use crate::ids::optional_text_or_integer;
use crate::rollout::arguments_text;

/// A content, taken apart.
///
/// Texts and results of tools are joined by line breaks, so that two numbers at a seam stay two
/// numbers. A part that is neither text, thoughts, a call nor a result is an error: it cannot be
/// scored, and leaving it out would change the dialogue.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// The texts and the results of tools.
    pub(crate) text: String,
    /// True if there was a text that is not the result of a tool.
    pub(crate) has_text: bool,
    /// True if there was the result of a tool.
    pub(crate) has_results: bool,
    /// The id of the call of the only result.
    pub(crate) result_id: Option<String>,
    /// The thoughts, joined by line breaks.
    pub(crate) reasoning: Option<String>,
    pub(crate) calls: Vec<ToolCall>,
    /// The number of texts and results.
    joined: usize,
}

impl Content {
    fn of_text(text: String) -> Self {
        Self { has_text: true, text, ..Self::default() }
    }

    fn push_text(&mut self, text: &str) {
        if self.joined > 0 {
            self.text.push('\n');
        }
        self.joined += 1;
        self.text.push_str(text);
    }

    fn add<E: Error>(&mut self, part: Part) -> Result<(), E> {
        let kind = part.kind.as_deref().unwrap_or("text");
        match kind {
            "text" | "input_text" | "output_text" | "refusal" => {
                let Some(FlatText(text)) = part.text.or(part.refusal) else {
                    return Err(E::missing_field("text"));
                };
                self.has_text = true;
                self.push_text(&text);
            }
            "thinking" | "reasoning" | "reasoning_text" | "redacted_thinking" => {
                let texts = [part.thinking, part.reasoning, part.text, part.summary, part.content];
                for FlatText(text) in texts.into_iter().flatten() {
                    match &mut self.reasoning {
                        Some(reasoning) => {
                            reasoning.push('\n');
                            reasoning.push_str(&text);
                        }
                        None => self.reasoning = Some(text),
                    }
                }
            }
            "tool_use" | "server_tool_use" | "function_call" | "tool_call" => {
                let Some(name) = part.name else { return Err(E::missing_field("name")) };
                let arguments = part.arguments.map(arguments_text).unwrap_or_default();
                self.calls.push(ToolCall { id: part.call_id.or(part.id), name, arguments });
            }
            "tool_result" | "function_call_output" => {
                let FlatText(text) = part.content.or(part.text).unwrap_or_default();
                let id = part.tool_use_id.or(part.call_id);
                self.result_id = if self.has_results { None } else { id };
                self.has_results = true;
                self.push_text(&text);
            }
            kind => return Err(E::custom(unscorable(kind))),
        }
        Ok(())
    }
}

fn unscorable(kind: &str) -> String {
    format!(
        "a part of type {} cannot be scored, only text can: leave the part out, or describe it in \
         a text",
        guerdon_text::quote(kind)
    )
}

/// One part or block. Other keys, such as `cache_control`, do not change the text.
#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    text: Option<FlatText>,
    #[serde(default)]
    refusal: Option<FlatText>,
    #[serde(default)]
    thinking: Option<FlatText>,
    #[serde(default)]
    reasoning: Option<FlatText>,
    #[serde(default)]
    summary: Option<FlatText>,
    #[serde(default, alias = "output")]
    content: Option<FlatText>,
    #[serde(default, deserialize_with = "optional_text_or_integer")]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, alias = "input")]
    arguments: Option<JsonValue>,
    #[serde(default, deserialize_with = "optional_text_or_integer")]
    call_id: Option<String>,
    #[serde(default, deserialize_with = "optional_text_or_integer")]
    tool_use_id: Option<String>,
}

/// A text, `null`, or nested parts with texts, which are joined by line breaks.
#[derive(Debug, Default)]
pub(crate) struct FlatText(pub(crate) String);

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor::<Self>(PhantomData))
    }
}

impl<'de> Deserialize<'de> for FlatText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor::<Self>(PhantomData))
    }
}

/// A value that is made of texts and parts.
trait FromParts: Default {
    fn of_text(text: String) -> Self;

    fn add_part<E: Error>(&mut self, part: Part) -> Result<(), E>;

    fn add_text(&mut self, text: String);
}

impl FromParts for Content {
    fn of_text(text: String) -> Self {
        Self::of_text(text)
    }

    fn add_part<E: Error>(&mut self, part: Part) -> Result<(), E> {
        self.add(part)
    }

    fn add_text(&mut self, text: String) {
        self.has_text = true;
        self.push_text(&text);
    }
}

impl FromParts for FlatText {
    fn of_text(text: String) -> Self {
        Self(text)
    }

    fn add_part<E: Error>(&mut self, part: Part) -> Result<(), E> {
        let Part { kind, text, thinking, content, .. } = part;
        match (text.or(thinking).or(content), kind) {
            (Some(Self(text)), _) => self.add_text(text),
            (None, Some(kind)) => return Err(E::custom(unscorable(&kind))),
            (None, None) => return Err(E::missing_field("text")),
        }
        Ok(())
    }

    fn add_text(&mut self, text: String) {
        if self.0.is_empty() {
            self.0 = text;
        } else {
            self.0.push('\n');
            self.0.push_str(&text);
        }
    }
}

struct ContentVisitor<T>(PhantomData<T>);

impl<'de, T: FromParts> Visitor<'de> for ContentVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of text parts")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_none<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::of_text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<T, E> {
        Ok(T::of_text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        let mut content = T::default();
        content.add_part(Part::deserialize(MapAccessDeserializer::new(map))?)?;
        Ok(content)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<T, A::Error> {
        let mut content = T::default();
        while let Some(part) = parts.next_element::<TextOrPart>()? {
            match part {
                TextOrPart::Text(text) => content.add_text(text),
                TextOrPart::Part(part) => content.add_part(*part)?,
            }
        }
        Ok(content)
    }
}

/// An element of a list of parts.
enum TextOrPart {
    Text(String),
    Part(Box<Part>),
}

impl<'de> Deserialize<'de> for TextOrPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = TextOrPart;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or an object with `type` and `text`")
    }

    fn visit_str<E>(self, text: &str) -> Result<TextOrPart, E> {
        Ok(TextOrPart::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextOrPart, A::Error> {
        let part = Part::deserialize(MapAccessDeserializer::new(map))?;
        Ok(TextOrPart::Part(Box::new(part)))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Message, Role, RolloutEntry};

    fn read(content: &str) -> Result<Message, serde_json::Error> {
        serde_json::from_str(&format!(r#"{{"role": "assistant", "content": {content}}}"#))
    }

    #[test]
    fn text_parts_are_joined_by_line_breaks() {
        let message = |text: &str| Message::new(Role::Assistant, text);
        for (content, text) in [
            (r#""a\u00e9""#, "a\u{e9}"),
            ("null", ""),
            ("[]", ""),
            (
                r#"[{"type": "text", "text": "RMB 420"}, {"type": "output_text", "text": "0 fees"}]"#,
                "RMB 420\n0 fees",
            ),
            (r#"["RMB 420", {"text": "0 fees"}]"#, "RMB 420\n0 fees"),
            (r#"[{"type": "text", "text": "", "image_url": null}, "a"]"#, "\na"),
            (r#"{"type": "text", "text": "a"}"#, "a"),
            (r#"[{"type": "refusal", "refusal": "No."}]"#, "No."),
        ] {
            assert_eq!(read(content).unwrap(), message(text), "{content}");
        }
        for refused in
            ["3", "{}", "[3]", r#"[{"type": "text"}]"#, "[null]", r#"[["text", "a"]]"#, "true"]
        {
            assert!(read(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn thoughts_are_kept_apart_in_every_form() {
        for content in [
            r#"[{"type": "thinking", "thinking": "A.", "signature": "x"}, {"type": "text", "text": "B"}]"#,
            r#"[{"type": "thinking", "thinking": [{"type": "text", "text": "A."}]}, {"type": "text", "text": "B"}]"#,
            r#"[{"type": "reasoning", "summary": [{"type": "summary_text", "text": "A."}]}, {"type": "text", "text": "B"}]"#,
            r#"[{"type": "reasoning", "text": "A."}, "B", {"type": "redacted_thinking", "data": "x"}]"#,
        ] {
            let message = read(content).unwrap();
            assert_eq!(message.content, "B", "{content}");
            assert_eq!(message.reasoning_content.as_deref(), Some("A."), "{content}");
        }
    }

    #[test]
    fn part_that_is_not_a_text_is_reported_with_its_type_and_place() {
        for part in [r#"{"type": "image_url", "image_url": {}}"#, r#"{"type": "image"}"#] {
            let json = format!(r#"{{"messages": [{{"role": "user", "content": ["a", {part}]}}]}}"#);
            let invalid = RolloutEntry::parse(&json).rollout.unwrap_err();
            assert!(invalid.pointer.starts_with("/messages/0/content"), "{}", invalid.pointer);
            assert!(invalid.detail.contains("`image"), "{}", invalid.detail);
        }
    }
}
