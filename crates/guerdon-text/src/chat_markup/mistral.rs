//! Mistral's templates, and Llama 2's: pairs of markers in brackets around all turns but the
//! assistant's.

use super::turns::{MarkedTurn, Speaker};

/// A pair of Mistral's markers.
struct Bracket {
    open: &'static str,
    close: &'static str,
    /// The speaker, or `None` for the list of tools.
    speaker: Option<Speaker>,
}

const BRACKETS: [Bracket; 4] = [
    Bracket { open: "[INST]", close: "[/INST]", speaker: Some(Speaker::User) },
    Bracket { open: "[SYSTEM_PROMPT]", close: "[/SYSTEM_PROMPT]", speaker: Some(Speaker::System) },
    Bracket { open: "[TOOL_RESULTS]", close: "[/TOOL_RESULTS]", speaker: Some(Speaker::Tool) },
    Bracket { open: "[AVAILABLE_TOOLS]", close: "[/AVAILABLE_TOOLS]", speaker: None },
];

/// The end of a turn of Mistral's assistant.
const MISTRAL_END: &str = "</s>";

pub(super) fn find(text: &str) -> Option<usize> {
    BRACKETS.iter().filter_map(|bracket| text.find(bracket.open)).min()
}

/// Mistral's turns. Text outside of brackets is the assistant's.
pub(super) fn turns(text: &str, first: usize) -> Option<Vec<MarkedTurn<'_>>> {
    let text = text.get(first..)?;
    let mut turns = Vec::new();
    let mut rest = text;
    let mut awaits_reply = false;
    while !rest.is_empty() || awaits_reply {
        rest = rest.trim_start().strip_prefix("<s>").unwrap_or(rest);
        let inside = rest.trim_start();
        let bracket =
            BRACKETS.iter().find_map(|bracket| Some((inside.strip_prefix(bracket.open)?, bracket)));
        if let Some((body, Bracket { close, speaker, .. })) = bracket {
            let (content, after) = body.split_once(close)?;
            if let Some(speaker) = speaker {
                push_bracketed(&mut turns, *speaker, content);
            }
            awaits_reply = matches!(speaker, Some(Speaker::User | Speaker::Tool));
            rest = after;
            continue;
        }
        let until = next_mistral_marker(rest).unwrap_or(rest.len());
        let (content, after) = rest.split_at_checked(until)?;
        let ended = after.strip_prefix(MISTRAL_END);
        let content = content.strip_prefix(' ').unwrap_or(content);
        if awaits_reply || !content.trim().is_empty() {
            let speaker = Speaker::Assistant;
            turns.push(MarkedTurn { speaker, content, open: ended.is_none() });
        }
        awaits_reply = false;
        rest = ended.unwrap_or(after);
    }
    Some(turns)
}

/// The offset of the first opening bracket or end marker. Stops at the first one, so that reading a
/// text of many short turns takes linear time.
fn next_mistral_marker(text: &str) -> Option<usize> {
    let is_marker = |rest: &str| {
        rest.starts_with(MISTRAL_END) || BRACKETS.iter().any(|b| rest.starts_with(b.open))
    };
    text.match_indices(['[', '<'])
        .map(|(at, _)| at)
        .find(|at| text.get(*at..).is_some_and(is_marker))
}

/// Adds a turn. Llama 2 puts the system's turn into the first user's.
fn push_bracketed<'a>(turns: &mut Vec<MarkedTurn<'a>>, speaker: Speaker, content: &'a str) {
    let closed =
        |speaker, content: &'a str| MarkedTurn { speaker, content: content.trim(), open: false };
    let system = content
        .trim_start()
        .strip_prefix("<<SYS>>")
        .and_then(|framed| framed.split_once("<</SYS>>"));
    match system {
        Some((system, rest)) if speaker == Speaker::User => {
            turns.extend([closed(Speaker::System, system), closed(Speaker::User, rest)]);
        }
        _ => turns.push(closed(speaker, content)),
    }
}

/// Role markers and special tokens in brackets, of the known templates and of GLM's and BERT's
/// tokenizers. For programs that show a text to a model and must keep it from speaking as another role; the
/// markers in angle brackets all begin with `<`.
pub const BRACKET_MARKERS: [&str; 18] = [
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[THINK]",
    "[/THINK]",
    "[gMASK]",
    "[sMASK]",
    "[MASK]",
    "[CLS]",
    "[SEP]",
    "[PAD]",
    "[UNK]",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bracket_is_among_the_markers() {
        for Bracket { open, close, .. } in &BRACKETS {
            assert!(BRACKET_MARKERS.contains(open) && BRACKET_MARKERS.contains(close), "{open}");
        }
    }
}
