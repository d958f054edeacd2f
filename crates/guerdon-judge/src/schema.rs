//! The form of an answer: as a JSON schema that every strict mode takes, and as the example that the prompt shows.
//!
//! `{"findings": {"<criterion>": {"level": <enum>, "evidence": string|null}, …}}`: every property required, no additional
//! ones, a null instead of an absence, and enums instead of bounds. Criteria are keys and not items of a list, because a
//! grammar can then insist on each of them exactly once and on the levels that are its own. A 135M model that is
//! asked for a list repeats its first item until the budget is gone; asked for keys, it answers.

use serde_json::{Map, Value, json};

use crate::prompt::Criterion;

/// The schema of an answer about `criteria`.
pub(crate) fn of(criteria: &[Criterion]) -> Value {
    let finding = |criterion: &Criterion| {
        let levels: Vec<&str> = criterion.levels.iter().map(|level| level.name.as_str()).collect();
        object([
            ("level", json!({"type": "string", "enum": levels})),
            ("evidence", json!({"type": ["string", "null"]})),
        ])
    };
    let findings = object(criteria.iter().map(|criterion| (criterion.id.as_str(), finding(criterion))));
    object([("findings", findings)])
}

fn object<'a>(properties: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let properties: Map<String, Value> =
        properties.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

/// The form as a judge reads it: `{"findings": {"answers": {"level": "yes" | "no", "evidence": "…" | null}}}`.
pub(crate) fn example(criteria: &[Criterion]) -> String {
    let finding = |criterion: &Criterion| {
        let levels: Vec<String> =
            criterion.levels.iter().map(|level| format!("\"{}\"", level.name)).collect();
        format!("\"{}\": {{\"level\": {}, \"evidence\": \"...\" | null}}", criterion.id, levels.join(" | "))
    };
    let findings: Vec<String> = criteria.iter().map(finding).collect();
    format!("{{\"findings\": {{{}}}}}", findings.join(",\n "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PromptText, Prompts};

    #[test]
    fn every_object_of_the_schema_is_strict() {
        fn walk(value: &Value) {
            if value["type"] == "object" {
                let keys: Vec<_> =
                    value["properties"].as_object().unwrap().keys().cloned().map(Value::from).collect();
                assert_eq!(value["required"], Value::from(keys));
                assert_eq!(value["additionalProperties"], false);
                value["properties"].as_object().unwrap().values().for_each(walk);
            }
        }
        let text = include_str!("../../../judge-prompts/empathy.md").to_owned();
        let (prompts, _) = Prompts::compile(&[PromptText { name: "empathy.md".to_owned(), text }]).unwrap();
        let schema = &prompts.rubrics()[0].schema;
        walk(schema);
        let own =
            &schema["properties"]["findings"]["properties"]["no_comfort"]["properties"]["level"]["enum"];
        assert_eq!(own, &json!(["fine", "cold", "harmful"]));
    }
}
