//! Tokens that mark the beginning, the end or the padding of a text.

/// Tokens that mark the beginning, the end or the padding of a text, in the tokenizers of the known
/// templates.
pub const BOUNDARY_TOKENS: [&str; 25] = [
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "[PAD]",
    "[gMASK]",
    "<sop>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|finetune_right_pad_id|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|eom|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<\u{ff5c}begin\u{2581}of\u{2581}sentence\u{ff5c}>",
    "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>",
    "<\u{ff5c}\u{2581}pad\u{2581}\u{ff5c}>",
];

/// Markers with which GLM ends its turn: those of the next one.
const NEXT_TURN: [&str; 2] = ["<|user|>", "<|observation|>"];

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
    let ends = || BOUNDARY_TOKENS.iter().chain(&NEXT_TURN);
    while let Some(rest) = ends().find_map(|token| text.trim_end().strip_suffix(token)) {
        text = rest;
    }
    text
}
