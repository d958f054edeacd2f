//! End-to-end tests with a real session of ONNX Runtime on models of a few kilobytes (see
//! `make_tiny.py` and `make_pad_pooled.py`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests panic as tests do")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use guerdon_fusion::{Ask, RewardSource as _, SourceVersion};
use guerdon_model::{BatchEvent, BatchOutcome, Error, Model, ModelConfig, ModelEvent, RmSource};
use guerdon_types::{
    AbstainWhy, Calibration, Finite, Message, Part, RmPart, Role, Rollout, Signal, SourceKind,
};

type Events = Arc<Mutex<Vec<BatchEvent>>>;

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny")
}

fn load(config: &ModelConfig) -> (Arc<Model>, Events) {
    let events = Events::default();
    let seen = Arc::clone(&events);
    let observer = move |event: &ModelEvent| {
        if let ModelEvent::Batch(batch) = event {
            seen.lock().unwrap().push(batch.clone());
        }
    };
    (Model::load(config, Arc::new(observer)).unwrap(), events)
}

/// A configuration without a cache and with one device thread.
fn uncached() -> ModelConfig {
    ModelConfig { instances: Some(1), cache: 0, ..ModelConfig::new(tiny()) }
}

/// A dialogue whose length and words vary with `seed`.
fn dialogue(seed: usize) -> Rollout {
    const WORDS: [&str; 7] = ["deal", "480", "not", "breakfast", "?", "four", "zebra"];
    let words = |from: usize| {
        (from..from + 1 + seed % 5).map(|n| WORDS[(n * n + seed) % 7]).collect::<Vec<_>>().join(" ")
    };
    let messages =
        vec![Message::new(Role::User, words(1)), Message::new(Role::Assistant, words(seed))];
    Rollout { messages, ..Rollout::default() }
}

async fn score(source: &RmSource, rollout: &Rollout, deadline: Option<Instant>) -> Vec<Signal> {
    let turns = rollout.turns_to_score().unwrap();
    source.score(Ask::new(rollout, &turns, deadline)).await
}

fn part(signal: &Signal) -> &RmPart {
    match &signal.part {
        Some(Part::Rm(part)) => part,
        other => panic!("{other:?}, {:?}", signal.abstained),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scores_alone_and_padded_agree_within_one_millionth() {
    // Not bit for bit: the graph sums over tokens with ReduceSum, which ONNX Runtime adds in another
    // order for one text than for several. Padding that the mask fails to hide changes a score by far
    // more.
    let alone = {
        let (model, events) = load(&ModelConfig { max_batch: Some(1), ..uncached() });
        let source = RmSource::new(model, Calibration::Raw);
        let mut scores = Vec::new();
        for seed in 0..64 {
            scores.push(part(&score(&source, &dialogue(seed), None).await[0]).raw);
        }
        assert!(events.lock().unwrap().iter().all(|event| event.items == 1));
        scores
    };
    let (model, events) = load(&uncached());
    let source = Arc::new(RmSource::new(model, Calibration::Raw));
    let mut tasks = tokio::task::JoinSet::new();
    for seed in (0..64).rev() {
        let source = Arc::clone(&source);
        tasks.spawn(
            async move { (seed, part(&score(&source, &dialogue(seed), None).await[0]).raw) },
        );
    }
    for (seed, together) in tasks.join_all().await {
        assert!(
            (together - alone[seed]).abs() <= 1e-6,
            "{seed}: {together} against {}",
            alone[seed]
        );
    }
    let events = events.lock().unwrap();
    assert!(
        events.iter().any(|event| event.items > 1 && event.computed_tokens > event.tokens),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_of_one_prompt_compute_the_prompt_once() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A decoder, and an encoder whose context does not attend to the reply.
    for folder in [crates.join("tests/tiny-decoder"), crates.join("../../models/e5-hh")] {
        let config = ModelConfig {
            instances: Some(1),
            max_wait: Duration::from_secs(60),
            cache: 0,
            ..ModelConfig::new(folder)
        };
        let (model, events) = load(&config);
        let source = RmSource::new(model, Calibration::Raw);
        let prompt = Message::new(Role::User, "could we meet at 420 for the two night room ?");
        let rollouts = ["no", "deal", "480 ?", "not two", "call me later"].map(|reply| {
            let messages = vec![prompt.clone(), Message::new(Role::Assistant, reply)];
            Rollout { messages, ..Rollout::default() }
        });
        let signals = join_all(rollouts.iter().map(|rollout| score(&source, rollout, None))).await;
        let scores: Vec<f32> = signals.iter().map(|signals| part(&signals[0]).raw).collect();
        assert!(scores.iter().all(|score| score.is_finite()));
        let events = events.lock().unwrap();
        // One batch, or two if the first rollout was tokenized before the second was polled and
        // hence announced.
        let sum = |count: fn(&BatchEvent) -> usize| events.iter().map(count).sum::<usize>();
        let (computed, tokens) = (sum(|batch| batch.computed_tokens), sum(|batch| batch.tokens));
        assert!(events.len() <= 2 && computed * 4 < tokens * 3, "{events:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test changes a copy of a model")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test changes a copy of a model")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// Replies and their scores in `tests/pad-pooled`: the id of the last word, over 100.
const POOLED: [(&str, f32); 5] = [
    ("alpha", 2.11),
    ("w1 w2 w3 w4 beta", 2.12),
    ("w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 gamma", 2.13),
    ("w5 w6 overflow", 2.15),
    ("w7 w8 w9 w10 w11 w12 delta", 2.14),
];

/// A copy of the model in `tests/pad-pooled`, with `change` applied to its manifest.
fn pad_pooled(change: impl Fn(String) -> String) -> (tempfile::TempDir, ModelConfig) {
    let folder = tempfile::tempdir().unwrap();
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pad-pooled");
    for file in ["model.onnx", "tokenizer.json"] {
        std::fs::copy(original.join(file), folder.path().join(file)).unwrap();
    }
    let manifest = "guerdon.model.toml";
    write(&folder.path().join(manifest), &change(read(&original.join(manifest))));
    let config = ModelConfig {
        instances: Some(1),
        cache: 0,
        max_wait: Duration::from_secs(60),
        ..ModelConfig::new(folder.path())
    };
    (folder, config)
}

/// Scores the replies of `POOLED` at once, compares the scores, and returns the batches.
async fn score_pooled(config: &ModelConfig) -> Vec<BatchEvent> {
    let (model, events) = load(config);
    let source = RmSource::new(model, Calibration::Raw);
    let rollouts = POOLED.map(|(reply, _)| {
        let prompt = Message::new(Role::User, "the room is fine");
        let messages = vec![prompt, Message::new(Role::Assistant, reply)];
        Rollout { messages, ..Rollout::default() }
    });
    let signals = join_all(rollouts.iter().map(|rollout| score(&source, rollout, None))).await;
    for (signals, (reply, expected)) in signals.iter().zip(POOLED) {
        let raw = part(&signals[0]).raw;
        assert!((raw - expected).abs() < 1e-5, "{reply}: {raw} instead of {expected}");
    }
    let events = events.lock().unwrap();
    events.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_padding_token_scores_texts_together_as_alone() {
    let (_folder, config) = pad_pooled(|manifest| manifest);
    let events = score_pooled(&config).await;
    assert!(events.iter().all(|event| event.computed_tokens == event.tokens), "{events:?}");
    assert_eq!(events.iter().map(|event| event.items).sum::<usize>(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifest_padding_token_is_used() {
    let pad = |manifest: String| {
        manifest.replace("max_tokens", "pad_token = \"<|endoftext|>\"\nmax_tokens")
    };
    let (_folder, config) = pad_pooled(pad);
    let events = score_pooled(&config).await;
    assert!(events.iter().any(|event| event.computed_tokens > event.tokens), "{events:?}");
}

#[test]
fn padding_token_that_changes_scores_is_refused() {
    let (_folder, config) =
        pad_pooled(|manifest| manifest.replace("max_tokens", "pad_token = \"!\"\nmax_tokens"));
    insta::assert_snapshot!(without_path(&refusal(&config), &config.path));
    // Without batches nothing is padded.
    Model::load(&ModelConfig { max_batch: Some(1), ..config }, Arc::new(|_| {})).unwrap();

    let (_folder, config) =
        pad_pooled(|manifest| manifest.replace("max_tokens", "pad_token = \"[PAD]\"\nmax_tokens"));
    insta::assert_snapshot!(without_path(&refusal(&config), &config.path));
}

#[test]
fn padding_section_with_a_wrong_id_is_refused() {
    let (folder, config) = pad_pooled(|manifest| manifest);
    let path = folder.path().join("tokenizer.json");
    let section = r#""padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "!"}"#;
    let before = read(&path);
    let text = before.replace("\"padding\": null", section);
    write(&path, &text);
    let manifest = folder.path().join("guerdon.model.toml");
    let [old, new] = [before, text].map(guerdon_text::sha256_hex);
    let changed = read(&manifest).replace(&old, &new);
    write(&manifest, &changed);
    let error = refusal(&config);
    assert!(error.contains("with `!` (id 0)"), "{error}");
}

fn refusal(config: &ModelConfig) -> String {
    Model::load(config, Arc::new(|_| {})).unwrap_err().to_string()
}

/// The text with the model's folder as `MODEL`.
fn without_path(text: &str, folder: &Path) -> String {
    text.replace(&folder.display().to_string(), "MODEL")
}

fn decoder(folder: &str) -> ModelConfig {
    ModelConfig::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder))
}

#[test]
fn cuda_decoder_on_a_cpu_is_refused_with_the_fix() {
    // Loading fails only at the missing kernel: ONNX Runtime has the operator and accepts its
    // inputs and their types.
    let error = refusal(&decoder("tiny-decoder-cuda"));
    assert!(error.contains("PagedAttention") && error.contains("`--attention chunks`"), "{error}");
}

#[test]
fn max_tokens_beyond_the_graphs_positions_is_refused_at_load() {
    for folder in ["tiny-decoder", "tiny-decoder-cpu", "tiny-decoder-paged"] {
        let error = refusal(&ModelConfig { max_tokens: Some(161), ..decoder(folder) });
        assert!(error.contains("texts of 160 tokens, and `max_tokens` is 161"), "{error}");
    }
}

#[test]
fn block_size_is_refused_by_a_model_without_a_cache() {
    let error = refusal(&ModelConfig { block_size: Some(16), ..decoder("tiny-decoder") });
    assert!(error.contains("`block_size` = 16") && error.contains("remove it"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_turn_is_scored_with_its_preceding_messages_only() {
    let (model, _) = load(&ModelConfig::new(tiny()));
    let source = RmSource::new(model, Calibration::Raw);
    let mut rollout = dialogue(3);
    rollout.messages.extend(dialogue(4).messages);
    rollout.score = guerdon_types::ScoreTurns::ALL;
    let both = score(&source, &rollout, None).await;
    assert_eq!(both.len(), 2);
    assert_eq!(part(&both[0]), part(&score(&source, &dialogue(3), None).await[0]));
    assert!(part(&both[1]).tokens > part(&both[0]).tokens);
    // Later turns change nothing.
    rollout.messages[2].content.push_str(" four four");
    assert_eq!(part(&both[0]), part(&score(&source, &rollout, None).await[0]));
}

#[tokio::test]
async fn source_describes_itself_and_calibrates_by_the_manifest() {
    let (model, _) = load(&ModelConfig::new(tiny()));
    let hash = model.hash().to_owned();
    assert!(hash.starts_with("sha256:") && hash.len() == 71);
    assert_eq!(
        model.about(),
        "tiny on cpu, 24 tokens of plain text: a test model that knows nothing"
    );
    let measured = model.manifest().calibration.clone().unwrap();
    let source = RmSource::new(model, measured.standardised());
    assert_eq!((source.id().as_str(), source.kind()), ("rm", SourceKind::Model));
    assert_eq!(
        source.version(),
        SourceVersion::Model { hash, calibration: measured.standardised() }
    );
    let signals = score(&source, &dialogue(1), None).await;
    let RmPart { score, raw, .. } = part(&signals[0]);
    assert!((score.get() - (f64::from(*raw) - 0.5) / 2.0).abs() < 1e-12);
}

#[tokio::test]
async fn calibration_overflow_abstains() {
    let (model, _) = load(&ModelConfig::new(tiny()));
    let smallest = Finite::new(f64::MIN_POSITIVE).unwrap();
    let source =
        RmSource::new(model, Calibration::Standardised { mean: Finite::from(-9), std: smallest });
    let signals = score(&source, &dialogue(1), None).await;
    assert_eq!(signals[0].abstained[0].why, AbstainWhy::NotFinite);
}

#[tokio::test]
async fn burst_of_single_requests_becomes_few_batches() {
    let (model, events) = load(&ModelConfig { max_wait: Duration::from_secs(60), ..uncached() });
    let source = Arc::new(RmSource::new(model, Calibration::Raw));
    let mut tasks = tokio::task::JoinSet::new();
    for seed in 0..256 {
        let source = Arc::clone(&source);
        tasks.spawn(async move { part(&score(&source, &dialogue(seed), None).await[0]).tokens });
    }
    assert_eq!(tasks.join_all().await.len(), 256);
    let events = events.lock().unwrap();
    assert_eq!(events.iter().map(|event| event.items + event.coalesced).sum::<usize>(), 256);
    assert!(events.len() <= 32, "{} batches", events.len());
    assert!(events.iter().all(|event| event.outcome == BatchOutcome::Scored));
    assert!(
        events.iter().map(|event| event.coalesced).sum::<usize>() > 0,
        "35 of 256 dialogues are distinct"
    );
}

#[tokio::test]
async fn repeated_dialogue_is_scored_once() {
    let (model, events) = load(&ModelConfig::new(tiny()));
    let source = RmSource::new(model, Calibration::Raw);
    let first = score(&source, &dialogue(1), None).await;
    let again = score(&source, &dialogue(1), None).await;
    assert_eq!(part(&first[0]), part(&again[0]));
    assert_eq!(events.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn past_deadline_abstains_without_a_queue_slot() {
    let (model, events) = load(&ModelConfig::new(tiny()));
    let source = RmSource::new(model, Calibration::Raw);
    let signals = score(&source, &dialogue(2), Some(Instant::now())).await;
    assert!(signals[0].part.is_none());
    assert_eq!(signals[0].abstained[0].why, AbstainWhy::Deadline);
    assert!(events.lock().unwrap().is_empty());
}

#[tokio::test]
async fn rollout_larger_than_the_queue_abstains_whole() {
    let (model, _) = load(&ModelConfig { queue: 1, ..ModelConfig::new(tiny()) });
    let source = RmSource::new(model, Calibration::Raw);
    let mut rollout = dialogue(3);
    rollout.messages.extend(dialogue(4).messages);
    rollout.score = guerdon_types::ScoreTurns::ALL;
    for signal in score(&source, &rollout, None).await {
        assert_eq!(signal.abstained[0].why, AbstainWhy::Overloaded);
        assert!(signal.abstained[0].detail.contains("needs 2"), "{}", signal.abstained[0].detail);
    }
    // The slot is free again afterwards.
    for seed in 0..3 {
        part(&score(&source, &dialogue(seed), None).await[0]);
    }
}

#[tokio::test]
async fn model_after_shutdown_abstains() {
    let (model, _) = load(&uncached());
    let source = RmSource::new(Arc::clone(&model), Calibration::Raw);
    part(&score(&source, &dialogue(0), None).await[0]);
    model.shutdown();
    model.shutdown();
    let signals = score(&source, &dialogue(0), None).await;
    assert_eq!(signals[0].abstained[0].why, AbstainWhy::Internal);
    assert!(signals[0].abstained[0].detail.contains("shut down"));
}

#[test]
fn models_share_the_process_and_overrides_change_the_hash() {
    let (first, _) = load(&ModelConfig::new(tiny()));
    let (second, _) = load(&ModelConfig { max_tokens: Some(12), ..ModelConfig::new(tiny()) });
    assert_ne!(first.hash(), second.hash());
    assert_eq!(second.manifest().input.max_tokens, 12);
}

#[test]
fn missing_gpu_is_an_error_without_fallback_to_the_cpu() {
    for device in ["cuda:63", "cuda:63,64"] {
        let config = ModelConfig { device: device.parse().unwrap(), ..ModelConfig::new(tiny()) };
        let error = Model::load(&config, Arc::new(|_| {})).unwrap_err();
        assert!(matches!(error, Error::Model { .. }), "{error}");
        assert!(error.to_string().contains("does not load on cuda:63"), "{error}");
    }
}

#[test]
fn missing_files_are_named() {
    insta::assert_snapshot!(refusal(&ModelConfig::new("nowhere")));
    let error =
        refusal(&ModelConfig { runtime: Some("nowhere".into()), ..ModelConfig::new(tiny()) });
    assert!(error.contains("make onnxruntime"), "{error}");
    let error = refusal(&ModelConfig {
        runtime: Some(tiny().join("model.onnx")),
        ..ModelConfig::new(tiny())
    });
    assert!(error.contains("tests/tiny/model.onnx cannot be used"), "{error}");
}
