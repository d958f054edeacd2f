//! A tokenizer that reads no text as a control token.

use std::collections::HashMap;

use serde_json::Value;
use tokenizers::{Encoding, Tokenizer};

use crate::encode::contents::DialogueText;
use crate::encode::control::{ControlTokens, NAME_MARK};

/// A copy of the model's tokenizer in which every control token has a name that no message can
/// spell, in the list of added tokens, in the vocabulary and in the merges. A template's own
/// control tokens are written with these names.
///
/// It is made when a message spells a control token for the first time, because it takes as much
/// memory as the tokenizer.
#[derive(Debug)]
pub(crate) struct NeutralTokenizer {
    tokenizer: Tokenizer,
    names: Vec<String>,
    /// The ids that differ from the model's.
    ids: HashMap<u32, u32>,
}

impl NeutralTokenizer {
    pub(crate) fn of(original: &Tokenizer, control: &ControlTokens) -> Result<Self, String> {
        let failed = |error: String| format!("a tokenizer without control tokens: {error}");
        let mut json = serde_json::to_value(original).map_err(|error| failed(error.to_string()))?;
        let names: Vec<String> = (0..control.tokens().len()).map(name).collect();
        let renamed: HashMap<&str, &str> = control
            .tokens()
            .iter()
            .map(|token| token.text.as_str())
            .zip(names.iter().map(String::as_str))
            .collect();
        for token in json["added_tokens"].as_array_mut().into_iter().flatten() {
            let Some(name) = token["content"].as_str().and_then(|text| renamed.get(text)) else {
                continue;
            };
            token["content"] = Value::from(*name);
            // A normalizer may remove the name's characters.
            token["normalized"] = Value::from(false);
        }
        rename_vocabulary(&mut json["model"], &renamed);
        let text = serde_json::to_string(&json).map_err(|error| failed(error.to_string()))?;
        drop(json);
        let mut tokenizer: Tokenizer =
            text.parse().map_err(|error: tokenizers::Error| failed(error.to_string()))?;
        tokenizer.set_encode_special_tokens(false);
        let mut ids = HashMap::new();
        let mut same = |name: &str, id: u32| match tokenizer.token_to_id(name) {
            Some(found) if found == id => Ok(()),
            Some(found) => {
                ids.insert(found, id);
                Ok(())
            }
            None => Err(failed(format!("token {id} is lost"))),
        };
        for (id, token) in original.get_added_tokens_decoder() {
            same(renamed.get(token.content.as_str()).copied().unwrap_or(&token.content), id)?;
        }
        Ok(Self { tokenizer, names, ids })
    }

    /// The tokenizer, whose ids may differ from the model's.
    pub(crate) const fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model's id of a token.
    pub(crate) fn id(&self, id: u32) -> u32 {
        self.ids.get(&id).copied().unwrap_or(id)
    }

    /// Encodes the text with the control tokens of its skeleton only. In the plain format, special
    /// tokens are not among them, because the tokenizer adds its own. Returns the ids in the
    /// model's numbers, the encoding, and the place in the encoded text of byte `mark` of the text.
    pub(crate) fn encode(
        &self,
        rendered: &DialogueText,
        control: &ControlTokens,
        plain: bool,
        mark: usize,
    ) -> Result<(Vec<u32>, Encoding, usize), String> {
        let DialogueText { text, skeleton, .. } = rendered;
        let mut named = String::with_capacity(text.len());
        let (mut end, mut marked) = (0, None);
        let mut copy = |named: &mut String, from: usize, to: usize| {
            for (place, letter) in text[from..to].char_indices() {
                if from + place >= mark && marked.is_none() {
                    marked = Some(named.len());
                }
                named.push(if letter == NAME_MARK { '\u{FFFD}' } else { letter });
            }
        };
        for (place, token) in control.find(skeleton) {
            if plain && control.tokens()[token].special {
                continue;
            }
            copy(&mut named, end, place.start);
            named.push_str(&self.names[token]);
            end = place.end;
        }
        copy(&mut named, end, text.len());
        let encoding =
            self.tokenizer.encode(named.as_str(), plain).map_err(|error| error.to_string())?;
        let ids = encoding.get_ids().iter().map(|id| self.id(*id)).collect();
        Ok((ids, encoding, marked.unwrap_or(named.len())))
    }
}

/// The name of control token `number`.
fn name(number: usize) -> String {
    format!("{NAME_MARK}{number}{NAME_MARK}")
}

/// Renames tokens in the vocabulary of a tokenizer's model, and removes the merges of them.
fn rename_vocabulary(model: &mut Value, renamed: &HashMap<&str, &str>) {
    let new = |text: &str| renamed.get(text).map(|name| Value::from(*name));
    match &mut model["vocab"] {
        Value::Object(vocabulary) => {
            for (text, name) in renamed {
                if let Some(id) = vocabulary.remove(*text) {
                    vocabulary.insert((*name).to_owned(), id);
                }
            }
        }
        Value::Array(pieces) => {
            for piece in pieces {
                if let Some(name) = piece[0].as_str().and_then(new) {
                    piece[0] = name;
                }
            }
        }
        _ => {}
    }
    if let Some(name) = model["unk_token"].as_str().and_then(new) {
        model["unk_token"] = name;
    }
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or_default().to_owned();
    if let Value::Array(merges) = &mut model["merges"] {
        merges.retain(|merge| {
            let parts = match merge {
                Value::String(pair) => pair.split_once(' '),
                pair => pair[0].as_str().zip(pair[1].as_str()),
            };
            parts.is_none_or(|(left, right)| {
                let joined = format!("{left}{}", right.strip_prefix(&prefix).unwrap_or(right));
                ![left, right, &joined].iter().any(|text| renamed.contains_key(text))
            })
        });
    }
}
