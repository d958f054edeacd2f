//! Fills a ledger with made-up rollouts, then times the queries of screens: `fill FILE ROLLOUTS
//! [SLICE]`. A second run continues where the first ended; SLICE bounds the rollouts of one run.
//!
//! Each rollout has one turn with a reward model, a judge with three criteria and a rule that hits
//! every second turn. Every fiftieth judge abstains. Texts are not kept. Runs have 500 steps of 1,000
//! rollouts, in groups of eight.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and may panic")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use guerdon_ledger::{Labels, LedgerReader, RolloutFilter, RolloutRecord, SqliteStore, Texts};
use guerdon_types::{FusionConfig, Rollout, RolloutResult, Usage, Versions};
use rusqlite::Connection;
use serde_json::json;

/// Rollouts of a transaction.
const BATCH: u64 = 1_000;
const STEPS: u64 = 500;
const ROLLOUTS_PER_STEP: u64 = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = Path::new(&arguments[0]);
    let count: u64 = arguments[1].parse().unwrap();
    let slice = arguments.get(2).map_or(count, |slice| slice.parse().unwrap());
    let mut store = SqliteStore::open(path, Texts::None).unwrap();
    let reader = LedgerReader::open(path).unwrap();
    let number = |sql: &str| reader.connection().query_row(sql, [], |row| row.get(0));
    let first: u64 = number("SELECT coalesce(max(id), 0) FROM rollouts").unwrap();
    let started = Instant::now();
    let end = count.min(first + slice);
    for start in (first..end).step_by(usize::try_from(BATCH).unwrap()) {
        let batch: Vec<_> = (start..(start + BATCH).min(end)).map(record).collect();
        store.append(&batch).unwrap();
    }
    store.checkpoint().unwrap();
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of rollouts is far below 2^52")]
    let rate = (end - first) as f64 / seconds;
    let bytes = std::fs::metadata(path).unwrap().len();
    println!("{end} rollouts, {bytes} bytes; {rate:.0} rollouts/s in this slice of {seconds:.1} s");
    queries(&reader, end);
}

/// A number in [0, 1) that depends on `index` and `salt` only.
fn noise(index: u64, salt: u64) -> f64 {
    let mixed = (index ^ (salt << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    f64::from(u32::try_from(mixed >> 32).unwrap()) / 4_294_967_296.0
}

fn record(index: u64) -> RolloutRecord {
    let (rm, judge) = (noise(index, 1) * 4.0 - 2.0, (noise(index, 2) * 40.0 - 20.0).round());
    let hit = index.is_multiple_of(2);
    let silent = index % 50 == 7;
    let rules = if hit { -15.0 } else { 0.0 };
    let criterion =
        |id: &str| json!({ "prompt": "kind", "id": id, "level": "warm", "points": judge / 3.0 });
    let part = json!({ "points": judge, "criteria": [criterion("a"), criterion("b"), criterion("c")],
        "cached": false, "model": "m" });
    let abstained = json!([{ "source": "judge", "why": "deadline", "detail": "" }]);
    let rule = json!([{ "pack": "guardrails", "rule": format!("rule-{}", index % 40), "points": rules,
        "spans": [[4, 9]] }]);
    let reward = rm + rm * (judge + rules) / 100.0;
    let turn = json!({ "index": 1, "reward": reward, "enhancement": judge + rules,
        "rm": { "score": rm, "raw": rm, "tokens": 40, "truncated": false },
        "judge": if silent { json!(null) } else { part },
        "rules": { "points": rules, "hits": if hit { rule } else { json!([]) } },
        "abstained": if silent { abstained } else { json!([]) } });
    let result: RolloutResult = serde_json::from_value(
        json!({ "id": format!("r-{index}"), "reward": reward, "turns": [turn] }),
    )
    .unwrap();
    let group = index / 8;
    let rollout: Rollout = serde_json::from_value(json!({ "group": format!("prompt-{group}"),
        "messages": [{ "role": "user", "content": "480 is our best price." },
            { "role": "assistant", "content": "Could we meet at 420, given a two-year contract?" }] }))
    .unwrap();
    let step = index / ROLLOUTS_PER_STEP;
    let mut versions = Versions::new("hotel".into(), FusionConfig::default(), 1 + step / 250);
    versions.digest = Some(format!("sha256:{:064}", step / 250));
    RolloutRecord {
        recorded_ms: 1_796_000_000_000 + i64::try_from(index).unwrap(),
        request_id: format!("{:032x}", index / 8).into(),
        labels: Arc::new(Labels {
            run: Some(format!("exp-{}", step / STEPS)),
            step: Some(step % STEPS),
            split: Some("train".into()),
        }),
        attempt: None,
        sample: None,
        versions: Arc::new(versions),
        rollout: rollout.into(),
        result,
        usage: Usage::default(),
        scoring_ms: Some(1.5),
    }
}

const RUN: &str = "(SELECT id FROM strings WHERE text = ?1)";

/// Times every query for 40 places of the ledger, which no query has read before.
fn queries(reader: &LedgerReader, count: u64) {
    let run_of = |index: u64| format!("exp-{}", index / ROLLOUTS_PER_STEP / STEPS);
    let db = reader.connection();
    let by_run = |sql: String| move |index: u64| rows(db, &sql.replace("RUN", RUN), &run_of(index));
    let steps = by_run(
        "SELECT step, sum(rollouts), sum(missing), sum(total), sum(squares) FROM step_rewards \
         WHERE run = RUN GROUP BY step"
            .into(),
    );
    let sources = by_run(
        "SELECT step, source, sum(total), sum(valued), sum(abstained) FROM step_sources \
         WHERE run = RUN GROUP BY step, source"
            .into(),
    );
    let quantiles = by_run(
        "SELECT step, count(reward), min(reward), max(reward) FROM (SELECT step, reward, \
         ntile(10) OVER (PARTITION BY step ORDER BY reward) AS tile FROM rollouts \
         WHERE run = RUN AND step BETWEEN 100 AND 119) GROUP BY step, tile"
            .into(),
    );
    let abstentions = by_run(
        "SELECT p.why, count(*) FROM parts p JOIN rollouts r ON r.id = p.rollout \
         WHERE r.run = RUN AND r.step BETWEEN 100 AND 119 AND p.why IS NOT NULL GROUP BY p.why"
            .into(),
    );
    let group = |index: u64| {
        let filter = RolloutFilter {
            group: Some(format!("prompt-{}", index / 8)),
            ..RolloutFilter::default()
        };
        reader.rollouts(&filter, 100).unwrap().len()
    };
    let rollout = |index: u64| {
        usize::from(reader.rollout(i64::try_from(index + 1).unwrap()).unwrap().is_some())
    };
    let newest = |index: u64| {
        let filter = RolloutFilter {
            run: Some(run_of(index)),
            newest_first: true,
            ..RolloutFilter::default()
        };
        reader.rollouts(&filter, 50).unwrap().len()
    };
    let rule = |index: u64| {
        let sql = "SELECT rollout, value FROM components WHERE name = \
                   (SELECT id FROM strings WHERE text = ?1) ORDER BY rollout DESC LIMIT 50";
        rows(db, sql, &format!("guardrails/rule-{}", index % 20 * 2))
    };
    let all: [(&str, &dyn Fn(u64) -> usize); 8] = [
        ("run: reward by step", &steps),
        ("run: sources by step", &sources),
        ("run: deciles of 20 steps", &quantiles),
        ("run: abstentions of 20 steps", &abstentions),
        ("group: its rollouts", &group),
        ("rollout: one", &rollout),
        ("list: newest 50 of a run", &newest),
        ("rule: newest 50 hits", &rule),
    ];
    for (name, query) in all {
        let mut times: Vec<f64> = (0..40_u64)
            .map(|place| {
                let index = count * place / 40 + 3;
                let started = Instant::now();
                let found = query(index.min(count - 1));
                assert!(found > 0, "{name} finds nothing at {index}");
                started.elapsed().as_secs_f64() * 1_000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "{name}: p50 {:.1} ms, p95 {:.1} ms, most {:.1} ms",
            times[19], times[37], times[39]
        );
    }
}

fn rows(db: &Connection, sql: &str, name: &str) -> usize {
    let mut query = db.prepare_cached(sql).unwrap();
    let mut rows = query.query([name]).unwrap();
    let mut count = 0;
    while rows.next().unwrap().is_some() {
        count += 1;
    }
    count
}
