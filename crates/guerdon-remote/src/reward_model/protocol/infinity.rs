//! Infinity, with raw scores. It serves a model with one output as a reranker (`/rerank`) and one with
//! several as a classifier (`/classify`).

use serde::Deserialize;
use serde_json::{Value, json};

use super::exchange::{Raw, pairs, parsed, texts};
use super::numbers::{LabelScore, in_label_order};
use crate::ask::{AskedTurn, Silence};

#[derive(Deserialize)]
struct ClassifyBody {
    data: Vec<Vec<LabelScore>>,
}

#[derive(Deserialize)]
struct RerankBody {
    results: Vec<RerankResult>,
}

#[derive(Deserialize)]
struct RerankResult {
    index: usize,
    relevance_score: Option<f64>,
}

pub(super) fn classify(model: Option<&str>, turns: &[AskedTurn]) -> Vec<u8> {
    with_model(model, json!({ "input": texts(turns), "raw_scores": true }))
}

/// A request about one turn: a prompt and a reply, or a rendered text with an empty second text.
pub(super) fn rerank(model: Option<&str>, turns: &[AskedTurn]) -> Vec<u8> {
    let (prompts, replies) = pairs(turns);
    let (query, document) = match (prompts.first(), replies.first()) {
        (Some(prompt), Some(reply)) => (*prompt, *reply),
        _ => (texts(turns).first().copied().unwrap_or_default(), ""),
    };
    let body = json!({ "query": query, "documents": [document], "raw_scores": true });
    with_model(model, body)
}

fn with_model(model: Option<&str>, mut body: Value) -> Vec<u8> {
    if let Some(model) = model {
        body["model"] = model.into();
    }
    body.to_string().into_bytes()
}

pub(super) fn read_classify(body: &[u8]) -> Result<Vec<Raw>, String> {
    let reply: ClassifyBody = parsed(body)?;
    Ok(reply.data.into_iter().map(in_label_order).collect())
}

pub(super) fn read_rerank(body: &[u8]) -> Result<Vec<Raw>, String> {
    let mut reply: RerankBody = parsed(body)?;
    reply.results.sort_by_key(|result| result.index);
    let raw = |score: Option<f64>| match score {
        Some(score) => Raw::Numbers(vec![score]),
        None => Raw::Silent(Silence::malformed("the reply has no number for this turn")),
    };
    Ok(reply.results.into_iter().map(|result| raw(result.relevance_score)).collect())
}
