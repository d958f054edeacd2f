//! `guerdon score --advantages`: every estimator, with the numbers that some of them need.

use std::path::Path;
use std::process::Output;

use guerdon_client::optim::RolloutEstimator;
use serde_json::{Value, json};

use crate::{folder, guerdon, stdout, transcript, write};

fn score(folder: &Path, arguments: &[&str]) -> Output {
    let fusion = ["--local", "--sources=rules", "--fusion", "{\"method\": \"weighted_sum\"}"];
    guerdon(folder, &[&["score", "in.jsonl"], arguments, &fusion].concat())
}

/// Rows with the replies of two prompts. The second of each leaks.
fn rows(folder: &Path, grouped: bool) {
    let row = |(at, reply): (usize, &str)| {
        let mut row = json!({
            "messages": [{ "role": "user", "content": "480 ?" }, { "role": "assistant", "content": reply }],
            "context": { "stats": { "tokens": 2.0 + f64::from(u32::try_from(at).unwrap()) } },
        });
        if grouped {
            row["group"] = json!(at / 2);
        }
        if at != 1 {
            row["context"]["greedy"] = json!(0.25);
        }
        row.to_string()
    };
    let replies = ["420 .", "see the work order .", "420 .", "see the work order ."];
    let lines: Vec<String> = replies.into_iter().enumerate().map(row).collect();
    write(folder, "in.jsonl", &lines.join("\n"));
}

fn numbers(output: &Output, name: &str) -> Vec<Option<f64>> {
    assert!(output.status.success(), "{}", transcript(output));
    let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()[name].as_f64();
    stdout(output).lines().map(number).collect()
}

#[test]
fn every_estimator_gives_advantages() {
    let folder = folder();
    rows(folder.path(), true);
    for name in RolloutEstimator::NAMES {
        let flags: &[&str] = match *name {
            "opo" => &["--lengths", "stats.tokens"],
            "remax" => &["--baselines", "greedy"],
            _ => &[],
        };
        let output = score(folder.path(), &[&["--advantages", name], flags].concat());
        let found = numbers(&output, "advantage");
        if *name == "remax" {
            assert_eq!(found[1], None, "it has no baseline");
            let rewards = numbers(&output, "reward");
            for at in [0, 2, 3] {
                let expected = rewards[at].unwrap() - 0.25;
                assert!((found[at].unwrap() - expected).abs() < 1e-9, "{found:?} {rewards:?}");
            }
            continue;
        }
        assert!(found[0] > found[1] && found[2] > found[3], "{name}: {found:?}");
        if *name == "opo" {
            // The baseline of a group is its mean by length.
            let rewards = numbers(&output, "reward").into_iter().flatten().collect::<Vec<_>>();
            let baseline = (2.0 * rewards[0] + 3.0 * rewards[1]) / 5.0;
            assert!((found[0].unwrap() - (rewards[0] - baseline)).abs() < 1e-9, "{found:?}");
        }
    }
}

#[test]
fn groups_are_needed_where_siblings_are_compared() {
    let folder = folder();
    rows(folder.path(), false);
    for name in RolloutEstimator::NAMES {
        let needs_groups = name.parse::<RolloutEstimator>().unwrap().needs_groups();
        let flags: &[&str] = match *name {
            "opo" => &["--lengths", "stats.tokens"],
            "remax" => &["--baselines", "greedy"],
            _ => &[],
        };
        let output = score(folder.path(), &[&["--advantages", name], flags].concat());
        assert_eq!(output.status.success(), !needs_groups, "{name}: {}", transcript(&output));
        assert_eq!(transcript(&output).contains("names no group"), needs_groups, "{name}");
    }
}

#[test]
fn numbers_that_are_missing_or_of_another_estimator_are_refused() {
    let folder = folder();
    rows(folder.path(), true);
    for (arguments, part) in [
        (&["--advantages", "opo"][..], "--lengths"),
        (&["--advantages", "remax"], "--baselines"),
        (&["--advantages", "grpo", "--lengths", "stats.tokens"], "opo only"),
        (
            &["--advantages", "opo", "--lengths", "stats.token"],
            "`stats.token` of --lengths is missing",
        ),
        (&["--advantages", "opo", "--lengths", "stats"], "must be a number of tokens"),
        (&["--advantages", "remax", "--baselines", "stats"], "must be a reward"),
        (&["--lengths", "stats.tokens"], "--advantages"),
    ] {
        let output = score(folder.path(), arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(transcript(&output).contains(part), "{arguments:?}: {}", transcript(&output));
    }
}
