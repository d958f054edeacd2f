//! `ledger`: rollouts are listed, exported and removed.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use guerdon_ledger::{
    Labels, LedgerReader, PostgresStore, RolloutFilter, RolloutRecord, SqliteStore, Texts,
};
use guerdon_parquet::RowReader;
use guerdon_testing::PostgresServer;
use guerdon_types::{FusionConfig, Rollout, RolloutResult, Usage, Versions};
use serde_json::{Value, json};

use crate::{guerdon, stdout, transcript};

/// The result of rollout `index`; every fourth has no reward.
fn result(index: u64) -> RolloutResult {
    let reward = (!index.is_multiple_of(4)).then_some(0.25);
    let error = reward.is_none().then(|| {
        json!({ "type": "about:blank", "title": "t", "status": 503, "detail": "d", "code": "unscored" })
    });
    let turn = json!({ "index": 0, "reward": reward, "enhancement": 2.0, "abstained": [],
        "rules": { "points": 2.0, "hits": [] } });
    let id = format!("r-{index}");
    let json = json!({ "id": id, "reward": reward, "turns": [turn], "error": error });
    serde_json::from_value(json).unwrap()
}

/// A ledger of `count` rollouts, ten a step.
pub(crate) fn made(path: &Path, count: u64) {
    SqliteStore::open(path, Texts::Full).unwrap().append(&records(count)).unwrap();
}

fn records(count: u64) -> Vec<RolloutRecord> {
    let rollout: Rollout = serde_json::from_str(
        r#"{"group": "g", "messages": [{"role": "assistant", "content": "a"}]}"#,
    )
    .unwrap();
    let versions = Arc::new(Versions::new("hotel".into(), FusionConfig::default(), 1));
    let record = |index: u64| RolloutRecord {
        recorded_ms: 1_796_000_000_000 + i64::try_from(index).unwrap(),
        request_id: "request".into(),
        labels: Arc::new(Labels {
            run: Some("exp-12".into()),
            step: Some(index / 10),
            split: None,
        }),
        attempt: None,
        sample: None,
        versions: Arc::clone(&versions),
        rollout: rollout.clone().into(),
        result: result(index),
        usage: Usage::default(),
        scoring_ms: None,
    };
    (0..count).map(record).collect()
}

#[test]
fn exported_lines_and_rows_are_the_results() {
    let folder = tempfile::tempdir().unwrap();
    // More than are read at once.
    made(&folder.path().join("l.sqlite"), 1_201);
    let lines = stdout(&guerdon(folder.path(), &["ledger", "export", "l.sqlite"]));
    let found: Vec<RolloutResult> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found, (0..1_201).map(result).collect::<Vec<_>>());
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["run"], &first["group"]), (&json!("exp-12"), &json!("g")));
    assert_eq!(first["messages"][0]["content"], "a");

    let select = ["ledger", "export", "l.sqlite", "--step", "5..=6", "--out", "o.parquet"];
    assert!(guerdon(folder.path(), &select).status.success());
    let rows = RowReader::open(File::open(folder.path().join("o.parquet")).unwrap()).unwrap();
    let rows: Vec<_> = rows.map(Result::unwrap).collect();
    assert_eq!(rows.len(), 20);
    for (row, index) in rows.iter().zip(50..) {
        assert_eq!(row["id"], json!(format!("r-{index}")));
        assert_eq!(row["step"], json!(index / 10));
        assert_eq!(row["reward"], json!(result(index).reward));
        let turn: Value = serde_json::from_str(row["turns"][0]["json"].as_str().unwrap()).unwrap();
        assert_eq!(turn["rules"]["points"], json!(2.0));
    }
    let again = guerdon(folder.path(), &select);
    assert!(!again.status.success() && transcript(&again).contains("cannot make o.parquet"));
}

#[test]
fn query_lists_the_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    made(&folder.path().join("l.sqlite"), 12);
    let query = ["ledger", "query", "l.sqlite", "--failed", "--limit", "2"];
    insta::assert_snapshot!(stdout(&guerdon(folder.path(), &query)));
    let wrong = guerdon(folder.path(), &["ledger", "query", "l.sqlit"]);
    assert!(transcript(&wrong).contains("there is no ledger at l.sqlit"), "{}", transcript(&wrong));
    assert!(!folder.path().join("l.sqlit").exists());
    let config = guerdon(folder.path(), &["ledger", "query", "l.sqlite", "--step", "a"]);
    assert!(transcript(&config).contains("100..=199"));
}

#[test]
fn prune_removes_what_is_selected_and_asks_for_a_selection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.sqlite");
    made(&path, 30);
    let count = || {
        let reader = LedgerReader::open(&path).unwrap();
        reader.rollouts(&RolloutFilter::default(), 100).unwrap().len()
    };
    let prune = |flags: &[&str]| {
        guerdon(folder.path(), &[&["ledger", "prune", "l.sqlite"], flags].concat())
    };
    assert!(!prune(&[]).status.success());
    assert_eq!(count(), 30);
    assert!(transcript(&prune(&["--step", "1"])).contains("10 rollouts removed"));
    assert_eq!(count(), 20);
    assert!(transcript(&prune(&["--run", "other"])).contains("0 rollouts removed"));
    assert!(!prune(&["--max-bytes", "1", "--run", "exp-12"]).status.success());
    assert!(prune(&["--older-than", "0s"]).status.success());
    assert!(prune(&["--all"]).status.success());
    assert_eq!(count(), 0);
    let bytes = std::fs::read(&path).unwrap();
    let is_left = bytes.windows(6).any(|bytes| bytes == b"exp-12");
    assert!(!is_left, "a name of the run is left in the file");
    let wal = std::fs::read(folder.path().join("l.sqlite-wal")).unwrap_or_default();
    assert!(wal.is_empty());
}

#[test]
fn database_is_queried_exported_and_pruned_like_a_file() {
    let Some(database) = PostgresServer::start() else { return };
    let (folder, url) = (tempfile::tempdir().unwrap(), database.url());
    let run = |ledger: &str, command: &str, flags: &[&str]| {
        transcript(&guerdon(folder.path(), &[&["ledger", command, ledger], flags].concat()))
    };
    assert!(run(&url, "query", &[]).contains("the database has no ledger"));
    made(&folder.path().join("l.sqlite"), 1_201);
    let mut store = PostgresStore::new(&url, Texts::Full).unwrap();
    records(1_201).chunks(256).for_each(|batch| store.append(batch).unwrap());
    for (command, flags) in [
        ("query", &["--failed", "--limit", "7"][..]),
        ("query", &["--step", "3", "--json"]),
        ("export", &[]),
        ("export", &["--run", "exp-12", "--step", "2..=30"]),
        ("prune", &["--step", "2..=4"]),
        ("prune", &["--run", "other"]),
        ("prune", &[]),
        ("export", &["--step", "1..=5"]),
        ("prune", &["--max-bytes", "1"]),
        ("query", &[]),
    ] {
        assert_eq!(
            run(&url, command, flags),
            run("l.sqlite", command, flags),
            "{command} {flags:?}"
        );
    }
}

#[test]
fn password_of_a_database_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let config = |url: &str| {
        let profile = "[profiles.p.fusion]\n";
        let file = folder.path().join("guerdon.toml");
        std::fs::write(file, format!("[ledger]\nurl = \"{url}\"\n{profile}")).unwrap();
        let of = |command: &str| transcript(&guerdon(folder.path(), &["config", command]));
        (of("show"), of("check"))
    };
    let (shown, checked) = config("postgres://u:s3cret@h/d?sslmode=require");
    assert!(shown.contains("url = \"postgres://h:5432/d\""), "{shown}");
    assert!(checked.contains("sslmode=require is not supported"), "{checked}");
    assert!(!format!("{shown}{checked}").contains("s3cret"));
    let (shown, checked) = config("postgres://u:s3cret@h:s3cret");
    assert!(checked.contains("ledger.url: ") && !format!("{shown}{checked}").contains("s3cret"));
}
