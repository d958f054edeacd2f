//! The page of the HTTP interface, from the OpenAPI document.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Map, Value};

use super::markdown::{GENERATED, cell, paragraph};

/// The Markdown text of the page.
///
/// # Errors
/// The document has an unexpected form.
pub(super) fn page(openapi: &str) -> anyhow::Result<String> {
    let document: Value = serde_json::from_str(openapi)?;
    let mut text = format!(
        "{GENERATED}# HTTP interface\n\n\
         [openapi/guerdon.v1.json](../../openapi/guerdon.v1.json) is the contract; `/docs` on a running\n\
         server shows it. Errors are [problem documents](problems.md). Bodies may be compressed with gzip\n\
         or zstd. [Limits and access](../explanation/clients.md) describes tokens and limits.\n\n"
    );
    let paths = document["paths"].as_object().context("the document has no paths")?;
    for (title, is_listed) in [("Routes", false), ("Routes of trainers' own protocols", true)] {
        writeln!(text, "## {title}\n")?;
        if is_listed {
            writeln!(
                text,
                "[Trainers](../how-to/trainers/README.md) describes the use of these routes. Each also exists\n\
                 under `/profiles/NAME`.\n"
            )?;
        }
        for (path, methods) in paths {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                let tags = operation["tags"].as_array().into_iter().flatten();
                if tags.into_iter().any(|tag| tag == "trainers") == is_listed {
                    operation_text(&mut text, path, method, operation)?;
                }
            }
        }
    }
    writeln!(text, "## Types\n")?;
    let schemas =
        document["components"]["schemas"].as_object().context("the document has no schemas")?;
    for (name, schema) in schemas {
        write!(text, "### {name}\n\n{}", paragraph(description(schema)))?;
        schema_text(&mut text, schema)?;
    }
    Ok(format!("{}\n", text.trim_end()))
}

fn operation_text(
    text: &mut String,
    path: &str,
    method: &str,
    operation: &Value,
) -> std::fmt::Result {
    let method = method.to_uppercase();
    let summary = operation["summary"].as_str().unwrap_or_default();
    write!(
        text,
        "### `{method} {path}`\n\n{}{}",
        paragraph(summary),
        paragraph(description(operation))
    )?;
    let parameters: Vec<&Value> =
        operation["parameters"].as_array().into_iter().flatten().collect();
    if !parameters.is_empty() {
        writeln!(text, "| parameter | in | type | meaning |\n|---|---|---|---|")?;
        for parameter in parameters {
            writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                parameter["name"].as_str().unwrap_or_default(),
                parameter["in"].as_str().unwrap_or_default(),
                type_name(&parameter["schema"]),
                cell(description(parameter))
            )?;
        }
        text.push('\n');
    }
    let bodies = content(&operation["requestBody"]);
    if !bodies.is_empty() {
        write!(text, "Body: {bodies}.\n\n")?;
    }
    if let Some(responses) = operation["responses"].as_object() {
        writeln!(text, "| status | content | meaning |\n|---|---|---|")?;
        for (status, response) in responses {
            let meaning = cell(description(response));
            writeln!(text, "| {status} | {} | {meaning} |", content(response))?;
        }
        text.push('\n');
    }
    Ok(())
}

/// The types of a body by content type.
fn content(body: &Value) -> String {
    let types = body["content"].as_object().into_iter().flatten();
    let one = |(kind, media): (&String, &Value)| match type_name(&media["schema"]) {
        name if name.is_empty() => format!("`{kind}`"),
        name => format!("{name} (`{kind}`)"),
    };
    types.map(one).collect::<Vec<_>>().join(", ")
}

fn schema_text(text: &mut String, schema: &Value) -> std::fmt::Result {
    if let Some(properties) = schema["properties"].as_object() {
        properties_text(text, schema, properties)?;
    } else if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        write!(text, "One of {}.\n\n", words.join(", "))?;
    } else if let Some(forms) = alternatives(schema) {
        for form in forms {
            let name = type_name(form);
            let about = description(form);
            let separator = if about.is_empty() { "" } else { ": " };
            writeln!(text, "- {name}{separator}{}", cell(about))?;
            if form["properties"].is_object() {
                text.push('\n');
                schema_text(text, form)?;
            }
        }
        text.push('\n');
    } else if let Some(parts) = schema["allOf"].as_array() {
        for part in parts {
            if part["$ref"].is_string() {
                write!(text, "All fields of {}, and:\n\n", type_name(part))?;
            } else {
                schema_text(text, part)?;
            }
        }
    } else {
        let name = type_name(schema);
        if !name.is_empty() {
            write!(text, "A {name}.\n\n")?;
        }
    }
    Ok(())
}

fn properties_text(
    text: &mut String,
    schema: &Value,
    properties: &Map<String, Value>,
) -> std::fmt::Result {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if properties.is_empty() {
        return Ok(());
    }
    writeln!(text, "| field | type | meaning |\n|---|---|---|")?;
    for (name, property) in properties {
        let mark = if required.contains(&name.as_str()) { ", required" } else { "" };
        let about = cell(nested_description(property));
        writeln!(text, "| `{name}` | {}{mark} | {about} |", type_name(property))?;
    }
    text.push('\n');
    Ok(())
}

fn description(value: &Value) -> &str {
    value["description"].as_str().unwrap_or_default()
}

/// The description of a property, or that of its only form that has one.
fn nested_description(property: &Value) -> &str {
    match description(property) {
        "" => alternatives(property)
            .into_iter()
            .flatten()
            .map(description)
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
        own => own,
    }
}

fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array())
}

/// The type of a schema in words, with links to named types.
fn type_name(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(forms) = alternatives(schema) {
        let names: Vec<String> =
            forms.iter().map(type_name).filter(|name| !name.is_empty()).collect();
        return names.join(" or ");
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    }
    if schema["const"].is_string() {
        return format!("`{}`", schema["const"]);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let named = |kind: &str| match kind {
        "array" => match type_name(&schema["items"]) {
            items if items.is_empty() => "list".to_owned(),
            items => format!("list of {items}"),
        },
        "object" => match type_name(&schema["additionalProperties"]) {
            values if values.is_empty() => "object".to_owned(),
            values => format!("object of {values}"),
        },
        other => other.to_owned(),
    };
    kinds.into_iter().map(named).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_are_named_in_words() {
        let list =
            json!({"type": ["array", "null"], "items": {"$ref": "#/components/schemas/Rollout"}});
        assert_eq!(type_name(&list), "list of [Rollout](#rollout) or null");
        assert_eq!(type_name(&json!({"enum": ["a", "b"], "type": "string"})), "`\"a\"` or `\"b\"`");
        assert_eq!(
            type_name(&json!({"type": "object", "additionalProperties": {"type": "string"}})),
            "object of string"
        );
    }
}
