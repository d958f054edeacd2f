//! `guerdon eval`.

use std::process::Output;

use serde_json::Value;

use crate::{guerdon, transcript, write};

/// Two methods, two raters: ratings of one conversation and verdicts on one bad case.
const ROWS: &str = r#"{"measure": "reply", "method": "base", "conversation": "1", "turn": 1, "rater": "a", "rating": 2}
{"measure": "reply", "method": "base", "conversation": "1", "turn": 1, "rater": "b", "rating": 3}
{"measure": "reply", "method": "repo", "conversation": "1", "turn": 1, "rater": "a", "rating": 5}
{"measure": "reply", "method": "repo", "conversation": "1", "turn": 1, "rater": "b", "rating": 4}
{"measure": "bad_case", "method": "repo", "case": "1", "rater": "a", "fixed": true}
{"measure": "outcome", "method": "repo", "conversation": "1", "outcome": "responded", "yes": true}
"#;

fn eval(flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in.jsonl", ROWS);
    guerdon(folder.path(), &[&["eval", "in.jsonl"], flags].concat())
}

#[test]
fn measures_and_differences_are_printed_as_json() {
    let output = eval(&["--json", "--against", "base", "--quorum", "1"]);
    assert!(output.status.success(), "{}", transcript(&output));
    let measured: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (base, repo) = (&measured[0], &measured[1]);
    assert_eq!((&base["method"], &repo["method"]), (&"base".into(), &"repo".into()));
    assert_eq!((&base["rating"]["value"], &repo["rating"]["value"]), (&2.5.into(), &4.5.into()));
    assert_eq!(repo["against"]["rating"]["value"], 2.0);
    assert_eq!(repo["shares"]["excellent"]["value"], 1.0);
    assert_eq!((&repo["shares"]["clean"]["value"], &repo["raters"]), (&1.0.into(), &2.into()));
    assert!(base["against"].is_null());
}

#[test]
fn measures_and_differences_are_printed_as_tables() {
    insta::assert_snapshot!(transcript(&eval(&["--against", "base"])));
}

#[test]
fn unknown_method_is_reported_with_the_known_ones() {
    insta::assert_snapshot!(transcript(&eval(&["--against", "grpo"])));
}
