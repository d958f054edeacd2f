//! `guerdon eval` as people meet it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test writes its own files")]

use std::process::{Command, Output};

/// Two methods, two raters: what each said of one conversation and one bad case.
const ROWS: &str = r#"{"measure": "reply", "method": "base", "conversation": "1", "turn": 1, "rater": "a", "rating": 2}
{"measure": "reply", "method": "base", "conversation": "1", "turn": 1, "rater": "b", "rating": 3}
{"measure": "reply", "method": "repo", "conversation": "1", "turn": 1, "rater": "a", "rating": 5}
{"measure": "reply", "method": "repo", "conversation": "1", "turn": 1, "rater": "b", "rating": 4}
{"measure": "bad_case", "method": "repo", "case": "1", "rater": "a", "fixed": true}
{"measure": "outcome", "method": "repo", "conversation": "1", "outcome": "responded", "yes": true}
"#;

fn eval(rows: &str, flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.jsonl");
    std::fs::write(&file, rows).unwrap();
    Command::new(env!("CARGO_BIN_EXE_guerdon")).arg("eval").arg(&file).args(flags).output().unwrap()
}

#[test]
fn every_method_has_its_measures_and_the_difference_is_told() {
    let output = eval(ROWS, &["--json", "--against", "base", "--quorum", "1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let (base, repo) = (&told[0], &told[1]);
    assert_eq!((&base["method"], &repo["method"]), (&"base".into(), &"repo".into()));
    assert_eq!((&base["rating"]["value"], &repo["rating"]["value"]), (&2.5.into(), &4.5.into()));
    assert_eq!(repo["against"]["rating"]["value"], 2.0);
    assert_eq!(repo["shares"]["excellent"]["value"], 1.0);
    assert_eq!((&repo["shares"]["clean"]["value"], &repo["raters"]), (&1.0.into(), &2.into()));
    assert!(base["against"].is_null());
}

#[test]
fn a_method_that_is_not_there_is_told_with_those_that_are() {
    let output = eval(ROWS, &["--against", "grpo"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("base, repo"), "{error}");
    let table = String::from_utf8_lossy(&eval(ROWS, &[]).stdout).into_owned();
    for word in ["method", "rating", "excellent", "fixed", "clean", "responded", "4.50"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
}
