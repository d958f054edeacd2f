//! Tokens that a manifest names.

use tokenizers::Tokenizer;

use crate::load::output::TokenRef;

/// The id of a token. A text that the vocabulary does not have may be the text of one token.
pub(crate) fn token_id(tokenizer: &Tokenizer, token: &TokenRef) -> Result<u32, String> {
    let vocabulary = tokenizer.get_vocab_size(true);
    let text = match token {
        TokenRef::Id(id) if tokenizer.id_to_token(*id).is_some() => return Ok(*id),
        // A model may have more rows than its tokenizer has tokens.
        TokenRef::Id(id) => {
            return Err(format!("the tokenizer has no id {id}; it has {vocabulary} tokens"));
        }
        TokenRef::Text(text) => text,
    };
    if let Some(id) = tokenizer.token_to_id(text) {
        return Ok(id);
    }
    // `encode_fast` returns no texts of the tokens, which the error names.
    let encoding = tokenizer.encode(text.as_str(), false).map_err(|error| error.to_string())?;
    match encoding.get_ids() {
        [id] if !is_unknown(tokenizer, *id) => Ok(*id),
        _ => Err(format!(
            "`{text}` is not one token of the tokenizer, but {}; name one token as tokenizer.json \
             spells it, or give its id",
            encoding
                .get_tokens()
                .iter()
                .take(8)
                .map(|token| format!("`{token}`"))
                .collect::<Vec<_>>()
                .join(", ")
        )),
    }
}

/// True for the token that stands for text outside the vocabulary.
fn is_unknown(tokenizer: &Tokenizer, id: u32) -> bool {
    // No vocabulary has a word for the last private character.
    let unknown = tokenizer.encode_fast("\u{10FFFD}", false);
    unknown.is_ok_and(|unknown| unknown.get_ids() == [id])
}
