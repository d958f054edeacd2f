//! Drafts a rule from a bad reply: the phrase becomes the pattern, the reply the first example.

use std::fmt::Write as _;

use guerdon_types::{Context, Rollout};
use serde_json::Value as Json;

/// A bad reply and the phrase in it.
#[derive(Debug, Clone, Copy)]
pub struct DraftInput<'a> {
    /// The dialogue.
    pub rollout: &'a Rollout,
    /// The index of the message.
    pub turn: usize,
    /// The phrase that the rule is to hit.
    pub phrase: &'a str,
    /// The id of the rule; by default derived from the phrase.
    pub id: Option<&'a str>,
}

/// Returns the draft of a shadow rule in YAML, for the `rules:` of a pack. The author chooses its
/// points.
///
/// # Errors
/// Returns a message if the turn is not in the rollout or the phrase is not in the turn.
pub fn draft(case: DraftInput<'_>) -> Result<String, String> {
    let Some(message) = case.rollout.messages.get(case.turn) else {
        return Err(format!(
            "the dialogue has {} messages, and none is {}",
            case.rollout.messages.len(),
            case.turn
        ));
    };
    let phrase = case.phrase.trim();
    if phrase.is_empty() || !crate::fold(&message.content).contains(crate::fold(phrase).trim()) {
        return Err(format!("message {} does not say {phrase:?}", case.turn));
    }
    let id = case.id.map_or_else(|| slug(phrase), str::to_owned);
    let mut out = String::new();
    let _ = writeln!(out, "  - id: {id}");
    let _ = writeln!(
        out,
        "    about: {}",
        quoted(&format!("Replies must not contain {phrase} - explain why here."))
    );
    out.push_str("    points: -10\n    shadow: true\n");
    let _ = writeln!(out, "    match: {{ any_of: [{}] }}", quoted(phrase));
    out.push_str("    examples:\n      hits:\n");
    let facts = facts(&case.rollout.context);
    if facts.is_empty() {
        let _ = writeln!(out, "        - {}", quoted(&message.content));
    } else {
        let _ = writeln!(out, "        - text: {}", quoted(&message.content));
        let _ = writeln!(out, "          context: {{ {facts} }}");
    }
    let innocent = case
        .rollout
        .messages
        .iter()
        .filter(|other| {
            other.role == message.role
                && !crate::fold(&other.content).contains(crate::fold(phrase).trim())
        })
        .map(|other| other.content.as_str())
        .find(|content| !content.trim().is_empty());
    if let Some(innocent) = innocent {
        let _ = writeln!(out, "      misses:\n        - {}", quoted(innocent));
    }
    Ok(out)
}

/// The scalar context values, in the flow style of YAML.
fn facts(context: &Context) -> String {
    let plain = context
        .iter()
        .filter(|(key, _)| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    let pairs = plain.filter_map(|(key, value)| match value {
        Json::String(text) => Some(format!("{key}: {}", quoted(text))),
        Json::Number(_) | Json::Bool(_) => Some(format!("{key}: {value}")),
        _ => None,
    });
    pairs.collect::<Vec<_>>().join(", ")
}

/// Returns a YAML scalar for `text`.
fn quoted(text: &str) -> String {
    if text.contains(['\n', '\r', '\t']) || text.chars().any(char::is_control) {
        // In double quotes, the escapes of JSON are valid in YAML.
        return serde_json::to_string(text).unwrap_or_default();
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// Derives an id from the Latin letters and digits of a phrase. A phrase without any gets a hash.
fn slug(phrase: &str) -> String {
    let folded = crate::fold(phrase);
    let mut id = String::new();
    for c in folded.chars() {
        if c.is_ascii_alphanumeric() {
            id.push(c);
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    let id: String = id.trim_matches('-').chars().take(48).collect();
    let id = id.trim_matches('-');
    if id.is_empty() {
        let sum = folded
            .bytes()
            .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        return format!("phrase-{sum:08x}");
    }
    id.to_owned()
}
