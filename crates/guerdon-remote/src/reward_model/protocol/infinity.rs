//! Infinity's `/classify`, with raw scores.

use serde::Deserialize;
use serde_json::json;

use super::exchange::{Raw, parsed, texts};
use super::numbers::{LabelScore, in_label_order};
use crate::ask::AskedTurn;

#[derive(Deserialize)]
struct InfinityBody {
    data: Vec<Vec<LabelScore>>,
}

pub(super) fn request(model: Option<&str>, turns: &[AskedTurn]) -> Vec<u8> {
    let mut body = json!({ "input": texts(turns), "raw_scores": true });
    if let Some(model) = model {
        body["model"] = model.into();
    }
    body.to_string().into_bytes()
}

pub(super) fn read(body: &[u8]) -> Result<Vec<Raw>, String> {
    let reply: InfinityBody = parsed(body)?;
    Ok(reply.data.into_iter().map(in_label_order).collect())
}
