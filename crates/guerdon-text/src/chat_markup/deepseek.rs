//! DeepSeek's template: `<\u{ff5c}User\u{ff5c}>` and `<\u{ff5c}Assistant\u{ff5c}>`, written with full-width bars.

use super::tokens::trim_start_tokens;
use super::turns::{MarkedTurn, Speaker, first_of, markers};

const MARKERS: &[(&str, Speaker)] = &[
    ("<\u{ff5c}User\u{ff5c}>", Speaker::User),
    ("<\u{ff5c}Assistant\u{ff5c}>", Speaker::Assistant),
    ("<\u{ff5c}System\u{ff5c}>", Speaker::System),
    (TOOLS_BEGIN, Speaker::Tool),
    // The assistant speaks on after the results.
    (TOOLS_END, Speaker::Assistant),
];

const TOOLS_BEGIN: &str = "<\u{ff5c}tool\u{2581}outputs\u{2581}begin\u{ff5c}>";
const TOOLS_END: &str = "<\u{ff5c}tool\u{2581}outputs\u{2581}end\u{ff5c}>";
const TOOL_BEGIN: &str = "<\u{ff5c}tool\u{2581}output\u{2581}begin\u{ff5c}>";
const TOOL_END: &str = "<\u{ff5c}tool\u{2581}output\u{2581}end\u{ff5c}>";
const END: &str = "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>";

pub(super) fn find(text: &str) -> Option<usize> {
    markers(text, '<', MARKERS).next().map(|(at, ..)| at)
}

/// The turns. The text before the first marker is the system prompt.
pub(super) fn turns(text: &str, first: usize) -> Option<Vec<MarkedTurn<'_>>> {
    let mut turns = Vec::new();
    let system = trim_start_tokens(text.get(..first)?);
    if !system.trim().is_empty() {
        turns.push(MarkedTurn { speaker: Speaker::System, content: system, open: false });
    }
    let mut found = markers(text, '<', MARKERS).peekable();
    while let Some((at, marker, speaker)) = found.next() {
        let next = found.peek().map(|(next, ..)| *next);
        let piece = text.get(at + marker.len()..next.unwrap_or(text.len()))?;
        let end = first_of(piece, &[END]);
        let content = end.and_then(|end| piece.get(..end)).unwrap_or(piece);
        let open = end.is_none() && next.is_none();
        let content = match speaker {
            Speaker::Tool => {
                let inner = content.trim().strip_prefix(TOOL_BEGIN).unwrap_or(content);
                inner.strip_suffix(TOOL_END).unwrap_or(inner)
            }
            _ => content,
        };
        // Nothing between the results and the next marker.
        if marker == TOOLS_END && next.is_some() && content.trim().is_empty() {
            continue;
        }
        turns.push(MarkedTurn { speaker, content, open });
    }
    Some(turns)
}
