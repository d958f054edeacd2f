//! Rows of a file of dialogues, and a model's scores of them.

use std::path::Path;

use anyhow::{Context as _, ensure};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use guerdon_model::Model;
use guerdon_types::{Rollout, ScoreTurns};
use serde_json::Value;

use crate::commands::setup::{read, runtime, without_mark};

/// A dialogue and, if the file has one, its reference score.
pub(super) struct ReferenceRow {
    pub(super) rollout: Rollout,
    pub(super) expected: Option<f32>,
    /// The score of the same graph in another program.
    pub(super) graph: Option<f32>,
}

/// Reads rollouts in the form of `POST /v1/score`, or the rows of
/// examples/reward-model/reference.py, which have the turn as `index` and its reference scores as
/// `score` and `graph_score`.
pub(super) fn rows(file: &Path) -> anyhow::Result<Vec<ReferenceRow>> {
    let text = read(file)?;
    let lines = without_mark(&text).lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let rows: Vec<ReferenceRow> = lines
        .map(|(number, line)| {
            row(line).with_context(|| format!("{}:{}", file.display(), number + 1))
        })
        .collect::<anyhow::Result<_>>()?;
    ensure!(!rows.is_empty(), "{} has no rollout", file.display());
    Ok(rows)
}

fn row(line: &str) -> anyhow::Result<ReferenceRow> {
    let value: Value = serde_json::from_str(line)?;
    let Some(index) = value.get("index").and_then(Value::as_u64) else {
        let rollout = serde_json::from_value(value)?;
        return Ok(ReferenceRow { rollout, expected: None, graph: None });
    };
    let messages = serde_json::from_value(value.get("messages").cloned().unwrap_or_default())?;
    let score = ScoreTurns::Indices(vec![usize::try_from(index)?]);
    #[expect(clippy::cast_possible_truncation, reason = "a model's score has 32 bits")]
    let number = |keys: &[&str]| {
        keys.iter().find_map(|key| value.get(key).and_then(Value::as_f64)).map(|score| score as f32)
    };
    let expected = number(&["score", "score_torch", "graph_score", "score_onnx"]);
    let rollout = Rollout { messages, score, ..Rollout::default() };
    Ok(ReferenceRow { rollout, expected, graph: number(&["graph_score", "score_onnx"]) })
}

/// The scores of all rows, submitted at once, in order.
pub(super) fn scores_of(model: &Model, rows: &[ReferenceRow]) -> anyhow::Result<Vec<f32>> {
    let mut scored: Vec<(usize, Vec<f32>)> = runtime()?.block_on(async {
        let mut asked: FuturesUnordered<_> = rows
            .iter()
            .enumerate()
            .map(|(place, row)| async move {
                model.raw_scores(&row.rollout).await.map(|scores| (place, scores))
            })
            .collect();
        let mut scored = Vec::with_capacity(rows.len());
        while let Some(answer) = asked.next().await {
            scored.push(answer.map_err(anyhow::Error::msg)?);
        }
        anyhow::Ok(scored)
    })?;
    scored.sort_unstable_by_key(|(place, _)| *place);
    Ok(scored.into_iter().flat_map(|(_, scores)| scores).collect())
}
