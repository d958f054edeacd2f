//! `guerdon score --in`: many files by parts, by one worker or several.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Output};
use std::time::Duration;

use flate2::write::GzEncoder;
use guerdon_parquet::{Column, RowReader, RowWriter};
use guerdon_testing::wait_until_blocking;
use serde_json::{Value, json};

use crate::{command, folder, guerdon, transcript, write};

const LOCAL: [&str; 4] =
    ["--local", "--sources=rules", "--fusion", "{\"method\": \"weighted_sum\"}"];

/// Rollout `n` of a data set: some with an id, some that hit a rule, and one that cannot be read.
fn rollout(n: usize) -> Value {
    let text = if n.is_multiple_of(3) { "see the work order ." } else { "420 ." };
    let role = if n == 17 { "robot" } else { "assistant" };
    let mut rollout = json!({"messages": [{"role": role, "content": format!("{n}: {text}")}]});
    if n.is_multiple_of(2) {
        rollout["id"] = json!(format!("r{n}"));
    }
    rollout
}

/// A Parquet file with row groups of `group` rows: a column of messages as JSON text.
fn parquet(path: &Path, rows: std::ops::Range<usize>, group: usize) {
    let columns = vec![
        Column::text("id"),
        Column::list("messages", vec![Column::text("role"), Column::text("content")]),
    ];
    let file = std::fs::File::create(path).unwrap();
    let mut writer = RowWriter::new(file, columns).unwrap();
    for n in rows {
        writer.write(rollout(n).as_object().unwrap()).unwrap();
        if n % group == group - 1 {
            writer.end_group().unwrap();
        }
    }
    writer.finish().unwrap();
}

fn lines(rows: std::ops::Range<usize>) -> String {
    rows.map(|n| format!("{}\n", rollout(n))).collect()
}

/// A folder with a configuration, and with an input of three formats in `data`.
fn data() -> tempfile::TempDir {
    let folder = folder();
    std::fs::create_dir_all(folder.path().join("data/more")).unwrap();
    parquet(&folder.path().join("data/a.parquet"), 0..230, 20);
    write(folder.path(), "data/b.jsonl", &lines(0..300));
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, lines(300..400).as_bytes()).unwrap();
    std::fs::write(folder.path().join("data/more/c.jsonl.gz"), gzip.finish().unwrap()).unwrap();
    write(folder.path(), "data/more/notes.txt", "no rollouts");
    folder
}

fn arguments<'a>(pattern: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed =
        ["score", "--in", pattern, "--out", out, "--part-bytes", "9000", "--part-rows", "100"];
    [&fixed[..], &LOCAL, more].concat()
}

fn score(folder: &Path, pattern: &str, out: &str, more: &[&str]) -> Output {
    guerdon(folder, &arguments(pattern, out, more))
}

/// The files of a folder with their content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = |path: std::path::PathBuf| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
    };
    entries.map(file).collect()
}

/// The ids and rewards of all parts.
fn results(folder: &Path) -> Vec<(String, Value)> {
    let mut results = Vec::new();
    for name in files(folder).keys().filter(|name| name.ends_with(".parquet")) {
        for row in RowReader::open(std::fs::File::open(folder.join(name)).unwrap()).unwrap() {
            let row = row.unwrap();
            results.push((row["id"].as_str().unwrap().to_owned(), row["reward"].clone()));
        }
    }
    results
}

#[test]
fn parts_have_every_row_once_with_the_results_of_a_plain_run() {
    let folder = data();
    let output = score(folder.path(), "data", "out", &[]);
    assert!(output.status.success(), "{}", transcript(&output));
    let manifest = std::fs::read(folder.path().join("out/_manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!((&manifest["rollouts"], &manifest["unscored"]), (&json!(630), &json!(2)));
    let parts = manifest["parts"].as_array().unwrap();
    let of = |file: &str| parts.iter().filter(|part| part["input"]["file"] == file).count();
    assert_eq!((of("a.parquet"), of("more/c.jsonl.gz")), (3, 1), "whole row groups, one file");
    assert!(of("b.jsonl") > 2, "{manifest}");
    let names: BTreeSet<String> =
        parts.iter().map(|part| part["name"].as_str().unwrap().to_owned()).collect();
    let written = files(&folder.path().join("out"));
    let written = written.keys().filter(|name| name.ends_with(".parquet")).cloned();
    assert_eq!(names, written.collect());

    // A plain run over the same rows.
    write(
        folder.path(),
        "all.jsonl",
        &[lines(0..230), lines(0..400)].concat().replace("\"id\"", "\"group\""),
    );
    let plain =
        guerdon(folder.path(), &[&["score", "all.jsonl", "-o", "all.out"][..], &LOCAL].concat());
    assert_eq!(plain.status.code(), Some(1), "{}", transcript(&plain));
    let plain = std::fs::read_to_string(folder.path().join("all.out")).unwrap();
    let mut expected: Vec<String> = plain
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["reward"].to_string())
        .collect();
    let found = results(&folder.path().join("out"));
    let mut rewards: Vec<String> = found.iter().map(|(_, reward)| reward.to_string()).collect();
    expected.sort();
    rewards.sort();
    assert_eq!(rewards, expected);
    let ids: BTreeSet<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    assert!(ids.contains("r0") && ids.contains("229"), "the number of a row is its id");
}

#[test]
fn shards_together_are_the_whole_and_every_order_of_workers_gives_the_same_bytes() {
    let folder = data();
    let whole = score(folder.path(), "data", "whole", &[]);
    assert!(whole.status.success(), "{}", transcript(&whole));
    for shard in ["2/3", "0/3", "1/3"] {
        assert!(!folder.path().join("shards/_manifest.json").exists());
        let output = score(folder.path(), "data", "shards", &["--shard", shard]);
        assert!(output.status.success(), "{}", transcript(&output));
    }
    assert!(files(&folder.path().join("whole")) == files(&folder.path().join("shards")));
    // Nothing is scored twice, and nothing is replaced.
    let refused = score(folder.path(), "data", "shards", &["--shard", "1/3"]);
    assert!(transcript(&refused).contains("add --resume"), "{}", transcript(&refused));
    let again = score(folder.path(), "data", "shards", &["--shard", "1/3", "--resume"]);
    assert!(transcript(&again).contains(" 0 written"), "{}", transcript(&again));
}

fn start(folder: &Path, more: &[&str]) -> Child {
    let mut command = command(folder, &arguments("data/*", "out", more));
    command.stderr(std::process::Stdio::piped()).spawn().unwrap()
}

fn part_count(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder.join("out")).into_iter().flatten();
    names
        .filter(|name| name.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".parquet"))
        .count()
}

#[test]
fn two_workers_on_one_shard_leave_one_copy_and_a_killed_one_is_resumed() {
    let folder = data();
    let whole = score(folder.path(), "data/*", "whole", &[]);
    assert!(whole.status.success(), "{}", transcript(&whole));
    // Killed between two parts, or within one.
    let mut killed = start(folder.path(), &[]);
    wait_until_blocking("a part is there", Duration::from_secs(60), || {
        part_count(folder.path()) > 0
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before = files(&folder.path().join("out"));
    let workers = [start(folder.path(), &["--resume"]), start(folder.path(), &["--resume"])];
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", transcript(&output));
    }
    let after = files(&folder.path().join("out"));
    assert!(after == files(&folder.path().join("whole")));
    let kept = |(name, content): (&String, &Vec<u8>)| after.get(name) == Some(content);
    assert!(before.iter().filter(|(name, _)| name.ends_with(".parquet")).all(kept));
}

#[test]
fn folder_of_another_run_is_refused_with_the_difference() {
    let folder = data();
    let first = score(folder.path(), "data/b.jsonl", "out", &[]);
    assert!(first.status.success(), "{}", transcript(&first));
    for (pattern, more, words) in [
        ("data/*.parquet", &["--resume"][..], "the input is another one"),
        ("data/b.jsonl", &["--resume", "--thoughts", "drop"], "`thoughts` is \"drop\""),
        ("data/b.jsonl", &["--resume", "--part-bytes", "5000"], "the input is another one"),
    ] {
        let mut all = arguments(pattern, "out", more);
        if more.contains(&"--part-bytes") {
            all.drain(5..7);
        }
        let refused = guerdon(folder.path(), &all);
        assert!(!refused.status.success());
        assert!(transcript(&refused).contains(words), "{}", transcript(&refused));
    }
    write(folder.path(), "rules.yaml", &crate::PACK.replace("-50", "-60"));
    let refused = score(folder.path(), "data/b.jsonl", "out", &["--resume"]);
    assert!(transcript(&refused).contains("versions that score"), "{}", transcript(&refused));
}

#[test]
fn wrong_arguments_are_one_clear_error() {
    let folder = data();
    for (pattern, more, words) in [
        ("data", &["--shard", "3/3"][..], "the last shard is 2/3"),
        ("data", &["--shard", "x"], "such as 0/8"),
        ("data", &["--table"], "--table"),
        ("data", &["--advantages", "grpo"], "--advantages"),
        ("nothing/*.parquet", &[], "names no file"),
        ("data/more/notes.txt/x", &[], "names no file"),
        ("ftp://host/x", &[], "scheme `ftp`"),
        ("s3://bucket/x", &[], "mount the bucket"),
    ] {
        let refused = score(folder.path(), pattern, "out", more);
        assert!(!refused.status.success(), "{pattern}");
        let text = transcript(&refused);
        assert!(text.contains(words) && !text.contains("panicked"), "{pattern}: {text}");
    }
    assert!(!folder.path().join("out").exists());
}
