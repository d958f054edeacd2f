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
/// Returns a message if the turn is not in the rollout, or if the phrase is not in the turn or too
/// short for a rule.
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
    if is_too_short(phrase) {
        let mut why = format!("{phrase:?} is too short: a rule for it would hit many good replies");
        match longer(&crate::fold(&message.content), crate::fold(phrase).trim()) {
            Some(longer) => {
                let _ = write!(why, "\n  help: a longer phrase of this reply is {longer:?}");
            }
            None => why.push_str("\n  help: choose a phrase of several words or characters"),
        }
        return Err(why);
    }
    let id = case.id.map_or_else(|| slug(phrase), str::to_owned);
    let mut out = String::new();
    let _ = writeln!(out, "  - id: {}", if is_plain(&id) { id } else { quoted(&id) });
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

/// Returns true for a single character and for Latin letters or digits that many words contain.
fn is_too_short(phrase: &str) -> bool {
    let folded = crate::fold(phrase);
    let signs = folded.chars().filter(|c| c.is_alphanumeric()).count();
    if folded.is_ascii() { signs < 3 } else { signs < 2 }
}

/// The characters before and after a phrase that a proposal takes along.
const AROUND: usize = 3;

/// The phrase with what stands around it in the reply: whole words and, in Chinese, up to three
/// characters on each side. Both texts are folded.
fn longer(reply: &str, phrase: &str) -> Option<String> {
    let at = reply.find(phrase)?;
    let (before, after) = (reply.get(..at)?, reply.get(at + phrase.len()..)?);
    let mut start = at - taken(before.chars().rev());
    let mut end = at + phrase.len() + taken(after.chars());
    let found = reply.get(start..end)?;
    if is_too_short(found) || found.len() == phrase.len() {
        // A word of its own: the word next to it is taken along.
        let next = reply.get(end..)?;
        let gap = next.len() - next.trim_start_matches(' ').len();
        let word = taken(next.get(gap..)?.chars());
        let previous = reply.get(..start)?;
        let space = previous.len() - previous.trim_end_matches(' ').len();
        if word > 0 {
            end += gap + word;
        } else {
            start -= space + taken(previous.trim_end_matches(' ').chars().rev());
        }
    }
    let found = reply.get(start..end)?.trim();
    (!is_too_short(found) && found != phrase).then(|| found.to_owned())
}

/// The bytes of the characters next to a phrase that belong to it: the rest of a Latin word, or a
/// few Chinese characters.
fn taken(chars: impl Iterator<Item = char>) -> usize {
    let mut ideographs = 0;
    let mut is_latin = false;
    chars
        .take_while(|c| {
            ideographs += usize::from(!c.is_ascii());
            is_latin |= c.is_ascii();
            c.is_alphanumeric() && ideographs <= AROUND && !(is_latin && ideographs > 0)
        })
        .map(char::len_utf8)
        .sum()
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

/// Returns true for an id that every YAML parser reads as a text without quotes: it opens with a
/// letter and is neither a truth value nor null.
fn is_plain(id: &str) -> bool {
    const OTHERS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    id.starts_with(|c: char| c.is_ascii_alphabetic())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && !OTHERS.contains(&id.to_ascii_lowercase().as_str())
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

#[cfg(test)]
mod tests {
    use guerdon_types::{Message, Role};

    use super::*;
    use crate::{RulePacks, SourceText};

    #[test]
    fn a_draft_with_any_id_is_read_back() {
        let ids = ["480", "007", "1e3", "0x1f", "null", "yes", "no", "true", "off", "y", "12e03"];
        for id in ids.into_iter().chain(["plain-id", "two-480", "nullable", "2024-01-01"]) {
            let messages = vec![Message::new(Role::Assistant, "A kickback is fine.")];
            let rollout = Rollout { messages, ..Rollout::default() };
            let case = DraftInput { rollout: &rollout, turn: 0, phrase: "kickback", id: Some(id) };
            let text = format!("pack: p\nrules:\n{}", draft(case).unwrap());
            let packs = RulePacks::compile(&[SourceText::new("p.yaml", &*text)]);
            let (packs, _) = packs.unwrap_or_else(|report| panic!("{id}: {report}"));
            assert_eq!(packs.summaries()[0].rules[0].id, id);
        }
        for plain in ["plain-id", "two-480", "nullable"] {
            assert!(is_plain(plain), "{plain}");
        }
    }
}
