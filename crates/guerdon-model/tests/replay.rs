//! Replay of reference scores at load: a model that disagrees with `reference.jsonl` is refused.

#![expect(clippy::unwrap_used, reason = "the helpers of tests panic as tests do")]

use std::path::Path;
use std::sync::Arc;

use guerdon_model::{Error, Model, ModelConfig, REFERENCE};
use guerdon_types::{Message, Role, Rollout};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const MANIFEST: &str = "guerdon.model.toml";

#[expect(clippy::disallowed_methods, reason = "a test changes a copy of a model")]
fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test changes a copy of a model")]
fn write(path: impl AsRef<Path>, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A copy of a model in `tests/`.
struct Copy(TempDir);

impl Copy {
    fn of(model: &str) -> Self {
        let (from, to) = (
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(model),
            tempfile::tempdir().unwrap(),
        );
        for entry in from.read_dir().unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
        Self(to)
    }

    /// Replaces a file's text, and its hash in the manifest if that has one.
    fn change(self, file: &str, change: impl Fn(String) -> String) -> Self {
        let (path, manifest) = (self.0.path().join(file), self.0.path().join(MANIFEST));
        let (old, text) = (read(&path), change(read(&path)));
        assert_ne!(old, text, "{file} did not change");
        write(&path, &text);
        if file != MANIFEST {
            write(&manifest, &read(&manifest).replace(&sha256(&old), &sha256(&text)));
        }
        self
    }

    /// Changes the rows of the reference.
    fn change_rows(self, change: impl Fn(usize, &mut Value)) -> Self {
        self.change(REFERENCE, |text| {
            let rows = text.lines().enumerate().map(|(number, line)| {
                let mut row = serde_json::from_str(line).unwrap();
                change(number, &mut row);
                format!("{row}\n")
            });
            rows.collect()
        })
    }

    fn with_section(self, section: &str) -> Self {
        self.change(MANIFEST, |text| format!("{text}\n[reference]\n{section}\n"))
    }

    fn config(&self) -> ModelConfig {
        ModelConfig { instances: Some(1), ..ModelConfig::new(self.0.path()) }
    }

    fn load(&self) -> Result<Arc<Model>, Error> {
        Model::load(&self.config(), Arc::new(|_| {}))
    }

    /// The error of the load, which names the reference.
    fn refusal(&self) -> String {
        let error = self.load().unwrap_err();
        assert!(matches!(error, Error::Reference { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains("reference.jsonl: line "), "{error}");
        error
    }
}

#[test]
fn models_load_with_agreeing_scores_and_without_any() {
    for model in ["tiny", "tiny-decoder", "tiny-decoder-cpu"] {
        Copy::of(model).load().unwrap().shutdown();
        Copy::of(model).with_section("error = 0.0").load().unwrap().shutdown();
        let without = Copy::of(model);
        std::fs::remove_file(without.0.path().join(REFERENCE)).unwrap();
        without.load().unwrap().shutdown();
    }
}

#[test]
fn weights_in_a_file_of_their_own_are_read_by_every_session() {
    // The load replays the scores of `tiny` with the first session. With one session, and with two,
    // which share the weights of a graph that holds them.
    let copy = Copy::of("external");
    for instances in [1, 2] {
        let config = ModelConfig { instances: Some(instances), ..copy.config() };
        Model::load(&config, Arc::new(|_| {})).unwrap().shutdown();
    }
}

#[test]
fn foreign_tokenizer_is_refused_with_both_tokens() {
    let swap = |text: String| {
        let mut tokenizer: Value = serde_json::from_str(&text).unwrap();
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        let (a, b) = (vocabulary["480"].clone(), vocabulary["deal"].clone());
        vocabulary.insert("480".to_owned(), b);
        vocabulary.insert("deal".to_owned(), a);
        tokenizer.to_string()
    };
    for model in ["tiny", "tiny-decoder", "tiny-decoder-cpu"] {
        let error = Copy::of(model).change("tokenizer.json", swap).refusal();
        assert!(error.contains("here, and") && error.contains("tokenizer"), "{error}");
        assert!(error.contains("480") || error.contains("deal"), "{error}");
    }
}

#[test]
fn cut_vocabulary_is_refused() {
    let cut = |text: String| {
        let mut tokenizer: Value = serde_json::from_str(&text).unwrap();
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        vocabulary.retain(|_, id| id.as_u64().unwrap() < 30);
        tokenizer.to_string()
    };
    let error = Copy::of("tiny").change("tokenizer.json", cut).refusal();
    assert!(error.contains("[UNK]"), "{error}");
}

#[test]
fn other_input_format_is_refused() {
    let error = Copy::of("tiny")
        .change(MANIFEST, |text| text.replace("\"user: \"", "\"system: \""))
        .refusal();
    assert!(error.contains("input format"), "{error}");
    let template = |text: String| text.replace("m.role }} :", "m.role }}");
    let error = Copy::of("tiny-decoder").change("chat_template.jinja", template).refusal();
    assert!(error.contains("chat template"), "{error}");
}

#[test]
fn scores_of_another_graph_are_refused_beyond_the_stated_error() {
    let scores: Vec<f64> =
        read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny").join(REFERENCE))
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["score"].as_f64().unwrap())
            .collect();
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    let deviation =
        (scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / scores.len() as f64).sqrt();
    // All rows are moved alike, so that the standard deviation stays.
    let moved = |by: f64| {
        Copy::of("tiny").change_rows(move |_, row| {
            row["score"] = json!(row["score"].as_f64().unwrap() + by * deviation);
        })
    };
    assert!(moved(0.1).load().is_ok(), "no error is stated");
    assert!(moved(0.5).refusal().contains("standard deviations away"));
    assert!(moved(0.1).with_section("error = 0.1").load().is_ok());
    assert!(moved(0.1).with_section("error = 0.05").refusal().contains("(0.056 are allowed)"));
    assert!(moved(0.01).with_section("error = 0.0").refusal().contains("the token ids agree"));
}

#[test]
fn torn_changed_and_missing_references_are_refused() {
    let torn = Copy::of("tiny").change(REFERENCE, |text| text[..text.len() - 20].to_owned());
    assert!(torn.refusal().contains("EOF"));
    let text = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny").join(REFERENCE));
    let stated = Copy::of("tiny").with_section(&format!("sha256 = \"{}\"", sha256(&text)));
    stated.load().unwrap().shutdown();
    let path = stated.0.path().join(REFERENCE);
    write(&path, text.lines().next().unwrap());
    assert!(matches!(stated.load().unwrap_err(), Error::Hash { .. }));
    std::fs::remove_file(path).unwrap();
    assert!(matches!(stated.load().unwrap_err(), Error::File { .. }));
}

#[test]
fn folder_without_a_manifest_is_answered_with_the_command_that_writes_one() {
    let folder = tempfile::tempdir().unwrap();
    let error = Model::load(&ModelConfig::new(folder.path()), Arc::new(|_| {})).unwrap_err();
    let command = format!("`guerdon rm init {}`", folder.path().display());
    assert!(error.to_string().contains(&command), "{error}");
}

#[tokio::test]
async fn ignored_end_is_not_read_whatever_its_number() {
    // The score is the id of the last token, over 100.
    let model = Copy::of("pad-pooled")
        .change(MANIFEST, |text| text.replace("max_tokens", "ignored_end = \"alpha\"\nmax_tokens"));
    let model = model.load().unwrap();
    for (reply, score) in [("w1 beta", 2.12), ("w1 beta alpha", 2.12), ("beta alpha alpha", 2.12)] {
        let messages =
            vec![Message::new(Role::User, "the room"), Message::new(Role::Assistant, reply)];
        let rollout = Rollout { messages, ..Rollout::default() };
        let scores = model.raw_scores(&rollout).await.unwrap();
        assert!((scores[0] - score).abs() < 1e-5, "{reply}: {scores:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whichever two words of the reference are swapped in the tokenizer, the model is refused.
    #[test]
    fn any_swap_of_two_words_in_use_is_refused(a in 0..64_usize, b in 0..64_usize) {
        let text = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny").join(REFERENCE));
        let mut used: Vec<u64> = text
            .lines()
            .flat_map(|line| serde_json::from_str::<Value>(line).unwrap()["ids"].as_array().unwrap().clone())
            .filter_map(|id| id.as_u64())
            .filter(|id| *id > 7)
            .collect();
        used.sort_unstable();
        used.dedup();
        let (a, b) = (used[a % used.len()], used[b % used.len()]);
        prop_assume!(a != b);
        let refused = Copy::of("tiny").change("tokenizer.json", |text| {
            let mut tokenizer: Value = serde_json::from_str(&text).unwrap();
            for id in tokenizer["model"]["vocab"].as_object_mut().unwrap().values_mut() {
                let number = id.as_u64().unwrap();
                *id = json!(if number == a { b } else if number == b { a } else { number });
            }
            tokenizer.to_string()
        });
        let (error, id) = (refused.refusal(), format!("(id {a})"));
        prop_assert!(error.contains(&id), "{}", error);
    }
}
