//! The markup of chat templates: role markers, special tokens and blocks of thoughts.
//!
//! Templates are recognised by their markers: ChatML (also Qwen's), Llama 3, Gemma, and Mistral
//! (also Llama 2's). Reading takes time linear in the length of the text.

/// The speaker of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// The system prompt.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

impl Speaker {
    /// The speaker whom a template or an API calls `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "system" | "developer" => Some(Self::System),
            "user" => Some(Self::User),
            "assistant" | "model" => Some(Self::Assistant),
            "tool" | "ipython" | "function" | "observation" => Some(Self::Tool),
            _ => None,
        }
    }
}

/// A turn in a text with a template's markers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkedTurn<'a> {
    /// The speaker.
    pub speaker: Speaker,
    /// The text without markers.
    pub content: &'a str,
    /// True if no marker ends the turn.
    pub open: bool,
}

/// The turns of `text`, or `None` if it has no markers of a known template, or markers that do not
/// fit together. Text before the first marker is the end of a truncated turn and is left out.
///
/// ```
/// use guerdon_text::chat_markup::{Speaker, marked_turns};
///
/// let turns = marked_turns("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n").unwrap();
/// assert_eq!((turns[0].speaker, turns[0].content), (Speaker::User, "Hi"));
/// assert!(turns[1].open);
/// ```
#[must_use]
pub fn marked_turns(text: &str) -> Option<Vec<MarkedTurn<'_>>> {
    let headed = HEADED.iter().filter_map(|template| {
        let first = text.find(template.start)?;
        Some((first, Some(template)))
    });
    let bracketed = BRACKETS.iter().filter_map(|bracket| Some((text.find(bracket.open)?, None)));
    // The first marker decides: a later one of another template is content.
    let (first, template) = headed.chain(bracketed).min_by_key(|(first, _)| *first)?;
    let text = text.get(first..)?;
    match template {
        Some(template) => headed_turns(text, template),
        None => bracketed_turns(text),
    }
}

/// A template that puts a head with the speaker's name before each turn.
struct HeadedTemplate {
    start: &'static str,
    head_end: &'static str,
    /// Text between a head and its content.
    gap: &'static str,
    ends: &'static [&'static str],
}

const HEADED: [HeadedTemplate; 3] = [
    HeadedTemplate { start: "<|im_start|>", head_end: "\n", gap: "", ends: &["<|im_end|>"] },
    HeadedTemplate {
        start: "<|start_header_id|>",
        head_end: "<|end_header_id|>",
        gap: "\n\n",
        ends: &["<|eot_id|>", "<|eom_id|>"],
    },
    HeadedTemplate { start: "<start_of_turn>", head_end: "\n", gap: "", ends: &["<end_of_turn>"] },
];

fn headed_turns<'a>(text: &'a str, template: &HeadedTemplate) -> Option<Vec<MarkedTurn<'a>>> {
    let mut turns = Vec::new();
    for piece in text.split(template.start).skip(1) {
        let (name, body) = piece.split_once(template.head_end)?;
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
            let inner = turn.content.strip_prefix("<tool_response>\n");
            let inner =
                inner.and_then(|content| content.trim_end().strip_suffix("\n</tool_response>"));
            let tool = |content| MarkedTurn { speaker: Speaker::Tool, content, ..turn };
            Some(inner.map_or(turn, tool))
        }
        _ => Some(turn),
    }
}

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

/// Mistral's turns. Text outside of brackets is the assistant's.
fn bracketed_turns(text: &str) -> Option<Vec<MarkedTurn<'_>>> {
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
pub const BRACKET_MARKERS: [&str; 16] = [
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[gMASK]",
    "[sMASK]",
    "[MASK]",
    "[CLS]",
    "[SEP]",
    "[PAD]",
    "[UNK]",
];

/// Tokens that mark the beginning, the end or the padding of a text, in the tokenizers of the known
/// templates.
pub const BOUNDARY_TOKENS: [&str; 14] = [
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "[PAD]",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|finetune_right_pad_id|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|im_end|>",
    "<end_of_turn>",
];

/// `text` without the boundary tokens before it.
#[must_use]
pub fn trim_start_tokens(mut text: &str) -> &str {
    while let Some(rest) =
        BOUNDARY_TOKENS.iter().find_map(|token| text.trim_start().strip_prefix(token))
    {
        text = rest;
    }
    text
}

/// `text` without the boundary tokens after it.
#[must_use]
pub fn trim_end_tokens(mut text: &str) -> &str {
    while let Some(rest) =
        BOUNDARY_TOKENS.iter().find_map(|token| text.trim_end().strip_suffix(token))
    {
        text = rest;
    }
    text
}

/// The marker that opens a block of thoughts.
pub const THOUGHTS_START: &str = "<think>";

/// The marker that ends a block of thoughts.
pub const THOUGHTS_END: &str = "</think>";

/// The reply after the block of thoughts that opens it, or `None` if no block opens it. A block
/// without an end was truncated, and the reply is then empty.
///
/// ```
/// use guerdon_text::chat_markup::after_thoughts;
///
/// assert_eq!(after_thoughts("<think>\nA greeting.\n</think>\n\nHello."), Some("Hello."));
/// assert_eq!(after_thoughts("Hello."), None);
/// ```
#[must_use]
pub fn after_thoughts(reply: &str) -> Option<&str> {
    let thoughts = reply.trim_start().strip_prefix(THOUGHTS_START)?;
    let after = thoughts.split_once(THOUGHTS_END).map_or("", |(_, after)| after);
    Some(after.trim_start_matches('\n'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_marker_decides_which_template_is_read() {
        let turns = marked_turns("<|im_start|>user\n[INST]x[/INST]<|im_end|>").unwrap();
        assert_eq!((turns.len(), turns[0].content), (1, "[INST]x[/INST]"));
        assert_eq!(marked_turns("no markers"), None);
        assert_eq!(marked_turns("<|im_start|>narrator\nIt rains.<|im_end|>"), None);
    }

    #[test]
    fn every_bracket_is_among_the_markers() {
        for Bracket { open, close, .. } in &BRACKETS {
            assert!(BRACKET_MARKERS.contains(open) && BRACKET_MARKERS.contains(close), "{open}");
        }
    }

    #[test]
    fn a_system_turn_of_dates_alone_is_left_out() {
        let llama = "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: \
                     December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>\
                     <|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>";
        let turns = marked_turns(llama).unwrap();
        assert_eq!((turns.len(), turns[0].speaker), (1, Speaker::User));
    }

    #[test]
    fn boundary_tokens_are_trimmed_from_both_ends() {
        let text = "<|endoftext|> <s>480 </s><pad><pad>\n";
        assert_eq!(trim_end_tokens(trim_start_tokens(text)), "480 ");
    }

    #[test]
    fn a_truncated_block_of_thoughts_leaves_an_empty_reply() {
        assert_eq!(after_thoughts(" <think>They greet, and so"), Some(""));
        assert_eq!(after_thoughts("Hello. <think>no</think>"), None);
    }

    #[test]
    fn many_short_turns_are_read_in_linear_time() {
        let turn = "[INST]a[/INST]b";
        let text = turn.repeat(100_000);
        let start = std::time::Instant::now();
        assert_eq!(marked_turns(&text).unwrap().len(), 200_000);
        assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn any_mixture_of_markers_is_read_without_panic(
            parts in proptest::collection::vec(
                prop::sample::select(vec![
                    "[INST]", "[/INST]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "<s>", "</s>",
                    "<|im_start|>", "<|im_end|>", "user\n", "assistant\n", "<<SYS>>", "<</SYS>>",
                    "<start_of_turn>", "<end_of_turn>", "[", "<", " ", "价", "<think>", "</think>",
                ]),
                0..30,
            ),
        ) {
            let text = parts.concat();
            for turn in marked_turns(&text).unwrap_or_default() {
                prop_assert!(text.contains(turn.content));
            }
            let _ = after_thoughts(trim_end_tokens(trim_start_tokens(&text)));
        }
    }
}
