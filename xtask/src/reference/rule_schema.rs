//! The page of the keys of rule packs, from their JSON schema.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::Value;

use super::markdown::{GENERATED, cell, paragraph};

/// The definitions of files, and the titles of their tables.
const FILES: [(&str, &str); 2] = [("Pack", "A pack"), ("Library", "A file of declarations")];

/// The Markdown text of the page.
///
/// # Errors
/// The schema has an unexpected form.
pub(super) fn page(schema: &str) -> anyhow::Result<String> {
    let schema: Value = serde_json::from_str(schema)?;
    let mut text = format!(
        "{GENERATED}# Keys of rule packs\n\n\
         A rule pack is a YAML file. [Rule packs](rules.md) introduces the language; this page lists its\n\
         keys. [rules/schema.json](../../rules/schema.json) is the same as a JSON schema, which editors\n\
         read.\n\n"
    );
    let definitions = schema["definitions"].as_object().context("the schema has no definitions")?;
    for (name, title) in FILES {
        writeln!(text, "## {title}\n")?;
        keys(&mut text, definitions.get(name).with_context(|| format!("no definition {name}"))?)?;
    }
    let parts = definitions.iter().filter(|(name, _)| FILES.iter().all(|(file, _)| file != name));
    for (name, definition) in parts {
        writeln!(text, "## {name}\n")?;
        keys(&mut text, definition)?;
    }
    Ok(format!("{}\n", text.trim_end()))
}

fn keys(text: &mut String, schema: &Value) -> std::fmt::Result {
    let about = schema["description"].as_str().unwrap_or_default();
    text.push_str(&paragraph(about));
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(properties) = schema["properties"].as_object() {
        writeln!(text, "| key | type | meaning |\n|---|---|---|")?;
        for (key, property) in properties {
            let mark = if required.contains(&key.as_str()) { ", required" } else { "" };
            let mut meaning = cell(property["description"].as_str().unwrap_or_default());
            if !property["default"].is_null() && !meaning.contains("Default") {
                write!(meaning, " Default: `{}`.", property["default"])?;
            }
            writeln!(text, "| `{key}` | {}{mark} | {meaning} |", kind(property))?;
        }
        text.push('\n');
    } else {
        let kind = kind(schema);
        if !kind.is_empty() {
            write!(text, "Type: {kind}.\n\n")?;
        }
    }
    Ok(())
}

/// The type of a schema in words, with links to definitions.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for form in ["anyOf", "oneOf", "allOf"] {
        if let Some(forms) = schema[form].as_array() {
            let names: Vec<String> =
                forms.iter().map(kind).filter(|name| !name.is_empty()).collect();
            if !names.is_empty() {
                return names.join(" or ");
            }
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    }
    if !schema["const"].is_null() {
        return format!("`{}`", schema["const"]);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let one = |name: &str| match name {
        "array" => match kind(&schema["items"]) {
            items if items.is_empty() => "list".to_owned(),
            items => format!("list of {items}"),
        },
        "string" => "text".to_owned(),
        "object" => match kind(&schema["additionalProperties"]) {
            values if values.is_empty() => "mapping".to_owned(),
            values => format!("mapping to {values}"),
        },
        "integer" => "whole number".to_owned(),
        "boolean" => "`true` or `false`".to_owned(),
        other => other.to_owned(),
    };
    let named: Vec<String> = kinds.into_iter().filter(|name| *name != "null").map(one).collect();
    named.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_are_named_in_words() {
        let list = json!({"type": ["array", "null"], "items": {"$ref": "#/definitions/Example"}});
        assert_eq!(kind(&list), "list of [Example](#example)");
        assert_eq!(kind(&json!({"type": "integer"})), "whole number");
    }
}
