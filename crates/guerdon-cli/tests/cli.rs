//! The binary as people meet it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test writes and reads its own files")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

const ROLLOUTS: &str = r#"{"id": "good", "messages": [{"role": "user", "content": "480 ?"}, {"role": "assistant", "content": "420 ."}]}
{"id": "bad", "messages": [{"role": "robot", "content": "480 ?"}]}
{"id": "leak", "messages": [{"role": "assistant", "content": "see the work order ."}]}
"#;

const PACK: &str = r"
pack: words
about: Words that must not reach the partner.
version: 1
rules:
  - id: internal
    about: Internal words.
    points: -50
    match: { any_of: ['work order'] }
    examples: { hits: ['see the work order'], misses: ['see you'] }
";

/// A folder with a configuration of the tiny model and one pack.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[models.tiny]\npath = \"{REPOSITORY}/crates/guerdon-model/tests/tiny\"\n\
         runtime = \"{REPOSITORY}/.guerdon/onnxruntime\"\n[profiles.p]\nmodel = \"tiny\"\nrules = [\"rules.yaml\"]\n"
    );
    for (name, text) in
        [("guerdon.toml", config.as_str()), ("rules.yaml", PACK), ("in.jsonl", ROLLOUTS)]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn guerdon(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_guerdon"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn said(output: &Output) -> (String, String) {
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_file_is_scored_line_by_line_and_a_broken_line_loses_nothing_else() {
    let folder = folder();
    let output = guerdon(folder.path(), &["score", "in.jsonl", "--local", "--out", "out.jsonl"]);
    let results: Vec<serde_json::Value> = std::fs::read_to_string(folder.path().join("out.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        results.iter().map(|r| r["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["good", "bad", "leak"]
    );
    assert!(results[0]["reward"].is_number());
    assert!(results[1]["reward"].is_null());
    assert!(
        results[1]["error"]["detail"].as_str().unwrap().starts_with("line 2"),
        "{}",
        results[1]
    );
    assert_eq!(results[2]["turns"][0]["rules"]["hits"][0]["rule"], "internal");
    assert!(!output.status.success(), "a rollout without a reward is told by the exit status");
}

#[test]
fn a_table_shows_every_part() {
    let folder = folder();
    let (table, _) = said(&guerdon(folder.path(), &["score", "in.jsonl", "--local", "--table"]));
    for part in ["rollout", "reward", "rules", "words/internal -50", "line 2"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
}

#[test]
fn a_missing_model_says_where_it_was_looked_for() {
    let folder = folder();
    let config = "[models.m]\npath = \"nowhere\"\n[profiles.p]\nmodel = \"m\"\n";
    std::fs::write(folder.path().join("guerdon.toml"), config).unwrap();
    let output = guerdon(folder.path(), &["config", "check"]);
    let (_, error) = said(&output);
    assert!(!output.status.success());
    assert!(error.contains("model `m`") && error.contains("nowhere"), "{error}");
}

#[test]
fn a_model_is_checked_against_its_reference_and_a_wrong_reference_fails() {
    let folder = folder();
    let runtime = format!("{REPOSITORY}/.guerdon/onnxruntime");
    let model = format!("{REPOSITORY}/crates/guerdon-model/tests/tiny-decoder");
    let checked = guerdon(folder.path(), &["rm", "check", &model, "--runtime", &runtime]);
    let (out, error) = said(&checked);
    assert!(checked.status.success(), "{out}{error}");
    assert!(
        out.contains("bit for bit the same") && out.contains("ok    16 reference scores"),
        "{out}"
    );

    let wrong =
        r#"{"messages": [{"role": "assistant", "content": "deal"}], "index": 0, "score": 99.0}"#;
    std::fs::write(folder.path().join("wrong.jsonl"), wrong).unwrap();
    let checked = guerdon(
        folder.path(),
        &["rm", "check", &model, "--runtime", &runtime, "--on", "wrong.jsonl"],
    );
    assert!(!checked.status.success());
    assert!(said(&checked).0.contains("FAIL  1 reference scores"), "{}", said(&checked).0);
}

#[test]
fn a_broken_pack_is_reported_like_a_compiler_does() {
    let folder = folder();
    std::fs::write(folder.path().join("rules.yaml"), PACK.replace("points", "pionts")).unwrap();
    let output = guerdon(folder.path(), &["rules", "check", "rules.yaml"]);
    let (_, report) = said(&output);
    assert!(!output.status.success());
    assert!(report.contains("rules.yaml:8") && report.contains("`points`"), "{report}");
}

#[test]
fn configuration_is_shown_without_secrets() {
    let folder = folder();
    let config =
        "[auth]\ntokens = [{ name = \"t\", env = \"SECRET_TOKEN\", scopes = [\"score\"] }]\n";
    std::fs::write(folder.path().join("guerdon.toml"), config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_guerdon"))
        .args(["config", "show"])
        .current_dir(folder.path())
        .env("SECRET_TOKEN", "hunter2")
        .env("GUERDON__SERVER__LOG", "debug")
        .output()
        .unwrap();
    let (shown, _) = said(&output);
    assert!(shown.contains("SECRET_TOKEN") && !shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("log = \"debug\""), "the environment is in force: {shown}");
}

/// A server process that does not outlive its test.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    fn new(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_guerdon"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let url = first
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .expect("a URL")
            .to_owned();
        Self { child, url }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_server_tells_where_it_listens_scores_for_the_client_and_stops_cleanly() {
    let folder = folder();
    let mut serving = Serving::new(folder.path());
    let output = guerdon(folder.path(), &["score", "in.jsonl", "--url", &serving.url]);
    let (results, _) = said(&output);
    assert_eq!(results.lines().count(), 3);
    serving.signal("-TERM");
    assert!(serving.child.wait().unwrap().success());
}

#[test]
fn a_hangup_signal_reloads() {
    let folder = folder();
    let config = std::fs::read_to_string(folder.path().join("guerdon.toml")).unwrap();
    std::fs::write(
        folder.path().join("guerdon.toml"),
        format!("{config}[reload]\nwatch = false\n"),
    )
    .unwrap();
    let serving = Serving::new(folder.path());
    let points = || {
        let (results, _) =
            said(&guerdon(folder.path(), &["score", "in.jsonl", "--url", &serving.url]));
        let last: serde_json::Value =
            serde_json::from_str(results.lines().last().unwrap()).unwrap();
        last["turns"][0]["rules"]["points"].as_f64().unwrap()
    };
    assert!((points() + 50.0).abs() < 1e-9);
    std::fs::write(folder.path().join("rules.yaml"), PACK.replace("-50", "-5")).unwrap();
    serving.signal("-HUP");
    let started = std::time::Instant::now();
    while (points() + 5.0).abs() > 1e-9 {
        assert!(started.elapsed().as_secs() < 30, "the server did not reload");
    }
}
