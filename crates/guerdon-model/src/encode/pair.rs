//! Sentence pairs: the earlier messages are the first text, the scored message is the second.
//!
//! The tokenizer's own post-processor places the special tokens and the segment ids, such as
//! `[CLS] context [SEP] reply [SEP]` with segments 0 and 1.

use guerdon_types::Message;
use tokenizers::{Encoding, PostProcessor as _, Tokenizer, TruncationDirection};

use crate::encode::tokens::TokenSequence;
use crate::load::manifest::RolePrefixes;

/// The bytes per token beyond which the start of a context is not tokenized.
const BYTES_PER_TOKEN: usize = 16;

/// The share of the limit, as a divisor, that a context keeps beside a reply of any length.
const CONTEXT_SHARE: usize = 4;

/// The text form of a pair.
#[derive(Debug)]
pub(crate) struct PairFormat {
    pub(crate) prefix: RolePrefixes,
    pub(crate) separator: String,
}

impl PairFormat {
    /// Checks that the tokenizer separates the texts of a pair.
    pub(crate) fn check(tokenizer: &Tokenizer) -> Result<(), String> {
        match added_tokens(tokenizer) {
            0 => Err("has no post-processor that separates the texts of a pair, which \
                      format = \"pair\" needs; use the tokenizer.json of a model that was trained on \
                      pairs, or format = \"plain\" or \"chat_template\""
                .to_owned()),
            _ => Ok(()),
        }
    }

    /// The tokens of the dialogue's last message and of the messages before it, and true if any
    /// were dropped.
    ///
    /// A pair that is too long loses the oldest tokens of its context. The context keeps a quarter
    /// of the limit; a reply that is longer than the rest keeps its beginning and its end.
    pub(crate) fn encode(
        &self,
        tokenizer: &Tokenizer,
        dialogue: &[Message],
        max_tokens: usize,
        mark_reply: bool,
    ) -> Result<(TokenSequence, bool), String> {
        let Some((scored, earlier)) = dialogue.split_last() else {
            return Err("the dialogue is empty".to_owned());
        };
        let reply = scored.content.as_str();
        let (context, cut) = self.context(earlier, max_tokens.saturating_mul(BYTES_PER_TOKEN));
        let encode = |text: &str, special| {
            // Offsets are not needed: sequence ids show which tokens are the reply's.
            tokenizer.encode_fast(text, special).map_err(|error| error.to_string())
        };
        let room = max_tokens.saturating_sub(added_tokens(tokenizer));
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
        Ok((sequence(&pair, mark_reply)?, dropped || cut))
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

/// The special tokens that the tokenizer adds to a pair.
fn added_tokens(tokenizer: &Tokenizer) -> usize {
    tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(true))
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
