//! Replaces what differs from run to run (ids, hashes, times, addresses) with a mark that stands
//! for any value of its kind.

use serde_json::{Value, json};

use super::case::Request;

/// Keys whose values differ from run to run.
const VARYING: [&str; 5] = ["created", "model_sha", "request_id", "reward_request_id", "version"];

/// A reply as it is recorded.
pub(super) fn normalised(mut reply: Value, request: &Request) -> Value {
    let headers = &mut reply["headers"];
    headers["guerdon-version"] = json!("<string>");
    if !request.headers.contains_key("x-request-id") {
        headers["x-request-id"] = json!("<string>");
    }
    if headers.get("retry-after").is_some() {
        headers["retry-after"] = json!("<string>");
    }
    for key in ["body", "lines"] {
        if let Some(value) = reply.get_mut(key) {
            normalise(value, key);
        }
    }
    reply
}

fn normalise(value: &mut Value, key: &str) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                normalise(value, key);
            }
        }
        Value::Array(list) => {
            for value in list {
                normalise(value, key);
            }
        }
        Value::String(text) if text.starts_with("sha256:") => *value = json!("<sha256>"),
        Value::String(text) if VARYING.contains(&key) || made_of_request_id(key, text) => {
            *value = json!("<string>");
        }
        Value::Number(_) if VARYING.contains(&key) && key != "version" => {
            *value = json!("<number>");
        }
        _ => {}
    }
}

/// True for ids such as `classify-0197…`, which hold the request's id.
fn made_of_request_id(key: &str, text: &str) -> bool {
    key == "id" && text.split(['-', '_']).any(|part| part.len() >= 32)
}
