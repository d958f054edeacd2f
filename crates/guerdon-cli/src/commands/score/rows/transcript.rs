//! Dialogues written as one text, as in Anthropic's data sets: `Human: ...`, `Assistant: ...`.

use guerdon_types::Role;
use serde_json::{Value, json};

const HUMAN: &str = "\n\nHuman:";
const ASSISTANT: &str = "\n\nAssistant:";

/// The messages of a transcript; `None` if the text is none.
pub(super) fn messages(text: &str) -> Option<Vec<Value>> {
    let text = format!("\n\n{}", text.trim_start());
    if !text.starts_with(HUMAN) {
        return None;
    }
    let mut messages = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (role, body) = match rest.strip_prefix(HUMAN) {
            Some(body) => (Role::User, body),
            None => (Role::Assistant, rest.strip_prefix(ASSISTANT)?),
        };
        let next = [HUMAN, ASSISTANT].into_iter().filter_map(|marker| body.find(marker)).min();
        let (said, after) = body.split_at(next.unwrap_or(body.len()));
        messages.push(message(role, said.trim()));
        rest = after;
    }
    // The end of a prompt is the beginning of a reply.
    messages.pop_if(|last| last["role"] == "assistant" && last["content"] == "");
    Some(messages)
}

/// A message of `role`.
pub(super) fn message(role: Role, content: &str) -> Value {
    json!({ "role": role.as_str(), "content": content })
}
