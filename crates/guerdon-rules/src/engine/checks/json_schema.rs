//! JSON Schema for replies and for the arguments of tool calls.
//!
//! The crate `boon` validates: its patterns are those of the crate `regex`, in linear time, and it
//! is given no loader, so that no schema reads a file or an address.

use std::fmt;

use boon::{Compiler, SchemaIndex, Schemas, SchemeUrlLoader};
use serde_json::Value as Json;

use super::CheckHit;
use crate::engine::pattern::states;

/// The name under which a schema is known to the validator.
const NAME: &str = "https://schema.invalid/schema.json";

/// The greatest number of characters of an error that a hit reports.
const MAX_CHARS: usize = 200;

/// The greatest number of values that a schema has with its references replaced by what they refer
/// to. The time of a validation grows with it.
const MAX_PARTS: usize = 5_000;

/// The greatest number of regexes of a schema, and of states of each.
const MAX_PATTERNS: usize = 16;
const MAX_STATES: usize = 512;

/// A compiled schema.
pub(crate) struct CompiledSchema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl fmt::Debug for CompiledSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CompiledSchema")
    }
}

impl CompiledSchema {
    /// Compiles a schema, of draft 2020-12 unless its `$schema` says otherwise.
    ///
    /// # Errors
    /// The reason if it is no schema, or refers to another document.
    pub(crate) fn new(schema: &Json) -> Result<Self, String> {
        Bounds { root: schema, parts: MAX_PARTS, patterns: MAX_PATTERNS }
            .check(schema, &mut Vec::new())?;
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(SchemeUrlLoader::new()));
        compiler.enable_format_assertions();
        let mut schemas = Schemas::new();
        let wrong = |error: boon::CompileError| reason(&format!("{error:#}"));
        compiler.add_resource(NAME, schema.clone()).map_err(wrong)?;
        let index = compiler.compile(NAME, &mut schemas).map_err(wrong)?;
        Ok(Self { schemas, index })
    }

    /// The first way in which a value breaks the schema.
    pub(crate) fn broken(&self, value: &Json) -> Option<String> {
        let error = self.schemas.validate(value, self.index).err()?;
        let mut first = &error;
        while let Some(cause) = first.causes.first() {
            first = cause;
        }
        let place = first.instance_location.to_string();
        let place = if place.is_empty() { "the document".to_owned() } else { place };
        Some(guerdon_text::cut(&format!("{place}: {}", first.kind), MAX_CHARS).into_owned())
    }

    /// A hit if a text is no JSON document that the schema allows.
    pub(crate) fn broken_text(&self, text: &str) -> Option<CheckHit> {
        let detail = match serde_json::from_str::<Json>(text) {
            Ok(value) => self.broken(&value)?,
            Err(error) => format!("not JSON: {error}"),
        };
        Some(CheckHit { spans: Vec::new(), detail })
    }
}

/// The bounds of a schema that are left while its values are counted.
struct Bounds<'s> {
    root: &'s Json,
    parts: usize,
    patterns: usize,
}

impl<'s> Bounds<'s> {
    /// Counts the values of `schema`. `open` are the references that lead to it.
    fn check(&mut self, schema: &'s Json, open: &mut Vec<&'s str>) -> Result<(), String> {
        let left = self.parts.checked_sub(1);
        self.parts = left.ok_or("it is too large with what its references refer to")?;
        match schema {
            Json::Array(items) => items.iter().try_for_each(|item| self.check(item, open)),
            Json::Object(entries) => {
                entries.iter().try_for_each(|(key, value)| self.keyword(key, value, open))
            }
            _ => Ok(()),
        }
    }

    fn keyword(
        &mut self,
        key: &'s str,
        value: &'s Json,
        open: &mut Vec<&'s str>,
    ) -> Result<(), String> {
        match (key, value) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Json::String(to)) => {
                // Other documents are refused by the compiler.
                let Some(pointer) = to.strip_prefix('#') else { return Ok(()) };
                if open.contains(&to.as_str()) {
                    return Err(format!("`{to}` refers to itself"));
                }
                let target = self.root.pointer(pointer);
                let target = target.ok_or_else(|| format!("`{to}` leads nowhere"))?;
                open.push(to);
                self.check(target, open)?;
                open.pop();
                Ok(())
            }
            ("$id", Json::String(_)) if open.is_empty() && self.root.get("$id") == Some(value) => {
                Ok(())
            }
            ("$id" | "$anchor" | "$dynamicAnchor", Json::String(_)) => {
                Err(format!("`{key}` is not read; refer by a path such as #/$defs/price"))
            }
            ("pattern", Json::String(pattern)) => self.pattern(pattern),
            ("patternProperties", Json::Object(entries)) => {
                entries.keys().try_for_each(|pattern| self.pattern(pattern))?;
                self.check(value, open)
            }
            ("enum" | "const" | "default" | "examples", _) => Ok(()),
            _ => self.check(value, open),
        }
    }

    fn pattern(&mut self, pattern: &str) -> Result<(), String> {
        let left = self.patterns.checked_sub(1);
        self.patterns = left.ok_or_else(|| format!("it has more than {MAX_PATTERNS} patterns"))?;
        if states(pattern).is_some_and(|states| states > MAX_STATES) {
            let shown = guerdon_text::cut(pattern, 60);
            return Err(format!("the pattern `{shown}` is too large; lower its repetitions"));
        }
        Ok(())
    }
}

/// The reason of a compiler's error, in one line without the validator's address of the schema.
fn reason(error: &str) -> String {
    let line: Vec<&str> = error.split_whitespace().collect();
    let line = line.join(" ");
    let from = line.find(NAME).map_or(0, |at| at + NAME.len());
    let short = line.get(from..).unwrap_or_default().trim_start_matches(['"', '\'', '#', ':', ' ']);
    guerdon_text::cut(if short.is_empty() { &line } else { short }, MAX_CHARS).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_compared_with_the_schema() {
        let schema = json!({
            "type": "object",
            "required": ["price"],
            "properties": { "price": { "type": "number", "maximum": 500 }, "day": { "format": "date" } },
        });
        let schema = CompiledSchema::new(&schema).unwrap();
        assert_eq!(schema.broken(&json!({ "price": 480 })), None);
        for (value, part) in [
            (json!({}), "price"),
            (json!({ "price": "480" }), "/price"),
            (json!({ "price": 501 }), "/price"),
            (json!({ "price": 1, "day": "soon" }), "/day"),
            (json!([]), "the document"),
        ] {
            let why = schema.broken(&value).unwrap();
            assert!(why.contains(part), "{why}");
        }
        assert!(schema.broken_text("{").unwrap().detail.contains("not JSON"));
    }

    /// A schema whose references double at each level.
    fn doubling(levels: usize) -> Json {
        let level = |at: usize| {
            let next = json!({ "$ref": format!("#/$defs/d{}", at + 1) });
            (format!("d{at}"), json!({ "allOf": [next.clone(), next] }))
        };
        let mut all: serde_json::Map<String, Json> = (0..levels).map(level).collect();
        all.insert(format!("d{levels}"), json!({ "type": "string" }));
        json!({ "$ref": "#/$defs/d0", "$defs": all })
    }

    #[test]
    fn schemas_read_no_other_document_and_are_bounded() {
        for schema in [
            json!({ "$ref": "file:///etc/hostname" }),
            json!({ "$ref": "https://example.com/a.json" }),
            json!({ "$ref": "other.json" }),
            json!({ "type": "nummer" }),
            json!({ "pattern": "(" }),
            json!({ "minLength": -1 }),
            json!({ "pattern": "(?:[a-z]{90}){90}" }),
            json!({ "$ref": "#" }),
            json!({ "$ref": "#/$defs/none" }),
            json!({ "items": { "$id": "x" } }),
            doubling(40),
        ] {
            let why = CompiledSchema::new(&schema).unwrap_err();
            assert!(!why.is_empty(), "{why}");
        }
        let own = json!({ "$defs": { "a": { "type": "string" } }, "$ref": "#/$defs/a" });
        assert!(CompiledSchema::new(&own).unwrap().broken(&json!(3)).is_some());
        assert!(CompiledSchema::new(&doubling(4)).unwrap().broken(&json!(3)).is_some());
    }
}
