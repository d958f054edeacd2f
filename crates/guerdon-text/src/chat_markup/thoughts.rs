//! Thoughts before a reply, which the partner does not read.

use std::borrow::Cow;

use super::harmony;

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

/// The markers of blocks of thoughts: of most models, Magistral, Seed-OSS, Kimi, and EXAONE.
const BLOCKS: [(&str, &str); 5] = [
    (THOUGHTS_START, THOUGHTS_END),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("\u{25c1}think\u{25b7}", "\u{25c1}/think\u{25b7}"),
    ("<thought>", "</thought>"),
];

/// A reply as the partner reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyText<'a> {
    /// The reply without thoughts.
    pub visible: Cow<'a, str>,
    /// True if there were thoughts.
    pub thought: bool,
}

/// Reads a reply as the partner does, without its thoughts:
///
/// - Blocks of thoughts that open the reply are left out. A block without an end was truncated, and
///   the reply is then empty.
/// - If the first marker of a block is its end, the prompt opened the block, and everything up to
///   the marker is left out.
/// - Of a reply in gpt-oss's channels, `final` is kept, and `commentary` that calls no tool.
///
/// ```
/// use guerdon_text::chat_markup::read_reply;
///
/// for written in [
///     "<think>\nA greeting.\n</think>\n\nHello.",
///     "A greeting.\n</think>\n\nHello.",
///     "[THINK]A greeting.[/THINK]Hello.",
///     "<|channel|>analysis<|message|>A greeting.<|end|><|start|>assistant<|channel|>final<|message|>Hello.",
/// ] {
///     let reply = read_reply(written);
///     assert_eq!((&*reply.visible, reply.thought), ("Hello.", true));
/// }
/// assert!(!read_reply("Hello. <think>no</think>").thought);
/// ```
#[must_use]
pub fn read_reply(written: &str) -> ReplyText<'_> {
    if let Some(reply) = harmony::reply_text(written) {
        return ReplyText { visible: reply.visible, thought: reply.thought };
    }
    let closed = if after_block(written).is_none() { after_lone_end(written) } else { None };
    let (mut visible, mut thought) = (closed.unwrap_or(written), closed.is_some());
    while let Some(rest) = after_block(visible) {
        visible = rest;
        thought = true;
    }
    ReplyText { visible: Cow::Borrowed(visible), thought }
}

/// The text after the block that opens `text`.
fn after_block(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let (inside, end) =
        BLOCKS.iter().find_map(|(start, end)| Some((text.strip_prefix(start)?, end)))?;
    Some(inside.split_once(end).map_or("", |(_, after)| without_gap(after)))
}

/// The text after the end of a block that the prompt opened.
fn after_lone_end(text: &str) -> Option<&str> {
    let (start, end) = BLOCKS.iter().find(|(_, end)| text.contains(end))?;
    let (inside, after) = text.split_once(end)?;
    (!inside.contains(start)).then(|| without_gap(after))
}

fn without_gap(after: &str) -> &str {
    after.trim_start_matches(['\n', '\r', ' '])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lone_end_closes_thoughts_that_the_prompt_opened() {
        for (written, visible, thought) in [
            ("A.\n</think>\n\nHello.", "Hello.", true),
            ("A.[/THINK]Hello.", "Hello.", true),
            ("</think>\n\nHello.", "Hello.", true),
            ("A.</think>Hello.</think>x", "Hello.</think>x", true),
            ("<think>a</think>\n<think>b</think>\nHello.", "Hello.", true),
            ("</think><think>A.</think>Hello.", "Hello.", true),
            ("<think>\nA, and so", "", true),
            ("Hello. <think>no</think>", "Hello. <think>no</think>", false),
            ("Hello.", "Hello.", false),
            ("", "", false),
        ] {
            let reply = read_reply(written);
            assert_eq!((&*reply.visible, reply.thought), (visible, thought), "{written}");
        }
    }

    #[test]
    fn channels_are_read_with_and_without_their_markers() {
        let analysis = "<|channel|>analysis<|message|>A.<|end|>";
        let preamble = "<|start|>assistant<|channel|>commentary<|message|>One moment.<|end|>";
        let call = "<|start|>assistant<|channel|>commentary to=functions.rooms <|constrain|>json<|message|>{}<|call|>";
        let last = "<|start|>assistant<|channel|>final<|message|>Hello.<|return|>";
        for (written, visible, thought) in [
            (format!("{analysis}{last}"), "Hello.", true),
            (format!("<|start|>assistant{analysis}{last}"), "Hello.", true),
            (format!("{analysis}{preamble}{last}"), "One moment.\nHello.", true),
            (format!("{analysis}{call}"), "", true),
            (analysis.to_owned(), "", true),
            ("<|channel|>final<|message|>Hello.".to_owned(), "Hello.", false),
            ("analysisA greeting.assistantfinalHello.".to_owned(), "Hello.", true),
            ("analysis of the market".to_owned(), "analysis of the market", false),
        ] {
            let reply = read_reply(&written);
            assert_eq!((&*reply.visible, reply.thought), (visible, thought), "{written}");
        }
    }

    proptest! {
        #[test]
        fn reply_without_markers_is_kept_and_thoughts_never_show(
            thought in "[a-z .\n]{0,20}",
            visible in "[A-Za-z0-9.,?][A-Za-z0-9 .,?\n]{0,20}",
            block in prop::sample::select(BLOCKS.to_vec()),
            is_opened_by_prompt in any::<bool>(),
        ) {
            prop_assume!(!visible.starts_with("analysis"));
            prop_assert_eq!(read_reply(&visible).visible, visible.as_str());
            let (start, end) = block;
            let start = if is_opened_by_prompt { "" } else { start };
            let written = format!("{start}{thought}{end}\n\n{visible}");
            let reply = read_reply(&written);
            prop_assert_eq!(&*reply.visible, visible.as_str());
            prop_assert!(reply.thought);
        }
    }
}
