//! `guerdon score`: rows of other forms, Parquet, and preference pairs.

use std::fs::File;
use std::path::Path;
use std::process::Output;

use guerdon_parquet::{Column, RowReader, RowWriter};
use serde_json::{Value, json};

use crate::{folder, guerdon, stdout, transcript, write};

fn score(folder: &Path, arguments: &[&str]) -> Output {
    let fusion = ["--local", "--sources=rules", "--fusion", "{\"method\": \"weighted_sum\"}"];
    guerdon(folder, &[&["score"], arguments, &fusion].concat())
}

/// The rewards of an output that must have succeeded.
fn rewards(output: &Output) -> Vec<f64> {
    assert!(output.status.success(), "{}", transcript(output));
    let reward =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["reward"].as_f64().unwrap();
    stdout(output).lines().map(reward).collect()
}

const ASKED: &str = "480 ?";
const GOOD: &str = "420 .";
const LEAK: &str = "see the work order .";

/// Two rollouts in every form.
fn forms() -> Vec<(&'static str, Vec<Value>)> {
    let messages = |reply: &str| json!([{ "role": "user", "content": ASKED }, { "role": "assistant", "content": reply }]);
    let rows = |row: &dyn Fn(&str) -> Value| vec![row(GOOD), row(LEAK)];
    vec![
        ("guerdon", rows(&|reply| json!({ "messages": messages(reply) }))),
        ("openai", rows(&|reply| json!({ "messages": messages(reply), "model": "m" }))),
        (
            "openai-batch",
            rows(&|reply| json!({ "custom_id": reply, "body": { "messages": messages(reply) } })),
        ),
        (
            "sharegpt",
            rows(&|reply| {
                let turns = [("human", ASKED), ("gpt", reply)];
                let turn = |(from, value)| json!({ "from": from, "value": value });
                json!({ "conversations": turns.map(turn) })
            }),
        ),
        ("trl", rows(&|reply| json!({ "prompt": ASKED, "completion": reply }))),
        (
            "verl",
            rows(&|reply| {
                json!({ "data_source": "d", "prompt": [messages(reply)[0]], "responses": [reply],
                    "reward_model": { "style": "rule", "ground_truth": "420" } })
            }),
        ),
    ]
}

#[test]
fn every_form_is_detected_and_named_forms_are_read_alike() {
    let folder = folder();
    for (form, rows) in forms() {
        let lines: Vec<_> = rows.iter().map(Value::to_string).collect();
        write(folder.path(), "in.jsonl", &(lines.join("\n") + "\n"));
        let detected = rewards(&score(folder.path(), &["in.jsonl"]));
        assert!((detected[0] - detected[1]).abs() > 1e-3, "{form}: {detected:?}");
        let named = rewards(&score(folder.path(), &["in.jsonl", "--form", form]));
        assert_eq!(detected, named, "{form}");
        write(folder.path(), "in.json", &format!("[{}]", lines.join(",\n")));
        assert_eq!(rewards(&score(folder.path(), &["in.json"])), named, "{form}");
    }
    let all: Vec<String> =
        forms().iter().flat_map(|(_, rows)| rows.iter().map(Value::to_string)).collect();
    write(folder.path(), "mixed.jsonl", &all.join("\n"));
    let mixed = rewards(&score(folder.path(), &["mixed.jsonl"]));
    assert!(mixed.chunks(2).all(|pair| pair == &mixed[..2]), "{mixed:?}");
}

#[test]
fn pairs_are_scored_on_both_sides_and_counted() {
    let folder = folder();
    let row = |chosen: &str, rejected: &str| {
        json!({ "prompt": ASKED, "chosen": chosen, "rejected": rejected }).to_string() + "\n"
    };
    let rows = [row(GOOD, LEAK), row(LEAK, GOOD), row(GOOD, GOOD)].concat();
    write(folder.path(), "in.jsonl", &rows);
    for out in [&[][..], &["--out", "out.jsonl"], &["--out", "out.parquet"]] {
        let output = score(folder.path(), &[&["in.jsonl"], out].concat());
        assert!(output.status.success(), "{}", transcript(&output));
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        let words = "accuracy 0.333: in 1 of 3 the chosen reply has the higher reward; 1 equal";
        assert!(shown.contains(words), "{shown}");
    }
    let first = std::fs::read_to_string(folder.path().join("out.jsonl")).unwrap();
    assert!(first.starts_with("{\"id\":\"row-1-chosen\""), "{first}");
}

#[test]
fn parquet_is_read_and_written() {
    let folder = folder();
    let turn = vec![Column::text("role"), Column::text("content")];
    let columns = vec![Column::text("id"), Column::list("messages", turn)];
    let mut file = File::create(folder.path().join("in.parquet")).unwrap();
    let mut rows = RowWriter::new(&mut file, columns).unwrap();
    for (id, reply) in [("a", GOOD), ("b", LEAK)] {
        let turns = json!([{ "role": "user", "content": ASKED }, { "role": "assistant", "content": reply }]);
        rows.write(json!({ "id": id, "messages": turns }).as_object().unwrap()).unwrap();
    }
    rows.finish().unwrap();
    let lines = score(folder.path(), &["in.parquet"]);
    let wanted = rewards(&lines);
    assert_eq!(wanted.len(), 2);
    let output = score(folder.path(), &["in.parquet", "--out", "out.parquet"]);
    assert!(output.status.success(), "{}", transcript(&output));
    let found = File::open(folder.path().join("out.parquet")).unwrap();
    let found: Vec<_> = RowReader::open(found).unwrap().map(Result::unwrap).collect();
    for ((row, line), reward) in found.iter().zip(stdout(&lines).lines()).zip(wanted) {
        let result: Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["id"], result["id"]);
        assert!((row["reward"].as_f64().unwrap() - reward).abs() < 1e-9);
        let turn: Value = serde_json::from_str(row["turns"][0]["json"].as_str().unwrap()).unwrap();
        assert_eq!(turn, result["turns"][0]);
    }
    let table = score(folder.path(), &["in.parquet", "--table", "--out", "out.parquet"]);
    assert!(transcript(&table).contains("--table writes text"), "{}", transcript(&table));
    std::fs::write(folder.path().join("cut.parquet"), b"PAR1....").unwrap();
    let cut = score(folder.path(), &["cut.parquet"]);
    assert!(transcript(&cut).contains("cannot read cut.parquet"), "{}", transcript(&cut));
}

#[test]
fn resumed_run_must_read_rows_alike() {
    let folder = folder();
    let row = json!({ "prompt": ASKED, "completion": GOOD }).to_string();
    write(folder.path(), "in.jsonl", &row);
    let out = ["in.jsonl", "--out", "out.jsonl", "--resume"];
    assert!(score(folder.path(), &out).status.success());
    let other = score(folder.path(), &[&out[..], &["--thoughts", "drop"]].concat());
    assert!(transcript(&other).contains("`thoughts` is \"drop\""), "{}", transcript(&other));
}
