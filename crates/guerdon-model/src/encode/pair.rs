//! Sentence pairs: the earlier messages are the first text, the scored message is the second.
//!
//! The tokenizer's own post-processor places the special tokens and the segment ids, such as
//! `[CLS] context [SEP] reply [SEP]` with segments 0 and 1.

use guerdon_types::Message;
use tokenizers::{Encoding, PostProcessor as _, Tokenizer, TruncationDirection};

use crate::encode::tokens::TokenSequence;
use crate::load::input::RolePrefixes;

/// The bytes per token beyond which the start of a context is not tokenized.
const BYTES_PER_TOKEN: usize = 16;

/// The divisor of the limit: a context keeps at least this share, however long the reply is.
const CONTEXT_SHARE: usize = 4;

/// The text form of a pair.
#[derive(Debug)]
pub(crate) struct PairFormat {
    pub(crate) prefix: RolePrefixes,
    pub(crate) separator: String,
}

/// An encoded pair.
#[derive(Debug)]
pub(crate) struct ReadPair {
    pub(crate) tokens: TokenSequence,
    /// Tokens of the context.
    pub(crate) context: usize,
    /// Tokens of the reply.
    pub(crate) reply: usize,
    /// Set if anything was left out.
    pub(crate) cut: bool,
}

impl PairFormat {
    /// Checks that the tokenizer separates the texts of a pair.
    pub(crate) fn check(tokenizer: &Tokenizer) -> Result<(), String> {
        match Self::added_tokens(tokenizer) {
            0 => Err("has no post-processor that separates the texts of a pair, which \
                      format = \"pair\" needs; use the tokenizer.json of a model that was trained on \
                      pairs, or format = \"plain\" or \"chat_template\""
                .to_owned()),
            _ => Ok(()),
        }
    }

    /// The tokens of the dialogue's last message and of the messages before it.
    ///
    /// A pair that is too long loses the oldest tokens of its context. The context keeps a quarter
    /// of the limit; a reply that is longer than the rest keeps its beginning and its end.
    pub(crate) fn encode(
        &self,
        tokenizer: &Tokenizer,
        dialogue: &[Message],
        max_tokens: usize,
        mark_reply: bool,
    ) -> Result<ReadPair, String> {
        let Some((scored, earlier)) = dialogue.split_last() else {
            return Err("the dialogue is empty".to_owned());
        };
        let reply = scored.content.as_str();
        let (context, cut) = self.context(earlier, max_tokens.saturating_mul(BYTES_PER_TOKEN));
        let encode = |text: &str, special| {
            // Offsets are not needed: sequence ids show which tokens are the reply's.
            tokenizer.encode_fast(text, special).map_err(|error| error.to_string())
        };
        let room = max_tokens.saturating_sub(Self::added_tokens(tokenizer));
        let (context, reply) = (encode(&context, false)?, encode(reply, false)?);
        let kept_context =
            context.len().min((room / CONTEXT_SHARE).max(room.saturating_sub(reply.len())));
        let kept_reply = reply.len().min(room - kept_context);
        let dropped = kept_context < context.len() || kept_reply < reply.len();
        let context = keep(context, 0, kept_context);
        let reply = keep(reply, kept_reply.div_ceil(2), kept_reply / 2);
        let pair = tokenizer
            .post_process(context, Some(reply), true)
            .map_err(|error| error.to_string())?;
        Ok(ReadPair {
            tokens: sequence(&pair, mark_reply)?,
            context: kept_context,
            reply: kept_reply,
            cut: dropped || cut,
        })
    }

    /// Number of special tokens that the tokenizer adds to a pair.
    pub(crate) fn added_tokens(tokenizer: &Tokenizer) -> usize {
        tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(true))
    }

    /// The first text, and true if its start was left out because it cannot fit into `max_bytes`.
    fn context(&self, earlier: &[Message], max_bytes: usize) -> (String, bool) {
        let lines: Vec<String> = earlier
            .iter()
            .map(|message| format!("{}{}", self.prefix.of(message.role), message.content))
            .collect();
        let mut text = lines.join(&self.separator);
        let start = text.ceil_char_boundary(text.len().saturating_sub(max_bytes));
        text.drain(..start);
        (text, start > 0)
    }
}

/// The first `head` and the last `tail` tokens of a text.
fn keep(mut text: Encoding, head: usize, tail: usize) -> Encoding {
    if head + tail >= text.len() {
        return text;
    }
    let mut start = text.clone();
    start.truncate(head, 0, TruncationDirection::Right);
    text.truncate(tail, 0, TruncationDirection::Left);
    // What was cut off is kept as further encodings, which a post-processor would join.
    start.take_overflowing();
    text.take_overflowing();
    start.merge_with(text, false);
    start
}

fn sequence(pair: &Encoding, mark_reply: bool) -> Result<TokenSequence, String> {
    let mut tokens = TokenSequence::unmarked(pair.get_ids());
    let segments = pair.get_type_ids();
    if segments.iter().any(|segment| *segment != 0) {
        let segment = |segment: &u32| u8::try_from(*segment).map_err(|error| error.to_string());
        tokens.segments = segments.iter().map(segment).collect::<Result<_, String>>()?;
    }
    if mark_reply {
        let sequences = pair.get_sequence_ids();
        let special = pair.get_special_tokens_mask();
        let mut own = (0..tokens.len()).filter(|at| sequences[*at] == Some(1) && special[*at] == 0);
        if let Some(first) = own.next() {
            tokens.reply = first..own.next_back().unwrap_or(first) + 1;
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use guerdon_types::Role;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::load::files::read_text;

    fn tokenizer(post_processor: Option<&str>) -> Tokenizer {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/heads/tokenizer.json");
        let mut json: serde_json::Value =
            serde_json::from_str(&read_text(std::path::Path::new(file)).unwrap()).unwrap();
        if let Some(post_processor) = post_processor {
            json["post_processor"] = serde_json::from_str(post_processor).unwrap();
        }
        let mut tokenizer: Tokenizer = json.to_string().parse().unwrap();
        tokenizer.with_padding(None);
        tokenizer.set_encode_special_tokens(true);
        tokenizer
    }

    /// The post-processors of BERT's and RoBERTa's tokenizers, and the template of the fixture.
    const POST_PROCESSORS: [Option<&str>; 3] = [
        None,
        Some(r#"{"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}"#),
        Some(
            r#"{"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2],
               "trim_offsets": true, "add_prefix_space": false}"#,
        ),
    ];

    fn no_prefix() -> PairFormat {
        let [system, user, assistant, tool] = [(); 4].map(|()| String::new());
        PairFormat {
            prefix: RolePrefixes { system, user, assistant, tool },
            separator: "\n".to_owned(),
        }
    }

    fn text(words: &[usize]) -> String {
        const WORDS: [&str; 6] = ["deal", "480", "meet", "zebra", "[SEP]", "?"];
        words.iter().map(|word| WORDS[word % 6]).collect::<Vec<_>>().join(" ")
    }

    proptest! {
        #[test]
        fn a_pair_is_what_the_tokenizer_makes_of_it_or_a_cut_of_that(
            context in vec(vec(0usize..6, 0..9), 0..4), reply in vec(0usize..6, 0..30),
            max_tokens in 4usize..40, processor in 0usize..3,
        ) {
            let tokenizer = tokenizer(POST_PROCESSORS[processor]);
            let context: Vec<String> = context.iter().map(|words| text(words)).collect();
            let reply = text(&reply);
            let mut dialogue: Vec<Message> =
                context.iter().map(|line| Message::new(Role::User, line.clone())).collect();
            dialogue.push(Message::new(Role::Assistant, reply.clone()));
            let whole = tokenizer.encode((context.join("\n"), reply.clone()), true).unwrap();
            let ReadPair { tokens, cut: truncated, .. } =
                no_prefix().encode(&tokenizer, &dialogue, max_tokens, true).unwrap();
            prop_assert_eq!(truncated, whole.len() > max_tokens);
            prop_assert!(tokens.len() <= max_tokens);
            prop_assert!(tokens.segments.is_empty() || tokens.segments.len() == tokens.len());
            if !truncated {
                prop_assert_eq!(&tokens.ids[..], whole.get_ids());
                let segments: Vec<u32> = tokens.segments.iter().map(|id| u32::from(*id)).collect();
                let all = if segments.is_empty() { vec![0; tokens.len()] } else { segments };
                prop_assert_eq!(&all[..], whole.get_type_ids());
            } else {
                prop_assert_eq!(tokens.len(), max_tokens);
            }
            // The reply keeps its beginning and its end, and the context its end.
            let alone = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
            let (said, kept) = (alone(&reply), &tokens.ids[tokens.reply.clone()]);
            prop_assert!(said.starts_with(&kept[..kept.len().div_ceil(2)]));
            prop_assert!(said.ends_with(&kept[kept.len() - kept.len() / 2..]));
            let room = max_tokens - whole.get_special_tokens_mask().iter().sum::<u32>() as usize;
            let before = alone(&context.join("\n"));
            let context_kept = max_tokens.min(whole.len()) - kept.len() - (max_tokens - room);
            prop_assert!(context_kept >= before.len().min(room / CONTEXT_SHARE));
        }
    }

    #[test]
    fn a_tokenizer_without_a_pair_is_refused() {
        let tokenizer = tokenizer(Some("null"));
        assert!(PairFormat::check(&tokenizer).unwrap_err().contains("format = \"pair\""));
    }

    #[test]
    fn the_start_of_a_context_that_cannot_fit_is_not_tokenized() {
        let tokenizer = tokenizer(None);
        let long = "ä".repeat(100_000) + " deal deal";
        let dialogue = [Message::new(Role::User, long), Message::new(Role::Assistant, "480")];
        let ReadPair { tokens, cut: truncated, .. } =
            no_prefix().encode(&tokenizer, &dialogue, 6, false).unwrap();
        assert!(truncated && tokens.len() == 6);
        let words: Vec<String> =
            tokens.ids.iter().map(|id| tokenizer.id_to_token(*id).unwrap()).collect();
        assert_eq!(words.join(" "), "[CLS] deal deal [SEP] 480 [SEP]");
    }
}
