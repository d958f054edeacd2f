//! gpt-oss's template, harmony: messages with a channel. `analysis` holds thoughts, `commentary`
//! calls and words before them, `final` the reply.

use std::borrow::Cow;

use super::turns::{MarkedTurn, Speaker, first_of};

const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
const ENDS: [&str; 3] = ["<|end|>", "<|return|>", "<|call|>"];

/// The system message of the template itself, and the frame of a developer's.
const TEMPLATE_SYSTEM: &str = "You are ChatGPT, a large language model trained by OpenAI.";
const INSTRUCTIONS: &str = "# Instructions\n\n";
const TOOLS: &str = "# Tools\n";

pub(super) fn find(text: &str) -> Option<usize> {
    text.find(START)
}

/// The turns. Consecutive messages of the assistant are one turn; a turn of several, or of another
/// channel than `final`, keeps their markers, which [`reply_text`] reads.
pub(super) fn turns(text: &str, _: usize) -> Option<Vec<MarkedTurn<'_>>> {
    let mut turns: Vec<MarkedTurn<'_>> = Vec::new();
    // The offset at which the last turn's first message begins, behind its role.
    let mut spoken_from = None;
    let starts: Vec<usize> = text.match_indices(START).map(|(at, _)| at).collect();
    for (place, at) in starts.iter().enumerate() {
        let from = at + START.len();
        let to = starts.get(place + 1).copied().unwrap_or(text.len());
        let piece = text.get(from..to)?;
        let head = piece.split(MESSAGE).next().unwrap_or_default();
        let name = head.split(['<', ' ']).next().unwrap_or_default();
        let is_result = name.contains('.') || head.contains(" to=assistant");
        let speaker = if is_result { Speaker::Tool } else { Speaker::from_name(name)? };
        let body = piece.get(head.len()..)?.strip_prefix(MESSAGE);
        let end = first_of(body.unwrap_or_default(), &ENDS);
        let content = body.map(|body| body.get(..end.unwrap_or(body.len())).unwrap_or(body));
        let open = end.is_none();
        let content = match speaker {
            Speaker::Assistant => {
                let is_final = !head.contains(CHANNEL) || head.contains("final");
                let begun = from + name.len();
                let (start, is_first) = match spoken_from {
                    Some(start) => (start, false),
                    None => (begun, true),
                };
                spoken_from = Some(start);
                let until = match (body, end) {
                    (Some(body), Some(end)) => to - body.len() + end,
                    _ => to,
                };
                let whole = text.get(start..until)?;
                if !is_first {
                    turns.pop();
                }
                if is_first && is_final { content.unwrap_or(whole) } else { whole }
            }
            _ => {
                spoken_from = None;
                content?
            }
        };
        turns.extend(without_frame(MarkedTurn { speaker, content, open }));
    }
    Some(turns)
}

/// A turn without additions of the template; `None` for the template's own system message.
fn without_frame(turn: MarkedTurn<'_>) -> Option<MarkedTurn<'_>> {
    if turn.speaker != Speaker::System {
        return Some(turn);
    }
    if turn.content.starts_with(TEMPLATE_SYSTEM) {
        return None;
    }
    let content = turn.content.strip_prefix(INSTRUCTIONS).unwrap_or(turn.content);
    let content = content.find(TOOLS).and_then(|at| content.get(..at)).unwrap_or(content);
    let content = content.trim_end();
    (!content.is_empty()).then_some(MarkedTurn { content, ..turn })
}

/// A reply in channels, taken apart.
pub(super) struct ChannelReply<'a> {
    /// The messages of the channel `final`, and of `commentary` that call no tool.
    pub(super) visible: Cow<'a, str>,
    /// True if there was a message of the channel `analysis`.
    pub(super) thought: bool,
}

/// Reads a reply that begins with a channel; `None` for another reply.
pub(super) fn reply_text(reply: &str) -> Option<ChannelReply<'_>> {
    let trimmed = reply.trim_start();
    let unnamed = trimmed
        .strip_prefix(START)
        .map_or(trimmed, |rest| rest.strip_prefix("assistant").unwrap_or(rest));
    if !unnamed.starts_with(CHANNEL) && !unnamed.starts_with(" to=") {
        return without_markers(trimmed);
    }
    let mut visible: Cow<'_, str> = Cow::Borrowed("");
    let mut thought = false;
    for piece in unnamed.split(START) {
        let Some((head, body)) = piece.split_once(MESSAGE) else { continue };
        let text = first_of(body, &ENDS).and_then(|end| body.get(..end)).unwrap_or(body);
        let channel = head.split_once(CHANNEL).map_or("final", |(_, channel)| channel);
        if channel.starts_with("analysis") {
            thought = true;
        } else if !head.contains(" to=") {
            if visible.is_empty() {
                visible = Cow::Borrowed(text);
            } else {
                visible = Cow::Owned(format!("{visible}\n{text}"));
            }
        }
    }
    Some(ChannelReply { visible, thought })
}

/// Reads a reply whose special tokens were left out by the tokenizer's decoder:
/// `analysis...assistantfinal...`.
fn without_markers(reply: &str) -> Option<ChannelReply<'_>> {
    let after = reply.strip_prefix("analysis")?;
    let (_, visible) = after.split_once("assistantfinal")?;
    Some(ChannelReply { visible: Cow::Borrowed(visible), thought: true })
}
