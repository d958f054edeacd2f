//! SGLang's `/classify`: the embedding of a reward model is its raw output.

use serde::Deserialize;
use serde_json::json;

use super::exchange::{Raw, parsed, texts};
use super::numbers::NumberList;
use crate::ask::AskedTurn;

#[derive(Deserialize)]
struct SglangVector {
    embedding: NumberList,
}

/// The reply to a list of texts, or to a list of one text.
#[derive(Deserialize)]
#[serde(untagged)]
enum SglangBody {
    Several(Vec<SglangVector>),
    One(SglangVector),
}

pub(super) fn request(model: Option<&str>, turns: &[AskedTurn]) -> Vec<u8> {
    let mut body = json!({ "text": texts(turns) });
    if let Some(model) = model {
        body["model"] = model.into();
    }
    body.to_string().into_bytes()
}

pub(super) fn read(body: &[u8]) -> Result<Vec<Raw>, String> {
    Ok(match parsed(body)? {
        SglangBody::Several(several) => {
            several.into_iter().map(|one| one.embedding.raw()).collect()
        }
        SglangBody::One(one) => vec![one.embedding.raw()],
    })
}
