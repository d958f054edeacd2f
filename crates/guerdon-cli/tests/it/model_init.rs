//! `guerdon rm init`: a manifest for a folder that another tool exported.

use std::path::Path;

use crate::{REPOSITORY, folder, guerdon, stdout, transcript, write};

/// Makes a model folder as an export leaves it: without a manifest.
pub(crate) fn exported(to: &Path) {
    let from = Path::new(REPOSITORY).join("crates/guerdon-model/tests/pad-pooled");
    std::fs::create_dir_all(to).unwrap();
    for name in ["model.onnx", "tokenizer.json"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    write(to, "config.json", r#"{"model_type": "gpt2", "pad_token_id": 1, "n_positions": 64}"#);
}

const ONE: &str = r#"{"messages": [{"role": "user", "content": "fine"}, {"role": "assistant", "content": "beta"}], "index": 1, "score": 2.12}"#;

fn init(folder: &Path, more: &[&str]) -> std::process::Output {
    let runtime = format!("{REPOSITORY}/.guerdon/onnxruntime");
    guerdon(folder, &[&["rm", "init", "m", "--runtime", &runtime], more].concat())
}

#[test]
fn manifest_is_written_once_and_replaced_only_by_force() {
    let folder = folder();
    let model = folder.path().join("m");
    exported(&model);
    let made = init(folder.path(), &[]);
    assert!(made.status.success(), "{}", transcript(&made));
    insta::assert_snapshot!(stdout(&made));
    let written = std::fs::read_to_string(model.join("guerdon.model.toml")).unwrap();
    insta::assert_snapshot!("drafted_manifest", written);

    // The padding token is the model's own, so a short text scores the same in a batch.
    let runtime = format!("{REPOSITORY}/.guerdon/onnxruntime");
    write(folder.path(), "rows.jsonl", &format!("{ONE}\n{}\n", ONE.replace("fine", "w1 w2 w3 w4")));
    let check = ["rm", "check", "m", "--on", "rows.jsonl", "--runtime", &runtime];
    let checked = guerdon(folder.path(), &check);
    assert!(checked.status.success(), "{}", transcript(&checked));

    write(&model, "guerdon.model.toml", "mine");
    let refused = init(folder.path(), &[]);
    assert!(!refused.status.success() && transcript(&refused).contains("`--force`"));
    assert_eq!(std::fs::read_to_string(model.join("guerdon.model.toml")).unwrap(), "mine");
    assert!(init(folder.path(), &["--force", "--max-tokens", "32"]).status.success());
    let again = std::fs::read_to_string(model.join("guerdon.model.toml")).unwrap();
    assert_eq!(again, written.replace("max_tokens = 64", "max_tokens = 32"));
}

#[test]
fn model_that_does_not_load_or_disagrees_leaves_no_manifest() {
    // The wrong padding token.
    let folder = folder();
    let model = folder.path().join("m");
    exported(&model);
    write(&model, "config.json", r#"{"pad_token_id": 0}"#);
    write(
        &model,
        "tokenizer_config.json",
        r#"{"chat_template": "{% for m in messages %}{{ m.content }} {% endfor %}"}"#,
    );
    let refused = init(folder.path(), &[]);
    assert!(!refused.status.success() && transcript(&refused).contains("input.pad_token"));
    for name in ["guerdon.model.toml", "chat_template.jinja"] {
        assert!(!model.join(name).exists(), "{name}");
    }
    // A reference that another tool left, with other scores.
    exported(&model);
    write(&model, "reference.jsonl", &ONE.replace("2.12", "9.0"));
    let refused = init(folder.path(), &[]);
    assert!(transcript(&refused).contains("reference.jsonl: line 1"), "{}", transcript(&refused));
    assert!(!model.join("guerdon.model.toml").exists());
    // A Python without the framework.
    std::fs::remove_file(model.join("reference.jsonl")).unwrap();
    let refused = init(folder.path(), &["--python", "/bin/false"]);
    assert!(
        transcript(&refused).contains("needs the packages torch and"),
        "{}",
        transcript(&refused)
    );
    assert!(!model.join("guerdon.model.toml").exists());
}

#[test]
fn unknown_padding_is_said_and_the_model_is_still_usable() {
    let folder = folder();
    let model = folder.path().join("m");
    exported(&model);
    std::fs::remove_file(model.join("config.json")).unwrap();
    let made = init(folder.path(), &[]);
    assert!(made.status.success(), "{}", transcript(&made));
    assert!(stdout(&made).contains("input.pad_token = -"), "{}", stdout(&made));
    let runtime = format!("{REPOSITORY}/.guerdon/onnxruntime");
    write(folder.path(), "rows.jsonl", &format!("{ONE}\n{}\n", ONE.replace("fine", "w1 w2 w3 w4")));
    let check = ["rm", "check", "m", "--on", "rows.jsonl", "--runtime", &runtime];
    let checked = guerdon(folder.path(), &check);
    assert!(checked.status.success(), "{}", transcript(&checked));
}

#[test]
fn folder_without_a_manifest_is_answered_with_the_command() {
    let folder = folder();
    exported(&folder.path().join("m"));
    let runtime = format!("{REPOSITORY}/.guerdon/onnxruntime");
    for command in [&["rm", "check", "m", "--on", "dialogues.jsonl"][..], &["rm", "info", "m"]] {
        write(folder.path(), "dialogues.jsonl", ONE);
        let refused = guerdon(folder.path(), &[command, &["--runtime", &runtime]].concat());
        assert!(transcript(&refused).contains("`guerdon rm init m`"), "{}", transcript(&refused));
    }
    write(folder.path(), "guerdon.toml", "[models.m]\npath = \"m\"\n[profiles.p]\nmodel = \"m\"\n");
    let refused = guerdon(folder.path(), &["config", "check"]);
    assert!(transcript(&refused).contains("`guerdon rm init`"), "{}", transcript(&refused));
}
