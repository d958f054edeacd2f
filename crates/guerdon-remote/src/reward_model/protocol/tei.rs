//! text-embeddings-inference: `/predict` for texts, `/rerank` for replies to one prompt, with raw
//! scores.

use serde::Deserialize;
use serde_json::json;

use super::exchange::{Raw, pairs, parsed, texts};
use super::numbers::{LabelScore, in_label_order};
use crate::ask::{AskedTurn, Silence};

/// The server's default of `--max-client-batch-size`.
pub(super) const MOST_TEXTS: usize = 32;

/// The labels of each text, or of a single one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Predictions {
    Batch(Vec<Vec<LabelScore>>),
    One(Vec<LabelScore>),
}

#[derive(Deserialize)]
struct RerankRank {
    index: usize,
    score: Option<f64>,
}

pub(super) fn predict(turns: &[AskedTurn]) -> Vec<u8> {
    let inputs: Vec<[&str; 1]> = texts(turns).into_iter().map(|text| [text]).collect();
    json!({ "inputs": inputs, "raw_scores": true }).to_string().into_bytes()
}

pub(super) fn read_predict(body: &[u8]) -> Result<Vec<Raw>, String> {
    Ok(match parsed(body)? {
        Predictions::Batch(batch) => batch.into_iter().map(in_label_order).collect(),
        Predictions::One(labels) => vec![in_label_order(labels)],
    })
}

pub(super) fn rerank(turns: &[AskedTurn]) -> Vec<u8> {
    let (prompts, replies) = pairs(turns);
    let query = prompts.first().copied().unwrap_or_default();
    json!({ "query": query, "texts": replies, "raw_scores": true }).to_string().into_bytes()
}

pub(super) fn read_rerank(body: &[u8], turns: usize) -> Result<Vec<Raw>, String> {
    let ranks: Vec<RerankRank> = parsed(body)?;
    if ranks.len() != turns {
        return Err(format!("the reply has {} ranks for {turns} texts", ranks.len()));
    }
    let mut raw: Vec<Raw> = (0..turns)
        .map(|_| Raw::Silent(Silence::malformed("the reply has no rank for this text")))
        .collect();
    for RerankRank { index, score } in ranks {
        if let (Some(slot), Some(score)) = (raw.get_mut(index), score) {
            *slot = Raw::Numbers(vec![score]);
        }
    }
    Ok(raw)
}
