//! The final state of an environment compared with the expected one.

use serde_json::Value as Json;

/// The greatest number of characters of a value that a hit reports.
const MAX_CHARS: usize = 60;

/// The first difference between two states, with its path. Unless `equal` is set, the actual state
/// may have more keys. Numbers are compared by value; lists must be equal.
pub(crate) fn difference(expected: &Json, actual: &Json, equal: bool) -> Option<String> {
    differs(expected, actual, equal, "")
}

fn differs(expected: &Json, actual: &Json, equal: bool, path: &str) -> Option<String> {
    let shown = |value: &Json| guerdon_text::cut(&value.to_string(), MAX_CHARS).into_owned();
    let at = if path.is_empty() { "the state" } else { path };
    let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (expected, actual) {
        (Json::Object(wanted), Json::Object(found)) => {
            let missing = wanted.iter().find_map(|(key, value)| match found.get(key) {
                Some(found) => differs(value, found, equal, &inner(key)),
                None => Some(format!("{} is missing, {} expected", inner(key), shown(value))),
            });
            missing.or_else(|| {
                let more = found.keys().find(|key| equal && !wanted.contains_key(*key))?;
                Some(format!("{} is not expected", inner(more)))
            })
        }
        (Json::Array(wanted), Json::Array(found)) if wanted.len() == found.len() => {
            let mut pairs = wanted.iter().zip(found).enumerate();
            pairs.find_map(|(index, (wanted, found))| {
                differs(wanted, found, equal, &inner(&index.to_string()))
            })
        }
        (wanted, found) => {
            let is_same = match (wanted.as_f64(), found.as_f64()) {
                (Some(wanted), Some(found)) => wanted.total_cmp(&found).is_eq(),
                _ => wanted == found,
            };
            let message = || format!("{at} is {}, {} expected", shown(found), shown(wanted));
            (!is_same).then(message)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_differ_at_the_first_path() {
        let expected = json!({ "booking": { "status": "paid", "nights": 2 }, "rooms": [1, 2] });
        let more =
            json!({ "booking": { "status": "paid", "nights": 2.0, "id": 7 }, "rooms": [1, 2] });
        assert_eq!(difference(&expected, &more, false), None);
        let found = |actual: Json, equal| difference(&expected, &actual, equal).unwrap();
        assert_eq!(found(more, true), "booking.id is not expected");
        let open = json!({ "booking": { "status": "open", "nights": 2 }, "rooms": [1, 2] });
        assert_eq!(found(open, false), "booking.status is \"open\", \"paid\" expected");
        let fewer = json!({ "booking": { "status": "paid", "nights": 2 }, "rooms": [1] });
        assert_eq!(found(fewer, false), "rooms is [1], [1,2] expected");
        assert!(found(json!({}), false).starts_with("booking is missing, {"));
        assert!(found(json!(3), true).starts_with("the state is 3, {"));
    }
}
