//! Tiny models of every family beside the scores of their own classes in transformers. The files
//! in `families/` are written by `scripts/test_families.py --fixtures`.

#![expect(clippy::unwrap_used, reason = "the helpers of tests panic as tests do")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;
use guerdon_model::{Device, Error, Model, ModelConfig, ReferenceTolerance};
use guerdon_types::{Message, Rollout, ScoreTurns};
use serde_json::Value;

fn families() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/families")
}

/// The models' folders, in order.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = families()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

#[expect(clippy::disallowed_methods, reason = "a test reads its fixtures")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test changes a copy of a model")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// The dialogues of a reference with the framework's scores.
fn rows(folder: &Path) -> Vec<(Rollout, f64)> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let messages: Vec<Message> = serde_json::from_value(row["messages"].clone()).unwrap();
        let index = usize::try_from(row["index"].as_u64().unwrap()).unwrap();
        let score = ScoreTurns::Indices(vec![index]);
        (Rollout { messages, score, ..Rollout::default() }, row["score"].as_f64().unwrap())
    };
    read(&folder.join("reference.jsonl")).lines().map(row).collect()
}

fn load(folder: &Path) -> Result<Arc<Model>, Error> {
    let config = ModelConfig { instances: Some(1), cache: 0, ..ModelConfig::new(folder) };
    Model::load(&config, Arc::new(|_| {}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_family_scores_as_transformers_alone_and_in_batches() {
    let folders = folders();
    assert!(folders.len() >= 22, "{}", folders.len());
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let model = load(&folder).unwrap();
        let rows = rows(&folder);
        let expected: Vec<f64> = rows.iter().map(|(_, score)| *score).collect();
        let stated = model.manifest().reference.clone();
        let tolerance = ReferenceTolerance::new(stated.as_ref(), &expected, Device::Cpu);
        // The fixtures differ: a constant would agree with anything near it.
        assert!(tolerance.deviation > 0.01 && tolerance.is_stated, "{name}: {tolerance:?}");
        let mut alone = Vec::new();
        for (rollout, expected) in &rows {
            let score = model.raw_scores(rollout).await.unwrap()[0];
            let difference = (f64::from(score) - expected).abs();
            assert!(difference <= tolerance.allowed(*expected), "{name}: {score} not {expected}");
            alone.push(score);
        }
        let together = join_all(rows.iter().map(|(rollout, _)| model.raw_scores(rollout))).await;
        for (together, alone) in together.into_iter().zip(&alone) {
            let together = together.unwrap()[0];
            assert!(
                (together - alone).abs() <= 1e-5 * alone.abs().max(1.0),
                "{name}: {together} not {alone}"
            );
        }
        model.shutdown();
    }
}

/// A copy of the model in `families/`, with the shared tokenizer `shared`.
fn copy(name: &str, shared: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (families().join(name), folder.path().join("model"));
    std::fs::create_dir(&to).unwrap();
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    std::fs::copy(families().join(shared), folder.path().join(shared)).unwrap();
    folder
}

#[test]
fn wrong_settings_of_a_decoder_are_refused() {
    // Texts end in the padding token, which the framework does not pool.
    let folder = copy("llama-1-right-pad-eos-llama3", "decoder.json");
    let manifest = folder.path().join("model/guerdon.model.toml");
    let text = read(&manifest);
    load(&folder.path().join("model")).unwrap().shutdown();
    write(&manifest, &text.replace("ignored_end = \"</s>\"\n", ""));
    let error = load(&folder.path().join("model")).unwrap_err();
    assert!(matches!(error, Error::Reference { .. }), "{error}");
    assert!(error.to_string().contains("standard deviations away"), "{error}");
    // A token of the template that is not the model's.
    write(&manifest, &text.replace("eos_token = \"</s>\"", "eos_token = \"<s>\""));
    let error = load(&folder.path().join("model")).unwrap_err();
    assert!(error.to_string().contains("chat template"), "{error}");
}

#[test]
fn other_label_than_the_reference_is_refused() {
    let folder = copy("distilbert-5-right-pad-own", "encoder.json");
    let manifest = folder.path().join("model/guerdon.model.toml");
    let text = read(&manifest);
    write(&manifest, &text.replace("index = 4", "index = 3"));
    let error = load(&folder.path().join("model")).unwrap_err();
    assert!(matches!(error, Error::Reference { .. }), "{error}");
}

#[test]
fn wrong_first_position_is_refused() {
    let folder = copy("roberta-1-right-pad-own-positions", "encoder.json");
    let manifest = folder.path().join("model/guerdon.model.toml");
    let text = read(&manifest);
    load(&folder.path().join("model")).unwrap().shutdown();
    for first in ["", "first_position = 1\n", "first_position = 3\n"] {
        write(&manifest, &text.replace("first_position = 2\n", first));
        let error = load(&folder.path().join("model")).unwrap_err();
        assert!(matches!(error, Error::Reference { .. }), "{error}");
        assert!(error.to_string().contains("`input.first_position`"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arithmetic_in_8_bits_has_the_same_bits_in_any_batch() {
    let folder = families().join("bert-1-right-pad-own-int8");
    let model = load(&folder).unwrap();
    assert_eq!(model.manifest().precision, Some(guerdon_model::Precision::Int8));
    let rows = rows(&folder);
    let mut alone = Vec::new();
    for (rollout, _) in &rows {
        alone.push(model.raw_scores(rollout).await.unwrap()[0].to_bits());
    }
    let together = join_all(rows.iter().map(|(rollout, _)| model.raw_scores(rollout))).await;
    let together: Vec<u32> =
        together.into_iter().map(|score| score.unwrap()[0].to_bits()).collect();
    assert_eq!(together, alone);
    model.shutdown();
}

#[test]
fn arithmetic_in_8_bits_without_its_error_or_beyond_it_is_refused() {
    let folder = copy("bert-1-right-pad-own-int8", "encoder.json");
    let path = folder.path().join("model");
    let manifest = path.join("guerdon.model.toml");
    let text = read(&manifest);
    load(&path).unwrap().shutdown();
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("error = ")).collect();
    write(&manifest, &without.join("\n"));
    let error = load(&path).unwrap_err();
    assert!(error.to_string().contains("`precision` = \"int8\" needs [reference]"), "{error}");
    // The graph is less exact than its manifest states.
    let exact: Vec<&str> = text
        .lines()
        .map(|line| if line.starts_with("error = ") { "error = 0.0" } else { line })
        .collect();
    write(&manifest, &exact.join("\n"));
    let error = load(&path).unwrap_err();
    assert!(matches!(error, Error::Reference { .. }), "{error}");
    assert!(error.to_string().contains("standard deviations away"), "{error}");
    // Rows without scores state nothing.
    let rows: Vec<String> = read(&path.join("reference.jsonl"))
        .lines()
        .map(|line| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            row.as_object_mut().unwrap().retain(|key, _| !key.starts_with("score"));
            row.to_string()
        })
        .collect();
    write(&path.join("reference.jsonl"), &rows.join("\n"));
    let unhashed: Vec<&str> = text.lines().filter(|line| !line.starts_with("sha256 = ")).collect();
    write(&manifest, &unhashed.join("\n"));
    let error = load(&path).unwrap_err();
    assert!(error.to_string().contains("no row with a score"), "{error}");
}

#[test]
fn graph_that_scales_by_batch_runs_one_text_at_a_time() {
    let folder = families().join("bert-1-right-pad-own-by-batch");
    let model = load(&folder).unwrap();
    assert!(model.batching().contains("1 sequences"), "{}", model.batching());
    model.shutdown();
    let exact = load(&families().join("bert-1-right-pad-own")).unwrap();
    assert!(!exact.batching().contains("of 1 sequences"), "{}", exact.batching());
    exact.shutdown();
}
