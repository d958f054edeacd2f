//! Drafts for generated model folders.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Manifest;
use crate::draft::drafting::DraftOptions;
use crate::draft::graph::tests::onnx;
use crate::draft::input::LONGEST;
use crate::draft::manifest::ManifestDraft;
use crate::load::files::{Sha256Hex, read_text};
use crate::load::loaded_files::LoadedFiles;

const FLOAT: i32 = 1;

#[expect(clippy::disallowed_methods, reason = "a test makes a model folder")]
fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// A folder with a graph of one score, the tokenizer of `tests/pad-pooled` and a configuration.
fn folder(config: &Value, graph: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    write(&folder.path().join("model.onnx"), graph);
    let tokenizer = read_text(&tests.join("pad-pooled/tokenizer.json")).unwrap();
    write(&folder.path().join("tokenizer.json"), tokenizer);
    write(&folder.path().join("config.json"), config.to_string());
    folder
}

fn one_score(inputs: &[&str]) -> Vec<u8> {
    onnx(inputs, &[("logits", &[0, 1])], (FLOAT, &[]))
}

fn draft(folder: &TempDir, options: &DraftOptions) -> Result<(ManifestDraft, Manifest), String> {
    let draft = ManifestDraft::of(folder.path(), options).map_err(|error| error.to_string())?;
    let manifest = Manifest::parse(&draft.text)?;
    LoadedFiles::verified(folder.path(), &manifest).map_err(|error| error.to_string())?;
    Ok((draft, manifest))
}

fn drafted(folder: &TempDir) -> Manifest {
    draft(folder, &DraftOptions::default()).unwrap().1
}

const IDS: [&str; 2] = ["input_ids", "attention_mask"];

#[test]
fn encoder_folder_is_drafted_with_its_sources() {
    let config = json!({
        "architectures": ["BertForSequenceClassification"], "model_type": "bert",
        "max_position_embeddings": 512, "pad_token_id": 1,
    });
    let folder = folder(&config, &one_score(&IDS));
    let tokenizer_config = json!({"model_max_length": 1e30, "pad_token": "[PAD]"});
    write(&folder.path().join("tokenizer_config.json"), tokenizer_config.to_string());
    write(&folder.path().join("README.md"), "---\ntags: x\nlicense: apache-2.0\n---\n# x\n");
    let (draft, manifest) = draft(&folder, &DraftOptions::default()).unwrap();
    assert_eq!(manifest.input.max_tokens, 512);
    assert_eq!(manifest.input.pad_token.as_deref(), Some("<|endoftext|>"));
    assert_eq!((manifest.license.as_str(), draft.storage), ("Apache-2.0", "fp32"));
    let note = |key: &str| draft.notes.iter().find(|note| note.key == key).unwrap();
    assert!(note("input.pad_token").reason.contains("tokenizer_config.json names \"[PAD]\""));
    assert!(note("input.format").is_guess && !note("input.max_tokens").is_guess);
    assert_eq!(manifest.output.index, None);
}

#[test]
fn files_in_an_onnx_folder_and_external_data_are_found() {
    let graph = onnx(&IDS, &[("logits", &[0, 1])], (10, &["model.onnx_data"]));
    let folder = folder(&json!({}), &[]);
    std::fs::remove_file(folder.path().join("model.onnx")).unwrap();
    write(&folder.path().join("onnx/model.onnx"), graph);
    write(&folder.path().join("onnx/model_quantized.onnx"), one_score(&IDS));
    let error = draft(&folder, &DraftOptions::default()).unwrap_err();
    assert!(error.contains("onnx/model.onnx_data, which holds the weights"), "{error}");
    write(&folder.path().join("onnx/model.onnx_data"), "weights");
    let (found, manifest) = draft(&folder, &DraftOptions::default()).unwrap();
    assert_eq!(manifest.files.model, Path::new("onnx/model.onnx"));
    assert_eq!(manifest.files.model_data, [Path::new("onnx/model.onnx_data")]);
    assert_eq!(found.storage, "fp16");
    let graph = Some(PathBuf::from("onnx/model_quantized.onnx"));
    let chosen = draft(&folder, &DraftOptions { graph, ..DraftOptions::default() }).unwrap().1;
    assert_eq!(chosen.files.model, Path::new("onnx/model_quantized.onnx"));
    // The `onnx` folder itself, with the tokenizer above it.
    let inner = ManifestDraft::of(&folder.path().join("onnx"), &DraftOptions::default()).unwrap();
    assert!(inner.text.contains("tokenizer = \"../tokenizer.json\""), "{}", inner.text);
}

#[test]
fn templates_of_every_file_are_used_and_written_only_if_needed() {
    let template = "{{ messages[0].content }}";
    let files = [
        ("chat_template.jinja", template.to_owned()),
        ("chat_template.json", json!({"chat_template": template}).to_string()),
        ("tokenizer_config.json", json!({"chat_template": template}).to_string()),
        (
            "tokenizer_config.json",
            json!({"chat_template": [
                {"name": "tool_use", "template": "x"}, {"name": "default", "template": template},
            ]})
            .to_string(),
        ),
    ];
    for (name, text) in files {
        let folder = folder(&json!({}), &one_score(&IDS));
        write(&folder.path().join(name), text);
        let draft = ManifestDraft::of(folder.path(), &DraftOptions::default()).unwrap();
        let manifest = Manifest::parse(&draft.text).unwrap();
        assert_eq!(manifest.files.chat_template_sha256, Some(Sha256Hex::of(template)), "{name}");
        assert_eq!(draft.chat_template.is_some(), name != "chat_template.jinja", "{name}");
    }
}

#[test]
fn labels_without_a_known_meaning_are_asked_for_by_name() {
    let graph = onnx(&IDS, &[("logits", &[0, 3])], (FLOAT, &[]));
    for config in [
        json!({"id2label": {"0": "bad", "1": "fair", "2": "good"}}),
        json!({"label2id": {"good": 2, "bad": 0, "fair": 1}}),
    ] {
        let folder = folder(&config, &graph);
        let error = draft(&folder, &DraftOptions::default()).unwrap_err();
        assert!(
            error.contains("0 = bad, 1 = fair, 2 = good") && error.contains("--label all"),
            "{error}"
        );
        let label = |label: &str| {
            let label = Some(label.to_owned());
            draft(&folder, &DraftOptions { label, ..DraftOptions::default() })
        };
        assert_eq!(label("2").unwrap().1.output.index, Some(2));
        assert_eq!(label("Fair").unwrap().1.output.index, Some(1));
        assert!(label("3").unwrap_err().contains("`--label 3` is none of them"));
        let (draft, manifest) = label("all").unwrap();
        assert_eq!(manifest.output.labels, ["bad", "fair", "good"]);
        assert_eq!(manifest.output.weights.map(|weights| weights.len()), Some(3));
        assert!(draft.notes.iter().any(|note| note.key == "output.weights" && note.is_guess));
    }
    // No configuration at all: the labels have no names.
    let unnamed = folder(&json!({}), &graph);
    let error = draft(&unnamed, &DraftOptions::default()).unwrap_err();
    assert!(error.contains("0 = LABEL_0, 1 = LABEL_1"), "{error}");
}

#[test]
fn labels_with_a_known_meaning_become_the_score_and_objectives() {
    let graph = |labels| onnx(&IDS, &[("logits", &[0, labels])], (FLOAT, &[]));
    let pair = folder(&json!({"id2label": {"0": "rejected", "1": "chosen"}}), &graph(2));
    let (told, manifest) = draft(&pair, &DraftOptions::default()).unwrap();
    assert_eq!(manifest.output.difference, Some([1, 0]));
    let note = told.notes.iter().find(|note| note.key == "output.difference").unwrap();
    assert!(!note.is_guess && note.reason.contains("\"chosen\" less \"rejected\""), "{note:?}");
    let names = ["helpfulness", "correctness", "coherence", "complexity", "verbosity"];
    let ids: serde_json::Map<String, Value> =
        names.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name))).collect();
    let several = folder(&json!({"id2label": ids}), &graph(5));
    let (guessed, manifest) = draft(&several, &DraftOptions::default()).unwrap();
    assert_eq!((manifest.output.index, manifest.output.labels.len()), (Some(0), 5));
    let note = guessed.notes.iter().find(|note| note.key == "output.index").unwrap();
    assert!(note.is_guess && note.reason.contains("every label is an objective"), "{note:?}");
    // The graph has one label, whatever the configuration names.
    let one = folder(&json!({"id2label": {"0": "bad", "1": "good"}}), &graph(1));
    assert_eq!(drafted(&one).output, crate::ModelOutput::default());
}

#[test]
fn weights_in_several_files_are_all_named() {
    let files = ["model.onnx_data", "model.onnx_data_1", "parts/w.bin"];
    let graph = onnx(&IDS, &[("logits", &[0, 1])], (FLOAT, &files));
    for place in ["", "onnx/"] {
        let folder = folder(&json!({}), &graph);
        if !place.is_empty() {
            write(&folder.path().join(place).join("model.onnx"), &graph);
            std::fs::remove_file(folder.path().join("model.onnx")).unwrap();
        }
        for file in &files[..2] {
            write(&folder.path().join(place).join(file), *file);
        }
        let error = draft(&folder, &DraftOptions::default()).unwrap_err();
        assert!(error.contains(&format!("has no file {place}parts/w.bin, which")), "{error}");
        write(&folder.path().join(place).join(files[2]), "w");
        let manifest = drafted(&folder);
        assert_eq!(manifest.files.model_data, files.map(|file| Path::new(place).join(file)));
        assert_eq!(manifest.files.model_data_sha256[1], Sha256Hex::of(files[1]));
        assert_eq!(manifest.files.model_hash().matches('+').count(), 3);
    }
    for outside in ["../w.bin", "/w.bin"] {
        let graph = onnx(&IDS, &[("logits", &[0, 1])], (FLOAT, &[outside]));
        let error = draft(&folder(&json!({}), &graph), &DraftOptions::default()).unwrap_err();
        assert!(error.contains("outside its own folder"), "{error}");
    }
}

proptest! {
    /// Graphs as sentence-transformers and optimum name them, in either folder: the most exact one
    /// is chosen, or the user is asked.
    #[test]
    fn most_exact_of_several_graphs_is_chosen(
        names in prop::sample::subsequence(vec![
            "model.onnx", "model_O1.onnx", "model_O2.onnx", "model_optimized.onnx", "model_O4.onnx", "model_fp16.onnx",
            "model_quantized.onnx", "model_qint8_avx512_vnni.onnx", "model_quint8_avx2.onnx", "model_q4f16.onnx",
        ], 1..6),
        inside in any::<bool>(),
    ) {
        let folder = folder(&json!({}), &one_score(&IDS));
        std::fs::remove_file(folder.path().join("model.onnx")).unwrap();
        let place = if inside { "onnx" } else { "" };
        for name in &names {
            write(&folder.path().join(place).join(name), one_score(&IDS));
        }
        let chosen = drafted(&folder).files.model;
        let chosen = chosen.file_name().unwrap().to_str().unwrap();
        let rank = |name: &str| match name {
            "model.onnx" => 0,
            _ if name.contains("_O4") || name.contains("fp16") => 2,
            _ if name.contains("_O") || name.contains("optim") => 1,
            _ => 3,
        };
        let best = names.iter().map(|name| rank(name)).min().unwrap();
        prop_assert_eq!(rank(chosen), best, "{} of {:?}", chosen, names);
        if best > 0 {
            let guessed = draft(&folder, &DraftOptions::default()).unwrap().0;
            let note = guessed.notes.iter().find(|note| note.key == "files.model").unwrap();
            prop_assert!(names.len() == 1 || note.reason.contains("--graph"), "{:?}", note);
        }
    }
}

#[test]
fn folders_that_are_no_reward_model_are_refused_with_the_way_out() {
    let logits: &[(&str, &[i64])] = &[("logits", &[0, 1])];
    let cases: [(Vec<u8>, &str); 6] = [
        (
            onnx(&IDS, &[("last_hidden_state", &[0, 0, 8])], (FLOAT, &[])),
            "without the reward model's head",
        ),
        (
            onnx(&["input_ids", "past_key_values.0.key"], logits, (FLOAT, &[])),
            "exported for generation",
        ),
        (onnx(&["pixel_values"], logits, (FLOAT, &[])), "guerdon cannot fill"),
        (onnx(&IDS, &[("a", &[0]), ("b", &[0])], (FLOAT, &[])), "`a`, `b`"),
        (onnx(&IDS, logits, (FLOAT, &["a", "b"])), "has no file a and 1 more files"),
        (b"not onnx".to_vec(), "not a whole ONNX file"),
    ];
    for (graph, fault) in cases {
        let error = draft(&folder(&json!({}), &graph), &DraftOptions::default()).unwrap_err();
        assert!(error.contains(fault), "{error}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(
        draft(&empty, &DraftOptions::default()).unwrap_err().contains("optimum-cli export onnx")
    );
    let without = folder(&json!({}), &one_score(&IDS));
    std::fs::remove_file(without.path().join("tokenizer.json")).unwrap();
    assert!(draft(&without, &DraftOptions::default()).unwrap_err().contains("AutoTokenizer"));
    let broken = folder(&json!({}), &one_score(&IDS));
    write(&broken.path().join("config.json"), "{");
    assert!(
        draft(&broken, &DraftOptions::default()).unwrap_err().contains("config.json is not JSON")
    );
}

#[test]
fn unknown_padding_is_left_out_and_said() {
    for config in [json!({}), json!({"pad_token_id": 9999}), json!({"pad_token_id": null})] {
        let folder = folder(&config, &one_score(&IDS));
        let (draft, manifest) = draft(&folder, &DraftOptions::default()).unwrap();
        assert_eq!(manifest.input.pad_token, None);
        let note = draft.notes.iter().find(|note| note.key == "input.pad_token").unwrap();
        assert!(note.value == "-" && note.reason.contains("texts of one length"), "{note:?}");
    }
}

proptest! {
    /// Families, padding ids, limits and inputs as drawn: the manifest follows the files.
    #[test]
    fn positions_padding_and_limits_follow_the_files(
        family in prop::sample::select(vec!["bert", "roberta", "xlm-roberta", "mpnet", "llama", "gemma3_text"]),
        pad in prop::option::of(0..100_usize),
        positions in 8..5000_usize,
        model_max in prop::option::of(8..5000_usize),
        takes_positions in any::<bool>(),
        nested in any::<bool>(),
    ) {
        let mut config = json!({"model_type": family, "max_position_embeddings": positions});
        if let Some(pad) = pad {
            config["pad_token_id"] = json!(pad);
        }
        if nested {
            let kind = config["model_type"].take();
            config = json!({"model_type": kind, "text_config": config});
        }
        let inputs = if takes_positions { vec!["input_ids", "attention_mask", "position_ids"] } else { IDS.to_vec() };
        let folder = folder(&config, &one_score(&inputs));
        if let Some(most) = model_max {
            write(&folder.path().join("tokenizer_config.json"), json!({"model_max_length": most}).to_string());
        }
        let manifest = drafted(&folder);
        let offset = matches!(family, "roberta" | "xlm-roberta" | "mpnet").then(|| pad.unwrap_or(1) + 1);
        let usable = positions.saturating_sub(offset.unwrap_or(0));
        let limits = [(usable > 0).then_some(usable), model_max, Some(LONGEST)];
        let fewest = limits.into_iter().flatten().min().unwrap();
        if usable > 0 || model_max.is_some() {
            prop_assert_eq!(manifest.input.max_tokens, fewest);
        }
        let first = if takes_positions { offset.unwrap_or(0) } else { 0 };
        prop_assert_eq!(manifest.input.first_position as usize, first);
        let token = pad.map(|pad| format!("w{}", pad.wrapping_sub(11)));
        if pad.is_some_and(|pad| pad >= 11) {
            prop_assert_eq!(manifest.input.pad_token, token);
        } else if pad.is_none() {
            prop_assert_eq!(manifest.input.pad_token, None);
        }
    }
}

#[test]
fn cross_encoders_are_drafted_as_pairs() {
    let config = json!({"sentence_transformers": {"version": "5.0.0"}});
    let pair = folder(&config, &one_score(&IDS));
    write(&pair.path().join("chat_template.jinja"), "x");
    let told = DraftOptions { pair: true, ..DraftOptions::default() };
    for (folder, options) in
        [(pair, DraftOptions::default()), (folder(&json!({}), &one_score(&IDS)), told)]
    {
        let (_, manifest) = draft(&folder, &options).unwrap();
        assert_eq!(manifest.input.format, crate::InputFormat::Pair);
        assert!(manifest.files.chat_template.is_none());
        assert_eq!(manifest.input.prefix.unwrap().user, "");
    }
}

/// Files of the kinds that a broken download, another tool or a clone without Git LFS leaves.
#[test]
fn files_with_another_content_than_their_name_says_are_refused_by_name() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 90868376\n";
    let settings =
        ["config.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.json"];
    let others = ["model.onnx", "tokenizer.json", "model.onnx_data", "chat_template.jinja"];
    let graph = onnx(&IDS, &[("logits", &[0, 1])], (FLOAT, &["model.onnx_data"]));
    let broken = |name: &str, content: &str| {
        let folder = folder(&json!({}), &graph);
        write(&folder.path().join("model.onnx_data"), "weights");
        write(&folder.path().join(name), content);
        draft(&folder, &DraftOptions::default()).map(|(draft, _)| draft.text)
    };
    for name in settings.into_iter().chain(others) {
        let error = broken(name, pointer).unwrap_err();
        assert!(error.contains(name) && error.contains("git lfs pull"), "{name}: {error}");
    }
    for (content, kind) in [
        ("[1]", "a list"),
        ("[]", "a list"),
        ("null", "a single word"),
        ("true", "a single word"),
        ("\"x\"", "a text"),
        ("7", "a number"),
        ("", "is not JSON"),
        ("<!DOCTYPE html>", "is not JSON"),
        ("{\"a\": ", "is not JSON"),
    ] {
        for name in settings {
            let error = broken(name, content).unwrap_err();
            assert!(error.contains(name) && error.contains(kind), "{name} {content}: {error}");
        }
    }
    assert!(broken("config.json", "\u{feff}{}").is_ok());
}
