//! From a bad case to the draft of a rule: the phrase becomes its pattern, the reply its first example.

use std::fmt::Write as _;

use guerdon_types::{Context, Rollout};
use serde_json::Value as Json;

/// A reply that went wrong.
#[derive(Debug, Clone, Copy)]
pub struct BadCase<'a> {
    /// The dialogue.
    pub rollout: &'a Rollout,
    /// The message in it.
    pub turn: usize,
    /// What should not have been said.
    pub phrase: &'a str,
    /// The rule's id; none: made of the phrase.
    pub id: Option<&'a str>,
}

/// The draft of a rule in YAML, to be put under `rules:` of a pack. On trial, with points to be chosen.
///
/// # Errors
/// In words, if the phrase is not in the turn, or the turn is not in the rollout.
pub fn draft(case: BadCase<'_>) -> Result<String, String> {
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
    let _ =
        writeln!(out, "    about: {}", quoted(&format!("Nobody says {phrase} - say here why.")));
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

/// Facts that a rule may want, in YAML's flow style.
fn facts(context: &Context) -> String {
    let plain = context
        .iter()
        .filter(|(key, _)| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    let told = plain.filter_map(|(key, value)| match value {
        Json::String(text) => Some(format!("{key}: {}", quoted(text))),
        Json::Number(_) | Json::Bool(_) => Some(format!("{key}: {value}")),
        _ => None,
    });
    told.collect::<Vec<_>>().join(", ")
}

/// A YAML scalar that is read back as `text`.
fn quoted(text: &str) -> String {
    if text.contains(['\n', '\r', '\t']) || text.chars().any(char::is_control) {
        // JSON's escapes are YAML's, in double quotes.
        return serde_json::to_string(text).unwrap_or_default();
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// An id of a phrase: its Latin letters and digits; a phrase without any gets a number of its own.
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
