//! `rescore`: recorded rollouts get the rewards that an edited profile gives them, as scoring them
//! again would.

use std::path::Path;

use guerdon_ledger::{LedgerReader, RolloutFilter};
use guerdon_testing::wait_until_blocking;
use serde_json::{Value, json};

use crate::score::Serving;
use crate::{PACK, folder, guerdon, stdout, transcript, write};

const LONG: std::time::Duration = std::time::Duration::from_secs(60);

/// A folder whose ledger has what a server recorded of `rollouts.jsonl`.
fn recorded(texts: &str) -> tempfile::TempDir {
    let folder = folder();
    let config = std::fs::read_to_string(folder.path().join("guerdon.toml")).unwrap();
    let ledger = format!("[ledger]\npath = \"l.sqlite\"\ntexts = \"{texts}\"\n");
    write(folder.path(), "guerdon.toml", &format!("{config}{ledger}"));
    let rollout = |index: usize| {
        let said = ["420 .", "see the work order .", "we hope so .", "the work order is late ."];
        let messages = json!([{ "role": "user", "content": "480 ?" },
            { "role": "assistant", "content": said[index % said.len()] }]);
        json!({ "id": index.to_string(), "group": (index / 4).to_string(), "messages": messages })
    };
    let lines: String = (0..12).map(|index| format!("{}\n", rollout(index))).collect();
    write(folder.path(), "rollouts.jsonl", &lines);
    let server = Serving::new(folder.path());
    let score = ["score", "rollouts.jsonl", "--url", &server.url, "--out", "old.jsonl"];
    let scored = guerdon(folder.path(), &score);
    assert!(scored.status.success(), "{}", transcript(&scored));
    let path = folder.path().join("l.sqlite");
    wait_until_blocking("the ledger is written", LONG, || {
        let reader = LedgerReader::open(&path).unwrap();
        reader.rollouts(&RolloutFilter::default(), 100).unwrap().len() == 12
    });
    folder
}

fn rescore(folder: &Path) -> Value {
    let output = guerdon(folder, &["rescore", "l.sqlite", "--profile", "p", "--json"]);
    assert!(output.status.success(), "{}", transcript(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

/// The rewards of scoring the rollouts again, by their ids.
fn scored_again(folder: &Path) -> Vec<(String, f64)> {
    let output = guerdon(folder, &["score", "rollouts.jsonl", "--local", "--out", "new.jsonl"]);
    assert!(output.status.success(), "{}", transcript(&output));
    let lines = std::fs::read_to_string(folder.join("new.jsonl")).unwrap();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        Some((line["id"].as_str()?.to_owned(), line["reward"].as_f64()?))
    };
    lines.lines().filter_map(line).collect()
}

#[test]
fn edited_rules_and_fusion_give_the_rewards_of_scoring_again() {
    let folder = recorded("full");
    let unchanged = rescore(folder.path());
    assert_eq!((&unchanged["rollouts"], &unchanged["changed"]), (&json!(12), &json!(0)));
    assert_eq!(unchanged["unknown"], json!(0));

    let added = "  - id: hope
    about: Hopes.
    points: 25
    match: { any_of: ['hope'] }
    examples: { hits: ['we hope so'], misses: ['see you'] }
";
    let config = std::fs::read_to_string(folder.path().join("guerdon.toml")).unwrap();
    let fusion = "[profiles.p.fusion]\nmethod = \"weighted_sum\"\nbound = 30\n";
    for (rules, fusion) in [
        (PACK.replace("-50", "-5"), ""),
        (format!("{PACK}{added}"), ""),
        (PACK.to_owned(), fusion),
        (format!("{}{added}", PACK.replace("-50", "-70")), fusion),
    ] {
        write(folder.path(), "rules.yaml", &rules);
        write(folder.path(), "guerdon.toml", &format!("{config}{fusion}"));
        let report = rescore(folder.path());
        let again = scored_again(folder.path());
        assert_eq!((report["unknown"].as_u64(), again.len()), (Some(0), 12), "{report}");
        assert!(report["changed"].as_u64().unwrap() > 0, "{report}");
        for (id, reward) in again {
            let results = report["results"].as_array().unwrap();
            let own = results.iter().find(|one| one["id"] == json!(id)).unwrap();
            let difference = own["after"].as_f64().unwrap() - reward;
            // The tiny model's last bits depend on the size of its batch.
            assert!(difference.abs() < 1e-5, "{own} {reward}");
        }
    }
}

#[test]
fn what_cannot_be_recomputed_is_counted_with_the_reason() {
    let folder = recorded("none");
    write(folder.path(), "rules.yaml", &PACK.replace("-50", "-5"));
    let report = rescore(folder.path());
    assert_eq!(report["unknown"], json!(12));
    assert!(report["results"].as_array().unwrap().iter().all(|one| one["after"].is_null()));
    let table = guerdon(folder.path(), &["rescore", "l.sqlite", "--profile", "p"]);
    assert!(transcript(&table).contains("the ledger keeps no texts"), "{}", transcript(&table));
    let other = guerdon(folder.path(), &["rescore", "l.sqlite", "--profile", "q"]);
    assert!(transcript(&other).contains("there is no profile `q`; the configuration has p"));
}
