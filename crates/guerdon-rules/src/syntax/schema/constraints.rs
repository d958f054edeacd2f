//! Constraints of the JSON Schema that types do not express: keys of which exactly one is present,
//! keys that need or exclude others, and the form of names.

use serde_json::{Value as Json, json};

use crate::syntax::parse::predicate::{CHECK_KEYS, FITTING, KINDS, NEAR_KEYS};

/// Adds the constraints to the schema of a file.
pub(super) fn add(schema: &mut Json) {
    // A file with `library:` has the keys of one, so that an editor shows one error for each
    // mistake and not those of both forms.
    if let Json::Object(root) = schema {
        root.remove("anyOf");
        root.insert("if".into(), json!({ "required": ["library"] }));
        root.insert("then".into(), json!({ "$ref": "#/definitions/Library" }));
        root.insert("else".into(), json!({ "$ref": "#/definitions/Pack" }));
        root.insert("type".into(), json!("object"));
    }
    let Some(Json::Object(definitions)) = schema.get_mut("definitions") else { return };
    for (name, constraint) in of_types() {
        let Some(Json::Object(definition)) = definitions.get_mut(name) else { continue };
        for (key, value) in constraint.as_object().into_iter().flatten() {
            definition.insert(key.clone(), value.clone());
        }
    }
    for (name, key, constraint) in of_keys() {
        let path = format!("/{name}/properties/{key}");
        let pointed =
            definitions.get_mut(name).and_then(|of| of.pointer_mut(&format!("/properties/{key}")));
        let Some(Json::Object(property)) = pointed else {
            debug_assert!(false, "no {path}");
            continue;
        };
        for (key, value) in constraint.as_object().into_iter().flatten() {
            property.insert(key.clone(), value.clone());
        }
    }
}

fn one_of(keys: &[&str]) -> Json {
    keys.iter().map(|key| json!({ "required": [key] })).collect()
}

/// Excludes `keys` if `condition` holds.
fn excluding(condition: &Json, keys: &[&str]) -> Json {
    let excluded: serde_json::Map<String, Json> =
        keys.iter().map(|key| ((*key).to_owned(), Json::Bool(false))).collect();
    json!({ "if": condition, "then": { "properties": excluded } })
}

/// Holds if `key` is present with `value`.
fn has(key: &str, value: &Json) -> Json {
    json!({ "required": [key], "properties": { key: { "const": value } } })
}

/// The constraints of types, by name.
fn of_types() -> Vec<(&'static str, Json)> {
    let near = json!({ "within": { "anyOf": one_of(&["near", "not_near"]) } });
    let mut fitting: Vec<Json> = KINDS
        .iter()
        .map(|kind| {
            let other: Vec<&str> = FITTING
                .iter()
                .filter(|(_, kinds)| !kinds.contains(kind))
                .map(|(key, _)| *key)
                .collect();
            excluding(&json!({ "required": [kind] }), &other)
        })
        .collect();
    let mut folded = NEAR_KEYS.to_vec();
    folded.push("unless");
    fitting.push(excluding(&has("fold", &json!(false)), &folded));
    vec![
        (
            "Match",
            json!({ "oneOf": one_of(&KINDS), "allOf": fitting, "dependencies": near.clone() }),
        ),
        ("Number", json!({ "dependencies": near })),
        ("Check", json!({ "oneOf": one_of(CHECK_KEYS) })),
        ("Length", json!({ "anyOf": one_of(&["min", "max"]) })),
        ("ToolCall", json!({ "not": { "required": ["name", "not_name"] } })),
        (
            "ToolCalls",
            json!({
                "oneOf": [
                    { "required": ["order"] },
                    { "required": ["declared"] },
                    { "anyOf": one_of(&["min", "max"]) },
                ],
                "allOf": [
                    excluding(&json!({ "required": ["order"] }), &["name"]),
                    excluding(&json!({ "required": ["declared"] }), &["name"]),
                ],
            }),
        ),
        (
            "JsonSchemaCheck",
            json!({
                "allOf": [{
                    "if": { "not": has("of", &json!("arguments")) },
                    "then": { "properties": { "name": false } },
                }],
            }),
        ),
        ("FullExample", json!({ "anyOf": one_of(&["text", "tool_calls"]) })),
        ("Message", json!({ "anyOf": one_of(&["content", "tool_calls"]) })),
        (
            "Repetition",
            json!({
                "oneOf": one_of(&["ngram", "sentence"]),
                "dependencies": { "ngram": ["share"] },
                "allOf": [excluding(&json!({ "required": ["sentence"] }), &["share", "min"])],
            }),
        ),
        (
            "Rule",
            json!({
                "oneOf": one_of(&["match", "check"]),
                "allOf": [excluding(&has("per", &json!("turn")), &["cap"])],
            }),
        ),
    ]
}

/// The constraints of keys: type, key, constraint.
fn of_keys() -> Vec<(&'static str, &'static str, Json)> {
    let lists = json!({
        "propertyNames": { "pattern": "^[a-z0-9_-]+$" },
        "additionalProperties": filled_list(r"\S"),
    });
    let spellings = json!({
        "propertyNames": { "pattern": r"\S" },
        "additionalProperties": filled_list(r"\S"),
    });
    let facts = json!({ "propertyNames": { "pattern": r"^[^.]+(\.[^.]+)*$" } });
    let mut all = vec![
        ("Rule", "when", json!({ "propertyNames": { "pattern": r"^context\.[^.]+(\.[^.]+)*$" } })),
        ("ToolCalls", "declared", json!({ "const": true })),
        ("ToolCall", "arguments", json!({ "propertyNames": { "pattern": r"^[^.]+(\.[^.]+)*$" } })),
        (
            "Prices",
            "names",
            json!({
                "minProperties": 1,
                "propertyNames": { "pattern": "^[a-z_]+$" },
                "additionalProperties": filled_list("."),
            }),
        ),
    ];
    for of in ["Pack", "Library"] {
        all.push((of, "units", lists.clone()));
        all.push((of, "words", lists.clone()));
        all.push((of, "aliases", spellings.clone()));
        all.push((of, "facts", facts.clone()));
    }
    all
}

/// A list of at least one text that matches `pattern`.
fn filled_list(pattern: &str) -> Json {
    json!({ "type": "array", "minItems": 1, "items": { "type": "string", "pattern": pattern } })
}
