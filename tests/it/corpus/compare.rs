//! The rule "add, never break": a reply may gain keys, and must keep every key and value that was
//! recorded.

use serde_json::Value;

/// Keys whose texts are sentences for people. They must be there; their wording may change.
pub(super) const SENTENCES: [&str; 9] = [
    "about",
    "detail",
    "errmsg",
    "error",
    "hint",
    "_ng_failure_judge_error",
    "reason",
    "report",
    "title",
];

/// More of them, in the reports of rule packs and in the information of a server.
const MORE_SENTENCES: [&str; 5] = ["help", "label", "last_reload_error", "message", "note"];

/// Relative distance of two numbers that count as equal. Another machine's `f32` sums differ in
/// their last bits.
const TOLERANCE: f64 = 1e-5;

/// The differences between a recorded reply and another one; none, if the other one keeps all of
/// it.
pub(super) fn differences(recorded: &Value, found: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    compare(recorded, found, "", &mut differences);
    differences
}

fn compare(recorded: &Value, found: &Value, place: &str, differences: &mut Vec<String>) {
    match (recorded, found) {
        (Value::Object(recorded), Value::Object(found)) => {
            for (key, value) in recorded {
                let place = format!("{place}/{key}");
                match found.get(key) {
                    None => differences.push(format!("{place} is missing")),
                    Some(Value::String(_)) if value.is_string() && is_sentence(key) => {}
                    Some(found) => compare(value, found, &place, differences),
                }
            }
        }
        (Value::Array(recorded), Value::Array(found)) => {
            if recorded.len() != found.len() {
                differences.push(format!(
                    "{place} has {} items instead of {}",
                    found.len(),
                    recorded.len()
                ));
            }
            for (index, (recorded, found)) in recorded.iter().zip(found).enumerate() {
                compare(recorded, found, &format!("{place}/{index}"), differences);
            }
        }
        (Value::Number(recorded), Value::Number(found))
            if near(recorded.as_f64(), found.as_f64()) => {}
        (Value::String(recorded), found) if stands_for(recorded, found) => {}
        _ if recorded == found => {}
        _ => differences.push(format!("{place} is {found} instead of {recorded}")),
    }
}

fn is_sentence(key: &str) -> bool {
    SENTENCES.contains(&key) || MORE_SENTENCES.contains(&key)
}

fn near(recorded: Option<f64>, found: Option<f64>) -> bool {
    recorded.zip(found).is_some_and(|(a, b)| (a - b).abs() <= TOLERANCE * a.abs().max(1.0))
}

/// True if `mark` is one of the recorder's marks and `found` is of its kind.
fn stands_for(mark: &str, found: &Value) -> bool {
    match mark {
        "<string>" => found.is_string(),
        "<number>" => found.is_number(),
        "<sha256>" => found.as_str().is_some_and(|text| text.starts_with("sha256:")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn new_keys_and_changed_sentences_are_not_differences() {
        let recorded =
            json!({ "code": "internal", "detail": "it broke", "n": 1.0, "id": "<string>" });
        let found =
            json!({ "code": "internal", "detail": "it failed", "n": 1, "id": "x", "more": [] });
        assert!(differences(&recorded, &found).is_empty());
    }

    #[test]
    fn missing_keys_and_changed_words_or_numbers_are_differences() {
        let recorded = json!({ "a": { "why": "deadline", "n": 1.0, "gone": null }, "list": [1] });
        let found = json!({ "a": { "why": "late", "n": 1.1 }, "list": [] });
        let differences = differences(&recorded, &found);
        let places = ["/a/gone", "/a/n", "/a/why", "/list"];
        assert_eq!(differences.len(), places.len(), "{differences:?}");
        for (difference, place) in differences.iter().zip(places) {
            assert!(difference.starts_with(place), "{difference}");
        }
    }
}
