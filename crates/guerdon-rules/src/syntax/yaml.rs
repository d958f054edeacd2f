//! YAML as a tree in which every key and value has a source position.
//!
//! Serde stops at the first invalid value, but the author of a pack needs all errors. The text
//! therefore becomes a tree first. `parse/` walks the tree and continues after an error.

use std::fmt;
use std::ops::Range;

use guerdon_text::Finding;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::syntax::codes::PackCode;

/// A value and its source position, in bytes of the text.
#[derive(Debug, Clone)]
pub(crate) struct WithSpan<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// Any YAML value.
#[derive(Debug, Clone)]
pub(crate) enum Yaml {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<WithSpan<Self>>),
    Map(Vec<(WithSpan<String>, WithSpan<Self>)>),
}

impl Yaml {
    /// The kind of the value, as named in messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads one document.
pub(crate) fn read(text: &str) -> Result<WithSpan<Yaml>, Finding> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    match serde_saphyr::from_str_with_options::<Spanned<RawYaml>>(text, options) {
        Ok(raw) => Ok(raw.value.locate(&SourceSpans { text }, raw.referenced)),
        Err(error) => {
            let span =
                error.location().map_or(0..0, |location| SourceSpans { text }.span(location));
            let message = error.without_snippet().to_string();
            let message = message.lines().next().unwrap_or("not YAML");
            // Cuts off the position, which the report states, and a hint about reader options,
            // which the author of a pack cannot set.
            let message = message.split(" at line ").next().unwrap_or(message);
            let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or(message);
            let help = match message {
                _ if message.contains("duplicate") => "keep one of the two",
                _ if message.contains("tab") => "indent with spaces; YAML does not allow tabs",
                _ if message.contains("unclosed quote") => "close the quote on its line",
                _ => "quote texts that contain `:`, `#`, `{` or `[`: 'like: this'",
            };
            Err(Finding::new(PackCode::Syntax, span, format!("not valid YAML: {message}"))
                .help(help))
        }
    }
}

/// A value as returned by the YAML reader.
enum RawYaml {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl RawYaml {
    fn locate(self, spans: &SourceSpans<'_>, location: Location) -> WithSpan<Yaml> {
        let span = spans.span(location);
        let value = match self {
            Self::Null => Yaml::Null,
            Self::Bool(value) => Yaml::Bool(value),
            Self::Number(value) => Yaml::Number(value),
            Self::Text(value) => Yaml::Text(value),
            Self::List(items) => {
                Yaml::List(items.into_iter().map(|i| i.value.locate(spans, i.referenced)).collect())
            }
            Self::Map(entries) => Yaml::Map(
                entries
                    .into_iter()
                    .map(|(k, v)| {
                        let key = WithSpan { span: spans.span(k.referenced), value: k.value };
                        (key, v.value.locate(spans, v.referenced))
                    })
                    .collect(),
            ),
        };
        WithSpan { value, span }
    }
}

/// Converts the YAML reader's locations to byte ranges of `text`.
struct SourceSpans<'a> {
    text: &'a str,
}

impl SourceSpans<'_> {
    fn span(&self, location: Location) -> Range<usize> {
        let span = location.span();
        let to_usize = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        if let (Some(offset), Some(len)) = (span.byte_offset(), span.byte_len()) {
            return to_usize(offset)..to_usize(offset.saturating_add(len));
        }
        let byte = |chars: u64| {
            self.text.char_indices().nth(to_usize(chars)).map_or(self.text.len(), |(byte, _)| byte)
        };
        byte(span.offset())..byte(span.offset().saturating_add(span.len()))
    }
}

impl<'de> Deserialize<'de> for RawYaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawYaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<RawYaml, E> {
        Ok(RawYaml::Null)
    }

    fn visit_none<E>(self) -> Result<RawYaml, E> {
        Ok(RawYaml::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawYaml, D::Error> {
        RawYaml::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawYaml, E> {
        Ok(RawYaml::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<RawYaml, E> {
        // An f64 is inexact beyond 2^53. The limit is 32 bits, which is enough for any pack.
        i32::try_from(value)
            .map(|v| RawYaml::Number(f64::from(v)))
            .map_err(|_| E::custom("number too large"))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<RawYaml, E> {
        u32::try_from(value)
            .map(|v| RawYaml::Number(f64::from(v)))
            .map_err(|_| E::custom("number too large"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<RawYaml, E> {
        Ok(RawYaml::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<RawYaml, E> {
        Ok(RawYaml::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<RawYaml, E> {
        Ok(RawYaml::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawYaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(RawYaml::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawYaml, A::Error> {
        let mut entries: Vec<(Spanned<String>, Spanned<RawYaml>)> = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            if entries.iter().any(|(k, _)| k.value == key.value) {
                return Err(A::Error::custom(format!("duplicate key `{}`", key.value)));
            }
            entries.push((key, map.next_value()?));
        }
        Ok(RawYaml::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_source_positions() {
        let text = "# 中文\npack: guardrails\nrules:\n  - id: 'a'\n    points: -3\n";
        let tree = read(text).unwrap();
        let Yaml::Map(entries) = tree.value else { panic!("a mapping") };
        assert_eq!(&text[entries[0].0.span.clone()], "pack");
        assert_eq!(&text[entries[0].1.span.clone()], "guardrails");
        let Yaml::List(rules) = &entries[1].1.value else { panic!("a list") };
        let Yaml::Map(rule) = &rules[0].value else { panic!("a mapping") };
        assert_eq!(&text[rule[0].1.span.clone()], "'a'");
        assert_eq!(&text[rule[1].1.span.clone()], "-3");
    }

    #[test]
    fn invalid_yaml_and_duplicate_keys_are_refused() {
        assert!(read("pack: [1, 2").is_err());
        assert!(read("a: 1\na: 2").is_err());
    }
}
