//! The markup of chat templates: role markers, special tokens and thoughts.
//!
//! Templates are recognised by their markers. Reading takes time linear in the length of the text.
//!
//! | file | templates |
//! |---|---|
//! | `headed.rs` | ChatML (also Qwen's), Llama 3 and 4, Gemma, Phi-4, Granite |
//! | `mistral.rs` | Mistral, Magistral, Llama 2 |
//! | `deepseek.rs` | DeepSeek V2.5, V3 and R1 |
//! | `role_tokens.rs` | GLM, Phi-3, Zephyr, Tulu |
//! | `harmony.rs` | gpt-oss |
//! | `turns.rs` | turns, speakers and markers |
//! | `tokens.rs` | tokens before and after a text |
//! | `thoughts.rs` | thoughts before a reply |

mod deepseek;
mod harmony;
mod headed;
mod mistral;
mod role_tokens;
mod thoughts;
mod tokens;
mod turns;

pub use self::mistral::BRACKET_MARKERS;
pub use self::thoughts::{ReplyText, THOUGHTS_END, THOUGHTS_START, after_thoughts, read_reply};
pub use self::tokens::{BOUNDARY_TOKENS, trim_end_tokens, trim_start_tokens};
pub use self::turns::{MarkedTurn, Speaker};

/// The turns of `text`, or `None` if it has no markers of a known template, or markers that do not
/// fit together. Text before the first marker is the end of a truncated turn and is left out;
/// DeepSeek's template has the system prompt there.
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
    // The first marker decides: a later one of another template is content.
    let found = TEMPLATES.iter().filter_map(|template| Some(((template.find)(text)?, template)));
    let (first, template) = found.min_by_key(|(first, _)| *first)?;
    (template.turns)(text, first)
}

/// A family of templates.
struct Template {
    /// The offset of the first marker.
    find: fn(&str) -> Option<usize>,
    /// The turns of a text, with the offset of its first marker.
    turns: for<'a> fn(&'a str, usize) -> Option<Vec<MarkedTurn<'a>>>,
}

const TEMPLATES: [Template; 5] = [
    Template { find: headed::find, turns: headed::turns },
    Template { find: mistral::find, turns: mistral::turns },
    Template { find: deepseek::find, turns: deepseek::turns },
    Template { find: role_tokens::find, turns: role_tokens::turns },
    Template { find: harmony::find, turns: harmony::turns },
];

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
