//! Templates that put a head with the speaker's name before each turn.

use super::turns::{MarkedTurn, Speaker, tool_result};

/// A template that puts a head with the speaker's name before each turn.
struct HeadedTemplate {
    start: &'static str,
    head_ends: &'static [&'static str],
    /// Text between a head and its content.
    gap: &'static str,
    ends: &'static [&'static str],
}

const HEADED: [HeadedTemplate; 5] = [
    // Phi-4 ends a head with a token.
    HeadedTemplate {
        start: "<|im_start|>",
        head_ends: &["\n", "<|im_sep|>"],
        gap: "",
        ends: &["<|im_end|>"],
    },
    HeadedTemplate {
        start: "<|start_header_id|>",
        head_ends: &["<|end_header_id|>"],
        gap: "\n\n",
        ends: &["<|eot_id|>", "<|eom_id|>"],
    },
    HeadedTemplate {
        start: "<|header_start|>",
        head_ends: &["<|header_end|>"],
        gap: "\n\n",
        ends: &["<|eot|>", "<|eom|>"],
    },
    HeadedTemplate {
        start: "<start_of_turn>",
        head_ends: &["\n"],
        gap: "",
        ends: &["<end_of_turn>"],
    },
    HeadedTemplate {
        start: "<|start_of_role|>",
        head_ends: &["<|end_of_role|>"],
        gap: "",
        ends: &["<|end_of_text|>"],
    },
];

pub(super) fn find(text: &str) -> Option<usize> {
    HEADED.iter().filter_map(|template| text.find(template.start)).min()
}

pub(super) fn turns(text: &str, first: usize) -> Option<Vec<MarkedTurn<'_>>> {
    let text = text.get(first..)?;
    let template = HEADED.iter().find(|template| text.starts_with(template.start))?;
    let mut turns = Vec::new();
    for piece in text.split(template.start).skip(1) {
        let head_end = template.head_ends.iter().filter_map(|end| Some((piece.find(end)?, end)));
        let (at, head_end) = head_end.min()?;
        let (name, body) = (piece.get(..at)?, piece.get(at + head_end.len()..)?);
        let body = body.strip_prefix(template.gap).unwrap_or(body);
        let end = template.ends.iter().filter_map(|end| body.find(end)).min();
        let content = end.and_then(|end| body.get(..end)).unwrap_or(body);
        let speaker = Speaker::from_name(name.trim())?;
        turns.extend(without_frame(MarkedTurn { speaker, content, open: end.is_none() }));
    }
    Some(turns)
}

/// A turn without additions of its template: the dates that open Llama 3's system turn, and the
/// frame in which Qwen puts a tool's result into a user's turn. `None` for a system turn that has
/// nothing but dates.
fn without_frame(turn: MarkedTurn<'_>) -> Option<MarkedTurn<'_>> {
    match turn.speaker {
        Speaker::System if turn.content.starts_with("Cutting Knowledge Date: ") => {
            let (_, content) = turn.content.split_once("\n\n")?;
            (!content.is_empty()).then_some(MarkedTurn { content, ..turn })
        }
        Speaker::User => {
            let tool = |content| MarkedTurn { speaker: Speaker::Tool, content, ..turn };
            Some(tool_result(turn.content).map_or(turn, tool))
        }
        _ => Some(turn),
    }
}
