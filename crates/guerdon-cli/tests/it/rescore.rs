//! `guerdon judge rescore`: a prompt's new points on stored answers and results, without a judge.

use guerdon_testing::{JudgeReply, StandInJudge};
use guerdon_types::Usage;
use serde_json::{Value, json};

use crate::workbench::PROMPT;
use crate::{folder, guerdon, stdout, transcript, write};

/// A folder with a store of two answers, the prompt before and after an edit, and the results of
/// two rollouts of one group.
fn rescorable() -> tempfile::TempDir {
    let folder = folder();
    let answer = |number: u8, level: &str| {
        let finding = json!({ "id": "kind", "level": level, "evidence": null });
        let usage = serde_json::to_value(Usage::default()).unwrap();
        json!({
            "key": format!("{number:02x}").repeat(32),
            "answer": { "prompt": "kind", "at": 7, "usage": usage, "model": "m", "findings": [finding] },
        })
    };
    let lines = format!("{}\n{}\n{}\n", answer(1, "cold"), answer(2, "warm"), answer(3, "icy"));
    write(folder.path(), "answers.jsonl", &lines);
    let imported = guerdon(folder.path(), &["cache", "import", "judge.log", "answers.jsonl"]);
    assert!(imported.status.success(), "{}", transcript(&imported));
    for version in ["old", "new"] {
        std::fs::create_dir(folder.path().join(version)).unwrap();
    }
    write(folder.path(), "old/kind.md", PROMPT);
    write(folder.path(), "new/kind.md", &PROMPT.replace("points = -20", "points = -50"));

    let result = |id: &str, rm: f64, points: i32| {
        let reward = rm + rm * f64::from(points) / 100.0;
        let cold = json!([{ "prompt": "kind", "id": "kind", "level": "cold", "points": points }]);
        let criteria = if points == 0 { json!([]) } else { cold };
        json!({ "id": id, "reward": reward, "turns": [{
            "index": 1, "reward": reward, "enhancement": points, "abstained": [],
            "rm": { "score": rm, "raw": rm, "tokens": 9, "truncated": false },
            "judge": { "points": points, "criteria": criteria, "cached": false, "model": "m" },
        }] })
    };
    let (cold, warm) = (result("cold", 2.0, -20), result("warm", 1.5, 0));
    let mut odd = result("odd", 1.0, -20);
    odd["turns"][0]["reward"] = json!(0.9);
    write(folder.path(), "out.jsonl", &format!("{cold}\n{warm}\n{odd}\n"));
    let rollout = |id: &str| {
        let messages =
            json!([{ "role": "user", "content": "480?" }, { "role": "assistant", "content": id }]);
        json!({ "id": id, "group": "g", "messages": messages })
    };
    let rollouts = ["cold", "warm", "odd"].map(rollout).map(|one| format!("{one}\n")).concat();
    write(folder.path(), "rollouts.jsonl", &rollouts);
    folder
}

#[test]
fn stored_answers_get_new_points_without_a_call() {
    let folder = rescorable();
    let alone = guerdon(folder.path(), &["judge", "rescore", "judge.log", "new/kind.md", "--json"]);
    let report: Value = serde_json::from_str(&stdout(&alone)).unwrap();
    let answers = &report["answers"];
    assert_eq!((&answers["answers"], &answers["unreadable"]), (&json!(2), &json!(1)));
    assert_eq!(answers["mean_after"], -25.0);
    assert!(answers.get("mean_before").is_none() && report.get("rewards").is_none());
    insta::assert_snapshot!(transcript(&guerdon(
        folder.path(),
        &["judge", "rescore", "judge.log", "new/kind.md", "--before", "old/kind.md"],
    )));
}

#[test]
fn stored_rewards_and_ranks_are_recomputed() {
    let folder = rescorable();
    let arguments = [
        "judge",
        "rescore",
        "judge.log",
        "new/kind.md",
        "--before",
        "old/kind.md",
        "--results",
        "out.jsonl",
        "--rollouts",
        "rollouts.jsonl",
    ];
    insta::assert_snapshot!(transcript(&guerdon(folder.path(), &arguments)));
    let json = guerdon(folder.path(), &[&arguments[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&stdout(&json)).unwrap();
    let rewards = &report["rewards"];
    let results = rewards["results"].as_array().unwrap();
    assert_eq!((&results[0]["before"], &results[0]["after"]), (&json!(1.6), &json!(1.0)));
    assert_eq!(results[0]["ranks"], json!([1, 2]));
    assert_eq!(results[1]["ranks"], json!([2, 1]));
    assert!(results[2]["after"].is_null() && results[2]["unknown"].is_string(), "{rewards}");
    assert_eq!((&rewards["reordered"], &rewards["unknown"]), (&json!(1), &json!(1)));
}

#[test]
fn rollouts_get_new_points_from_the_answers_that_are_stored() {
    let folder = rescorable();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = json!({ "findings": { "kind": { "level": "cold", "evidence": null } } });
    let replies = [JudgeReply::content(answer.to_string())];
    let judge = runtime.block_on(StandInJudge::start(replies));
    let config = format!(
        "default_profile = \"p\"\n[judges.j]\nurl = \"{}\"\nmodel = \"m\"\nseal = \"never\"\n\
         [judges.j.cache]\npath = \"live.log\"\n[profiles.p]\njudge = \"j\"\nprompts = [\"old\"]\n",
        judge.url()
    );
    write(folder.path(), "guerdon.toml", &config);
    let tried = ["judge", "try", "old/kind.md", "--rollout", "rollouts.jsonl"];
    let tried = guerdon(folder.path(), &tried);
    assert!(tried.status.success(), "{}", transcript(&tried));
    let calls = judge.calls();
    let arguments =
        ["live.log", "new/kind.md", "--before", "old/kind.md", "--rollouts", "rollouts.jsonl"];
    let arguments = [&["judge", "rescore"], &arguments[..], &["--json"]].concat();
    let output = guerdon(folder.path(), &arguments);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let points = &report["points"];
    assert_eq!((&points["rollouts"], &points["unknown"]), (&json!(3), &json!(2)), "{points}");
    let results = points["results"].as_array().unwrap();
    let first = (results[0]["before"].as_f64(), results[0]["after"].as_f64());
    assert_eq!(first, (Some(-20.0), Some(-50.0)));
    assert_eq!(results[1]["unknown"], "turn 1 has no stored answer");
    assert_eq!(judge.calls(), calls, "nothing is asked");
}

#[test]
fn what_is_missing_is_said() {
    let folder = rescorable();
    for (arguments, part) in [
        (&["no.log", "new/kind.md"][..], "there is no store at no.log"),
        (&["judge.log", "new/kind.md", "--results", "out.jsonl"], "--before"),
        (&["judge.log", "new/kind.md", "--rollouts", "rollouts.jsonl"], "--before"),
        (&["judge.log", "new/kind.md", "--since", "week"], "such as 30d"),
        (&["judge.log", "old", "--before", "rules.yaml"], "rules.yaml"),
        (
            &["judge.log", "new/kind.md", "--before", "old/kind.md", "--results", "in.jsonl"],
            "line 1 is not a result",
        ),
    ] {
        let output = guerdon(folder.path(), &[&["judge", "rescore"], arguments].concat());
        let said = transcript(&output);
        assert!(!output.status.success() && said.contains(part), "{arguments:?}: {said}");
    }
    assert!(!folder.path().join("no.log").exists());
}

#[test]
fn an_empty_file_is_no_store_and_stays_empty() {
    let folder = rescorable();
    write(folder.path(), "empty.log", "");
    let output = guerdon(folder.path(), &["judge", "rescore", "empty.log", "new/kind.md"]);
    assert!(!output.status.success());
    assert!(transcript(&output).contains("is empty"), "{}", transcript(&output));
    assert_eq!(std::fs::read(folder.path().join("empty.log")).unwrap(), b"");
}
