//! The content of a message: a text, or OpenAI's list of text parts.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Deserializes a content. The texts of several parts are joined by line breaks, so that two numbers
/// at a seam stay two numbers. A part that is not a text is an error: it cannot be scored, and
/// leaving it out would change the dialogue.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(ContentVisitor)
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of text parts")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<String, A::Error> {
        let mut content: Option<String> = None;
        while let Some(PartObject(ContentPart { kind, text })) = parts.next_element()? {
            let Some(text) = text.filter(|_| TEXT_KINDS.contains(&kind.as_str())) else {
                let kind = guerdon_text::quote(&kind);
                return Err(A::Error::custom(format!(
                    "a part of type {kind} cannot be scored, only text can: leave the part out, or \
                     describe it in a text"
                )));
            };
            match &mut content {
                Some(content) => {
                    content.push('\n');
                    content.push_str(&text);
                }
                None => content = Some(text),
            }
        }
        Ok(content.unwrap_or_default())
    }
}

/// Types of parts that hold a text.
const TEXT_KINDS: [&str; 3] = ["text", "input_text", "output_text"];

/// One part. Other keys, such as `cache_control`, do not change the text.
#[derive(Deserialize)]
struct ContentPart {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
}

/// A part that is read from an object only, and not from a list of its fields.
struct PartObject(ContentPart);

impl<'de> Deserialize<'de> for PartObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::json::object(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Message, Role, RolloutEntry};

    #[test]
    fn text_parts_are_joined_by_line_breaks() {
        let read = |content: &str| {
            let json = format!(r#"{{"role": "assistant", "content": {content}}}"#);
            serde_json::from_str::<Message>(&json)
        };
        let message = |text: &str| Message::new(Role::Assistant, text);
        assert_eq!(read(r#""a\u00e9""#).unwrap(), message("a\u{e9}"));
        let parts =
            r#"[{"type": "text", "text": "RMB 420"}, {"type": "output_text", "text": "0 fees"}]"#;
        assert_eq!(read(parts).unwrap(), message("RMB 420\n0 fees"));
        assert_eq!(read("[]").unwrap(), message(""));
        let list_as_part = r#"[["text", "a"]]"#;
        for refused in
            ["3", "null", "{}", "[3]", r#"["a"]"#, r#"[{"type": "text"}]"#, "[null]", list_as_part]
        {
            assert!(read(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn part_that_is_not_a_text_is_reported_with_its_type_and_place() {
        let json = r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}"#;
        let invalid = RolloutEntry::parse(json).rollout.unwrap_err();
        assert!(invalid.pointer.starts_with("/messages/0/content"), "{}", invalid.pointer);
        assert!(invalid.detail.contains("`image_url`"), "{}", invalid.detail);
    }
}
