//! Tests against scores computed by other programs: NumPy for the tiny model, transformers for the
//! tiny decoder, PyTorch and Python's onnxruntime for the bundled model.

use std::path::Path;
use std::sync::{Arc, Mutex};

use guerdon_types::Message;
use serde::Deserialize;

use crate::encode::tokenize::Encoder;
use crate::load::files::read_text;
use crate::load::manifest::Manifest;
use crate::model::ScoreQuery;
use crate::{BatchEvent, Model, ModelConfig, ModelEvent};

#[derive(Deserialize)]
struct Row {
    messages: Vec<Message>,
    index: usize,
    ids: Vec<u32>,
    truncated: bool,
    /// From NumPy in double precision, or from transformers in single precision.
    score: Option<f32>,
    /// From Python's onnxruntime.
    graph_score: Option<f32>,
}

/// Compares ids exactly, each score of a row within the tolerance of its kind, and each row's score
/// alone with its score among all others within `drift`. Returns the share of tokens that batches
/// computed.
fn compare(config: &ModelConfig, rows: &[Row], drift: f32) -> f64 {
    let folder = &config.path;
    let manifest = Manifest::load(folder).unwrap();
    let encoder = Encoder::load(folder, &manifest).unwrap();
    let batches = Arc::<Mutex<Vec<BatchEvent>>>::default();
    let seen = Arc::clone(&batches);
    let observer = move |event: &ModelEvent| {
        if let ModelEvent::Batch(batch) = event {
            seen.lock().unwrap().push(batch.clone());
        }
    };
    let config = ModelConfig { instances: Some(1), cache: 0, ..config.clone() };
    let model = Model::load(&config, Arc::new(observer)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let score = |row: &Row| {
        let (model, messages, turn) = (Arc::clone(&model), row.messages.clone(), row.index);
        async move {
            let query = ScoreQuery { turns: &[turn], client: 0, deadline: None };
            model.score(messages, query).await[0].clone().unwrap()
        }
    };
    let mut alone = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let encoded = encoder.encode(&row.messages, row.index).unwrap();
        assert_eq!(encoded.tokens.ids[..], row.ids[..], "row {number}");
        assert_eq!(encoded.truncated, row.truncated, "row {number}");
        let scored = runtime.block_on(score(row));
        assert_eq!(
            (scored.tokens, scored.truncated),
            (row.ids.len(), row.truncated),
            "row {number}"
        );
        let near = |expected: Option<f32>, tolerance: f32| {
            let error = expected.map_or(0.0, |expected| (scored.raw.value - expected).abs());
            assert!(error <= tolerance, "row {number}: {} against {expected:?}", scored.raw.value);
        };
        // The bundled graph stores its weights in 4 bits; PyTorch does not.
        near(row.score, if row.graph_score.is_some() { 0.05 } else { 1e-5 });
        // The same engine, possibly of another version or on another processor.
        near(row.graph_score, 1e-4);
        alone.push(scored.raw.value);
    }
    let together = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for (number, row) in rows.iter().enumerate() {
            let score = score(row);
            tasks.spawn(async move { (number, score.await.raw.value) });
        }
        tasks.join_all().await
    });
    batches.lock().unwrap().retain(|batch| batch.items > 1);
    assert!(!batches.lock().unwrap().is_empty(), "none of the {} ran with another", rows.len());
    for (number, together) in together {
        assert!(
            (together - alone[number]).abs() <= drift,
            "row {number}: {together} against {}",
            alone[number]
        );
    }
    model.shutdown();
    let sum = |count: fn(&BatchEvent) -> usize| {
        batches.lock().unwrap().iter().map(count).sum::<usize>() as f64
    };
    sum(|batch| batch.computed_tokens) / sum(|batch| batch.tokens)
}

fn rows(folder: &Path) -> Vec<Row> {
    let text = read_text(&folder.join("reference.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn tiny_model_matches_numpy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny");
    let rows = rows(&folder);
    assert!(rows.iter().all(|row| row.score.is_some()) && rows.iter().any(|row| row.truncated));
    compare(&ModelConfig::new(folder), &rows, 1e-6);
}

#[test]
fn packed_decoders_match_transformers_in_any_batch() {
    // Attention over rows and by chunks is exact: a state is computed from the same numbers in any
    // tree. The paged graph is a stand-in for one that needs a GPU; its sums are as long as the
    // longest sequence's table.
    let models = [
        ("tiny-decoder", None, 0.0),
        ("tiny-decoder-cpu", None, 0.0),
        ("tiny-decoder-paged", Some(16), 1e-6),
    ];
    for (folder, block_size, drift) in models {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
        let rows = rows(&folder);
        assert!(rows.iter().all(|row| row.score.is_some()));
        let computed =
            compare(&ModelConfig { block_size, ..ModelConfig::new(folder) }, &rows, drift);
        assert!(
            computed < 0.8,
            "{computed} of the tokens were computed, although most are in shared prompts"
        );
    }
}

#[test]
fn bundled_model_matches_python_in_ids_and_scores() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/e5-hh");
    let rows = rows(&folder);
    assert!(rows.iter().all(|row| row.score.is_some() && row.graph_score.is_some()));
    assert!(rows.len() >= 20 && rows.iter().any(|row| row.truncated));
    // Exact: the graph was written so that no sum depends on the batch.
    compare(&ModelConfig::new(folder), &rows, 0.0);
}
