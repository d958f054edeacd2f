//! `guerdon score` and `guerdon serve`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{PACK, command, folder, guerdon, stdout, transcript, write};

fn results(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn broken_line_gets_an_error_and_other_lines_are_scored() {
    let folder = folder();
    let output = guerdon(folder.path(), &["score", "in.jsonl", "--local", "--out", "out.jsonl"]);
    let results = results(&std::fs::read_to_string(folder.path().join("out.jsonl")).unwrap());
    assert_eq!(
        results.iter().map(|r| r["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["good", "bad", "leak"]
    );
    assert!(results[0]["reward"].is_number());
    assert!(results[1]["reward"].is_null());
    insta::assert_json_snapshot!("broken_line", results[1]["error"]);
    assert_eq!(results[2]["turns"][0]["rules"]["hits"][0]["rule"], "internal");
    insta::assert_snapshot!("unscored_rollout", transcript(&output));
}

#[test]
fn group_with_different_sources_is_reported() {
    let folder = folder();
    let pack = format!(
        "{PACK}  - {{ id: price, points: -1, match: {{ any_of: ['480'] }}, where: context.price > 3 }}\n"
    );
    write(folder.path(), "rules.yaml", &pack);
    let rollout = |id: &str, group: &str, text: &str| {
        let messages = serde_json::json!([{ "role": "assistant", "content": text }]);
        serde_json::json!({ "id": id, "group": group, "messages": messages }).to_string() + "\n"
    };
    // The rule cannot be decided where it matches, since no rollout has the price.
    let lines: String = [
        ("a", "torn", "480 ."),
        ("b", "torn", "see you ."),
        ("c", "whole", "480 ."),
        ("d", "whole", "480 !"),
    ]
    .iter()
    .map(|(id, group, text)| rollout(id, group, text))
    .collect();
    write(folder.path(), "in.jsonl", &lines);
    let arguments = ["score", "in.jsonl", "--local", "--advantages", "grpo", "--out", "out.jsonl"];
    let mut quiet = command(folder.path(), &arguments);
    let output = quiet.env("GUERDON__SERVER__LOG", "error").output().unwrap();
    let results = results(&std::fs::read_to_string(folder.path().join("out.jsonl")).unwrap());
    let has_advantage: Vec<_> = results.iter().map(|r| r["advantage"].is_number()).collect();
    assert_eq!(has_advantage, [false, false, true, true]);
    insta::assert_snapshot!("incomparable_group", transcript(&output));
}

#[test]
fn table_shows_every_part() {
    let folder = folder();
    let output = guerdon(folder.path(), &["score", "in.jsonl", "--local", "--table"]);
    insta::assert_snapshot!(transcript(&output));
}

#[test]
fn empty_token_file_is_refused() {
    let folder = folder();
    write(folder.path(), "token", "\n");
    let output = guerdon(folder.path(), &["score", "in.jsonl", "--token-file", "token"]);
    insta::assert_snapshot!(transcript(&output));
}

/// A server process that is killed at the end of its test.
pub(crate) struct Serving {
    child: Child,
    pub(crate) url: String,
}

impl Serving {
    pub(crate) fn new(folder: &Path) -> Self {
        Self::spawn(&mut command(folder, &["serve", "--listen", "127.0.0.1:0"]))
    }

    /// Starts `guerdon serve` and waits for its address.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
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
fn server_prints_its_address_scores_and_stops_on_sigterm() {
    let folder = folder();
    let mut serving = Serving::new(folder.path());
    let output = guerdon(folder.path(), &["score", "in.jsonl", "--url", &serving.url]);
    assert_eq!(stdout(&output).lines().count(), 3);
    serving.signal("-TERM");
    assert!(serving.child.wait().unwrap().success());
}

#[test]
fn sighup_reloads() {
    let folder = folder();
    let config = std::fs::read_to_string(folder.path().join("guerdon.toml")).unwrap();
    write(folder.path(), "guerdon.toml", &format!("{config}[reload]\nwatch = false\n"));
    let serving = Serving::new(folder.path());
    let points = || {
        let output = guerdon(folder.path(), &["score", "in.jsonl", "--url", &serving.url]);
        results(&stdout(&output))[2]["turns"][0]["rules"]["points"].as_f64().unwrap()
    };
    assert!((points() + 50.0).abs() < 1e-9);
    write(folder.path(), "rules.yaml", &PACK.replace("-50", "-5"));
    serving.signal("-HUP");
    let started = Instant::now();
    while (points() + 5.0).abs() > 1e-9 {
        assert!(started.elapsed() < Duration::from_secs(30), "the server did not reload");
    }
}
