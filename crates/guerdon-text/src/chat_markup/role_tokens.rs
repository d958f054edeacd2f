//! Templates with one token for each role: GLM's, Phi-3's, Zephyr's and Tulu's.

use super::turns::{MarkedTurn, Speaker, first_of, markers, tool_result};

const MARKERS: &[(&str, Speaker)] = &[
    ("<|system|>", Speaker::System),
    ("<|user|>", Speaker::User),
    ("<|assistant|>", Speaker::Assistant),
    ("<|observation|>", Speaker::Tool),
    ("<|tool_response|>", Speaker::Tool),
];

/// Tokens that end a turn. GLM has none: the next turn's marker ends it.
const ENDS: [&str; 3] = ["<|end|>", "</s>", "<|endoftext|>"];

/// A word that GLM's template adds to a user's turn.
const NO_THINK: &str = "/nothink";

pub(super) fn find(text: &str) -> Option<usize> {
    markers(text, '<', MARKERS).next().map(|(at, ..)| at)
}

pub(super) fn turns(text: &str, _: usize) -> Option<Vec<MarkedTurn<'_>>> {
    let mut turns = Vec::new();
    let mut found = markers(text, '<', MARKERS).peekable();
    while let Some((at, marker, speaker)) = found.next() {
        let next = found.peek().map(|(next, ..)| *next);
        let piece = text.get(at + marker.len()..next.unwrap_or(text.len()))?;
        let end = first_of(piece, &ENDS);
        let content = end.and_then(|end| piece.get(..end)).unwrap_or(piece);
        let open = end.is_none() && next.is_none();
        let content = content.strip_prefix('\n').unwrap_or(content);
        // An open turn is what the reply continues.
        let content = if open { content } else { content.trim_end() };
        let content = match speaker {
            Speaker::User => content.strip_suffix(NO_THINK).unwrap_or(content),
            Speaker::Tool => tool_result(content).unwrap_or(content),
            _ => content,
        };
        // GLM's last token is the marker of a turn that was not written.
        if open && speaker != Speaker::Assistant && content.is_empty() && !turns.is_empty() {
            continue;
        }
        turns.push(MarkedTurn { speaker, content, open });
    }
    Some(turns)
}
