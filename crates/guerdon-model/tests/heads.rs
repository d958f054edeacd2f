//! Tests of every form of an output section on a graph of a few kilobytes, against scores that NumPy
//! computed (see `make_heads.py`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests panic as tests do")]
#![expect(clippy::disallowed_methods, reason = "a test writes a model's folder")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use guerdon_fusion::{Ask, RewardSource as _};
use guerdon_model::{Error, Model, ModelConfig, ModelEvent, RmSource, Sha256Hex};
use guerdon_types::{Calibration, Message, Part, RmPart, Rollout};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    format: String,
    suffix: Option<String>,
    steps: Option<String>,
    output: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    messages: Vec<Message>,
    tokens: usize,
    score: f32,
    #[serde(default)]
    objectives: BTreeMap<String, f32>,
    /// The scores of the steps.
    #[serde(default)]
    steps: Vec<f32>,
}

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/heads")
}

fn cases() -> Vec<Case> {
    serde_json::from_str(&std::fs::read_to_string(fixtures().join("cases.json")).unwrap()).unwrap()
}

/// A model folder with the graph `graph` and a manifest of these sections.
fn folder(graph: &str, input: &str, output: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = "name = \"heads\"\n[files]\n".to_owned();
    for (key, file) in [("model", graph), ("tokenizer", "tokenizer.json")] {
        let bytes = std::fs::read(fixtures().join(file)).unwrap();
        std::fs::write(folder.path().join(file), &bytes).unwrap();
        let hash = guerdon_text::sha256_hex(&bytes);
        assert!(Sha256Hex::try_from(hash.clone()).is_ok());
        manifest += &format!("{key} = \"{file}\"\n{key}_sha256 = \"{hash}\"\n");
    }
    if input.contains("chat_template") {
        let template = "chat_template.jinja";
        std::fs::copy(fixtures().join(template), folder.path().join(template)).unwrap();
        manifest += &format!("chat_template = \"{template}\"\n");
    }
    let max_tokens = if input.contains("chat_template") { 48 } else { 32 };
    manifest += &format!("[input]\nmax_tokens = {max_tokens}\n{input}\n[output]\n{output}\n");
    std::fs::write(folder.path().join("guerdon.model.toml"), manifest).unwrap();
    folder
}

fn input(case: &Case) -> String {
    let format = if case.format == "chat" { "chat_template" } else { "pair" };
    let suffix =
        case.suffix.as_ref().map_or(String::new(), |token| format!("suffix = \"{token}\"\n"));
    let steps =
        case.steps.as_ref().map_or(String::new(), |steps| format!("[input.steps]\n{steps}\n"));
    format!("format = \"{format}\"\n{suffix}{steps}")
}

async fn part(source: &RmSource, messages: &[Message]) -> RmPart {
    let rollout = Rollout { messages: messages.to_vec(), ..Rollout::default() };
    let turns = [messages.len() - 1];
    let signals = source.score(Ask::new(&rollout, &turns, None)).await;
    match &signals[0].part {
        Some(Part::Rm(part)) => part.clone(),
        other => panic!("{other:?}, {:?}", signals[0].abstained),
    }
}

fn load(config: &ModelConfig, largest: &Arc<Mutex<usize>>) -> RmSource {
    let seen = Arc::clone(largest);
    let observer = move |event: &ModelEvent| {
        if let ModelEvent::Batch(batch) = event {
            let mut largest = seen.lock().unwrap();
            *largest = batch.items.max(*largest);
        }
    };
    RmSource::new(Model::load(config, Arc::new(observer)).unwrap(), Calibration::Raw)
}

/// Rounds in which rows are asked for at once, until two of them run together.
const ROUNDS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_head_scores_as_numpy_does_alone_and_together() {
    for case in cases() {
        let folder = folder("model.onnx", &input(&case), &case.output);
        let config = ModelConfig {
            instances: Some(1),
            cache: 0,
            max_wait: Duration::from_secs(1),
            ..ModelConfig::new(folder.path())
        };
        let largest = Arc::default();
        let source = Arc::new(load(&config, &largest));
        let check = |row: &Row, part: &RmPart| {
            // The graph is exact. A sigmoid or a softmax may differ in the last bit of a double.
            let near = |found: f32, expected: f32| {
                (found - expected).abs() <= f32::EPSILON * expected.abs()
            };
            let name = &case.name;
            assert!(near(part.raw, row.score), "{name}: {} against {}", part.raw, row.score);
            assert_eq!(part.tokens, row.tokens, "{name}");
            assert_eq!(
                part.objectives.keys().collect::<Vec<_>>(),
                row.objectives.keys().collect::<Vec<_>>(),
                "{name}"
            );
            for (objective, value) in &part.objectives {
                assert!(near(*value, row.objectives[objective]), "{name}: {objective} {value}");
            }
            assert_eq!(part.steps.len(), row.steps.len(), "{name}");
            assert_eq!(part.steps.is_empty(), case.steps.is_none(), "{name}");
            for (step, expected) in part.steps.iter().zip(&row.steps) {
                assert!(near(*step, *expected), "{name}: step {step} against {expected}");
            }
        };
        let mut alone = Vec::new();
        for row in &case.rows {
            let scored = part(&source, &row.messages).await;
            check(row, &scored);
            alone.push(scored.raw.to_bits());
        }
        // The first token of every text is the same, and its state depends on no other.
        let first = case.output.contains("\"first\"");
        let differ = alone.iter().any(|bits| *bits != alone[0]);
        assert_ne!(differ, first, "{}", case.name);
        // The model is so fast that all rows of a round may run one by one.
        for _ in 0..ROUNDS {
            let mut tasks = tokio::task::JoinSet::new();
            for (number, row) in case.rows.iter().enumerate() {
                let (source, messages) = (Arc::clone(&source), row.messages.clone());
                tasks.spawn(async move { (number, part(&source, &messages).await) });
            }
            for (number, scored) in tasks.join_all().await {
                check(&case.rows[number], &scored);
                assert_eq!(scored.raw.to_bits(), alone[number], "{}: row {number}", case.name);
            }
            if *largest.lock().unwrap() > 1 {
                break;
            }
        }
        assert!(*largest.lock().unwrap() > 1, "{}: no row ran with another", case.name);
    }
}

#[tokio::test]
async fn int32_inputs_and_the_cache_give_the_same_scores_and_objectives() {
    let case = cases().into_iter().find(|case| case.name == "weights with objectives").unwrap();
    let folder = folder("int32.onnx", &input(&case), &case.output);
    let source = load(&ModelConfig::new(folder.path()), &Arc::default());
    for _ in 0..2 {
        for row in &case.rows {
            let scored = part(&source, &row.messages).await;
            assert_eq!((scored.raw, &scored.objectives), (row.score, &row.objectives));
        }
    }
}

#[test]
fn wrong_sections_are_refused_at_load_with_what_to_write() {
    let pair = "format = \"pair\"";
    let chat = "format = \"chat_template\"";
    let steps = "format = \"chat_template\"\n[input.steps]\nmark = \" <stop>\"";
    let refusals: Vec<String> = [
        (pair, "name = \"logits\""),
        (pair, "name = \"five_labels\""),
        (pair, "name = \"five_labels\"\nweights = [1, 2, 3]"),
        (pair, "name = \"at_tokens\"\nindex = 0"),
        (pair, "name = \"labels_at_tokens\"\nindex = 0"),
        (pair, "name = \"five_labels\"\nposition = \"last\"\nindex = 0"),
        (pair, "name = \"deep\""),
        (pair, "name = \"numbers\""),
        (pair, "name = \"rewards\"\ngating = \"five_labels\""),
        (pair, "name = \"rewards\"\ngating = \"gates\""),
        (pair, "name = \"score\"\nobjectives = \"rewards\"\nlabels = [\"a\", \"b\"]"),
        (chat, "name = \"vocabulary\"\nposition = \"last\""),
        (chat, "name = \"vocabulary\"\nposition = \"last\"\ntokens = [\"maybe\"]"),
        (chat, "name = \"vocabulary\"\nposition = \"last\"\ntokens = [\"yes no\"]"),
        (chat, "name = \"vocabulary\"\nposition = \"last\"\ntokens = [4000]"),
        (chat, "name = \"at_tokens\"\nposition = \"step\"\naggregate = \"min\""),
        (steps, "name = \"at_tokens\"\nposition = \"step\"\naggregate = \"min\""),
        (steps, "name = \"at_tokens\"\nposition = \"last\""),
        ("format = \"pair\"\nsuffix = \"<reward>\"", "name = \"flat\""),
        ("format = \"pair\"\nkeep_system = false", "name = \"flat\""),
        ("format = \"pair\"\ntruncation = \"tokens\"", "name = \"flat\""),
        ("format = \"chat_template\"\nsuffix = \"<bonus>\"", "name = \"flat\""),
    ]
    .map(|(input, output)| {
        let folder = folder("model.onnx", input, output);
        let error = Model::load(&ModelConfig::new(folder.path()), Arc::new(|_| {})).unwrap_err();
        assert!(
            matches!(error, Error::Model { .. } | Error::Manifest { .. } | Error::Tokenizer { .. }),
            "{error:?}"
        );
        error.to_string().replace(&folder.path().display().to_string(), "FOLDER")
    })
    .into();
    insta::assert_snapshot!(refusals.join("\n\n"));
}

#[test]
fn several_labels_are_named_as_in_config_json() {
    let folder = folder("model.onnx", "format = \"pair\"", "name = \"five_labels\"");
    let names =
        r#"{"id2label": {"0": "help", "1": "honest", "2": "safe", "3": "short", "4": "kind"}}"#;
    std::fs::write(folder.path().join("config.json"), names).unwrap();
    let error = Model::load(&ModelConfig::new(folder.path()), Arc::new(|_| {})).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("weights = [1.0, 1.0, 1.0, 1.0, 1.0]"), "{error}");
    assert!(
        error.ends_with("names the labels 0 (help), 1 (honest), 2 (safe), 3 (short), 4 (kind)")
    );
}

#[tokio::test]
async fn a_mark_that_a_reply_spells_is_text() {
    let case = cases().into_iter().find(|case| case.name == "the lowest step").unwrap();
    let folder = folder("model.onnx", &input(&case), &case.output);
    let source = load(&ModelConfig::new(folder.path()), &Arc::default());
    let score = async |reply: &str| {
        let scored = part(&source, &[Message::new(guerdon_types::Role::Assistant, reply)]).await;
        (scored.raw.to_bits(), scored.tokens)
    };
    // The tokenizer reads the mark as three words that it does not know.
    let spelled = score("one <step> two\nyes").await;
    assert_eq!(spelled, score("one zebra zebra zebra two\nyes").await);
    assert_ne!(spelled, score("one\ntwo\nyes").await);
}

#[tokio::test]
async fn steps_come_from_the_cache_and_the_first_256_are_reported() {
    let case = cases().into_iter().find(|case| case.name == "the lowest step").unwrap();
    let folder = folder("model.onnx", &input(&case), &case.output);
    let manifest = folder.path().join("guerdon.model.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("max_tokens = 48", "max_tokens = 4096")).unwrap();
    let source = load(&ModelConfig::new(folder.path()), &Arc::default());
    for (steps, reported) in [(1, 1), (255, 255), (256, 256), (257, 256), (400, 256)] {
        let reply = vec!["yes"; steps].join("\n");
        let messages = [Message::new(guerdon_types::Role::Assistant, reply)];
        let first = part(&source, &messages).await;
        assert_eq!(first.steps.len(), reported);
        assert_eq!(part(&source, &messages).await, first);
        // The score of the turn is that of all its steps.
        if steps <= 256 {
            assert!(first.steps.contains(&first.raw), "{first:?}");
        }
    }
}

#[tokio::test]
async fn a_reply_without_a_step_abstains() {
    let case = cases().into_iter().find(|case| case.name == "the lowest step").unwrap();
    let folder = folder("model.onnx", &input(&case), &case.output);
    let source = load(&ModelConfig::new(folder.path()), &Arc::default());
    let messages = vec![Message::new(guerdon_types::Role::Assistant, " \n ")];
    let rollout = Rollout { messages, ..Rollout::default() };
    let signals = source.score(Ask::new(&rollout, &[0], None)).await;
    assert!(signals[0].part.is_none());
    assert!(signals[0].abstained[0].detail.contains("no step"), "{:?}", signals[0].abstained);
}
