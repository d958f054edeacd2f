//! `reference.jsonl`: dialogues with the scores that the model's own framework gives them.
//!
//! A row has the fields `messages`, `index` (the scored message) and `score`. `ids` are the token
//! ids of the framework's tokenizer; `truncated` marks a row whose text was cut to the model's
//! limit. `graph_score` is the score of the exported graph in another program, from which only
//! rounding may differ, whatever the error of the graph's weights. Other fields are ignored.

use std::path::{Path, PathBuf};

use guerdon_types::{Finite, Message};
use serde::Deserialize;

use crate::load::files::{read_text, size, verify};
use crate::load::stated_reference::{ModelReference, REFERENCE};
use crate::{Device, Error, Manifest};

/// Size of the largest accepted file. Thousands of dialogues are far smaller.
const MAX_BYTES: u64 = 64 << 20;

/// Allowed difference without a stated error, in standard deviations. It accepts weights stored in
/// 8 bits (0.29 was measured) and refuses wrong positions and padding (2 to 4 were measured).
const UNSTATED: f64 = 0.35;

/// Rounding of another processor or library version, in standard deviations.
const ROUNDING: f64 = 1e-3;

/// Rounding of 16-bit arithmetic on a GPU, in standard deviations.
const GPU_ROUNDING: f64 = 3e-2;

/// The largest difference from a reference score at which a model is accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReferenceTolerance {
    /// The standard deviation of the reference scores; at least 0.001.
    pub deviation: f64,
    /// The allowed difference in standard deviations.
    pub deviations: f64,
    /// True if the manifest states the error of the graph.
    pub is_stated: bool,
}

impl ReferenceTolerance {
    /// The tolerance for a model with the manifest section `stated`, whose reference scores are
    /// `scores`, on `device`.
    #[must_use]
    pub fn new(stated: Option<&ModelReference>, scores: &[f64], device: Device) -> Self {
        let error = stated.and_then(|stated| stated.error).map(Finite::get);
        let rounding = match device {
            Device::Cpu => ROUNDING,
            Device::Cuda(_) => GPU_ROUNDING,
        };
        Self {
            deviation: standard_deviation(scores).max(1e-3),
            deviations: error.map_or(UNSTATED, |error| error * 1.1 + rounding),
            is_stated: error.is_some(),
        }
    }

    /// The tolerance for scores of the same graph in another program, which differ by rounding.
    pub(crate) const fn of_rounding(self, device: Device) -> Self {
        let deviations = match device {
            Device::Cpu => ROUNDING,
            Device::Cuda(_) => GPU_ROUNDING,
        };
        Self { deviations, is_stated: true, ..self }
    }

    /// The allowed difference from the score `expected`. Single precision limits it below.
    #[must_use]
    pub fn allowed(&self, expected: f64) -> f64 {
        (self.deviation * self.deviations).max(1e-5 * expected.abs().max(1.0))
    }
}

fn standard_deviation(scores: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a file has far fewer than 2^52 rows")]
    let count = scores.len().max(1) as f64;
    let mean = scores.iter().sum::<f64>() / count;
    (scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / count).sqrt()
}

/// A dialogue with its reference score, its token ids, or both.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReferenceRow {
    /// The line in the file, counted from 1.
    pub(crate) line: usize,
    pub(crate) messages: Vec<Message>,
    /// The scored message.
    pub(crate) index: usize,
    /// Token ids of the framework's tokenizer.
    pub(crate) ids: Option<Vec<u32>>,
    pub(crate) truncated: bool,
    /// The score of the framework.
    pub(crate) score: Option<f64>,
    /// The score of the same graph in another program.
    pub(crate) graph_score: Option<f64>,
}

/// A line of the file. Earlier files have the scores under other names.
#[derive(Deserialize)]
struct Line {
    messages: Option<Vec<Message>>,
    index: Option<usize>,
    ids: Option<Vec<u32>>,
    #[serde(default)]
    truncated: bool,
    #[serde(alias = "score_torch")]
    score: Option<f64>,
    #[serde(alias = "score_onnx")]
    graph_score: Option<f64>,
}

/// The reference scores of the model in a folder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReferenceScores {
    pub(crate) path: PathBuf,
    pub(crate) rows: Vec<ReferenceRow>,
}

impl ReferenceScores {
    /// Reads the reference scores that `manifest` names, or `reference.jsonl` if the folder has
    /// one. Returns `None` if there is no row with a score or with token ids.
    pub(crate) fn load(folder: &Path, manifest: &Manifest) -> Result<Option<Self>, Error> {
        let stated = manifest.reference.as_ref();
        let path = folder.join(stated.map_or(Path::new(REFERENCE), |stated| &stated.file));
        if stated.is_none() && !path.exists() {
            return Ok(None);
        }
        let refused = |detail| Error::Reference { path: path.clone(), detail };
        let bytes = size(&path)?;
        if bytes > MAX_BYTES {
            return Err(refused(format!("has {bytes} bytes; at most {MAX_BYTES} are accepted")));
        }
        if let Some(hash) = stated.and_then(|stated| stated.sha256.as_ref()) {
            verify(&path, hash)?;
        }
        let rows = parse(&read_text(&path)?).map_err(refused)?;
        Ok((!rows.is_empty()).then_some(Self { path, rows }))
    }
}

/// The rows with a score or with token ids. The error names the line.
fn parse(text: &str) -> Result<Vec<ReferenceRow>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let mut rows = Vec::new();
    for (line, json) in lines {
        let row: Line =
            serde_json::from_str(json).map_err(|error| format!("line {line}: {error}"))?;
        let (graph_score, score) = (row.graph_score, row.score.or(row.graph_score));
        let (Some(messages), Some(index)) = (row.messages, row.index) else { continue };
        if score.is_none() && row.ids.is_none() {
            continue;
        }
        if index >= messages.len() {
            return Err(format!(
                "line {line}: `index` is {index}, but the dialogue has {} messages",
                messages.len()
            ));
        }
        let (ids, truncated) = (row.ids, row.truncated);
        rows.push(ReferenceRow { line, messages, index, ids, truncated, score, graph_score });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_score_are_skipped_and_faults_are_named_by_line() {
        let row = r#"{"messages": [{"role": "user", "content": "a"}], "index": 0"#;
        let rows = parse(&format!(
            "{row}, \"score\": 1.5, \"source\": \"x\"}}\n\n{row}}}\n{row}, \"score_onnx\": 2, \"score_torch\": 3}}\n\
             {row}, \"graph_score\": 4}}\n"
        ))
        .unwrap();
        let read: Vec<(usize, Option<f64>, Option<f64>)> =
            rows.iter().map(|row| (row.line, row.score, row.graph_score)).collect();
        let expected = [(1, Some(1.5), None), (4, Some(3.0), Some(2.0)), (5, Some(4.0), Some(4.0))];
        assert_eq!(read, expected);
        for (text, fault) in [
            (format!("{row}, \"score\": NaN}}"), "line 1: "),
            (format!("\n{row}, \"sco"), "line 2: "),
            (row.replace("\"index\": 0", "\"index\": 1, \"score\": 0}"), "`index` is 1"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(fault), "{error}");
        }
    }

    #[test]
    fn tolerance_follows_the_stated_error_and_the_spread_of_the_scores() {
        let stated: ModelReference = toml::from_str("error = 0.1").unwrap();
        let scores = [-2.0, 2.0];
        let tolerance = ReferenceTolerance::new(Some(&stated), &scores, Device::Cpu);
        assert!((tolerance.allowed(0.0) - 2.0 * 0.111).abs() < 1e-12);
        let unstated = ReferenceTolerance::new(None, &scores, Device::Cpu);
        assert!((unstated.allowed(0.0) - 0.7).abs() < 1e-12 && !unstated.is_stated);
        // Equal scores, and scores so large that single precision rounds them.
        let exact: ModelReference = toml::from_str("error = 0.0").unwrap();
        let flat = ReferenceTolerance::new(Some(&exact), &[5e4, 5e4], Device::Cpu);
        assert!((flat.allowed(5e4) - 0.5).abs() < 1e-12);
        let gpu = ReferenceTolerance::new(Some(&exact), &scores, Device::Cuda(0));
        assert!(gpu.allowed(0.0) > tolerance.allowed(0.0) / 4.0);
        let negative: ModelReference = toml::from_str("error = -1.0").unwrap();
        assert!(negative.check().unwrap_err().contains("`reference.error` is -1"));
    }
}
