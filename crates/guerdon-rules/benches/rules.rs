//! Turns per second of CPU time on one thread: the shipped packs on labelled dialogues, and generated
//! rules next to a peer on the same rules and turns.
//!
//!     cargo bench -p guerdon-rules    # 200 and 1,000 rules, 5,000 turns from a seed
//!     GUERDON_BENCH_TEXTS=texts.jsonl cargo bench -p guerdon-rules
//!     bench/run.sh hyperscan          # hyperscan as the peer, three rounds
//!
//! The second form mixes in the texts of a file of JSON lines: every string under a key `content`.
//! `GUERDON_BENCH_ROLLOUTS` names rollouts for the shipped packs in place of the labelled ones, and
//! `GUERDON_BENCH_PEER` a script in place of Python's `re`. `PYTHON` names the interpreter. Without
//! one, the peer is left out and the table states it.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reads its own environment, prints its table, and may fail"
)]

mod workload;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use guerdon_rules::{RulePacks, SourceText};
use guerdon_types::{Message, Role, Rollout};
use serde_json::{Value, json};

const TURNS: usize = 5_000;
/// The number of passes of a round. The fastest counts, in CPU time, because other work on the
/// machine only slows passes down.
const PASSES: usize = 7;

fn main() {
    // `cargo test --benches` and nextest only check that it starts.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    shipped();
    let counts = setting("GUERDON_BENCH_RULES").unwrap_or_else(|| "200,1000".to_owned());
    let rounds = setting("GUERDON_BENCH_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let samples = setting("GUERDON_BENCH_TEXTS").map(|path| sampled(&path)).unwrap_or_default();
    let turns = workload::turns(TURNS, &samples);
    let bytes: usize = turns.iter().map(String::len).sum();
    println!(
        "{TURNS} turns, {} bytes each, {} sampled texts; one thread",
        bytes / TURNS,
        samples.len()
    );
    println!(
        "{:>6} {:>14} {:>12} {:>10} {:>10} {:>8} {:>8} {:>9}",
        "rules", "engine", "turns/s", "ratio", "us/turn", "hits", "spans", "notes"
    );
    for count in counts.split(',').filter(|count| !count.is_empty()) {
        measure(count.parse().unwrap(), rounds, &turns);
    }
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The packs of `rules/` on every turn to be scored.
fn shipped() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let labelled = root.join("crates/guerdon-rules/tests/labelled/natural.jsonl");
    let path = setting("GUERDON_BENCH_ROLLOUTS").unwrap_or_else(|| labelled.display().to_string());
    let mut packs: Vec<SourceText> = std::fs::read_dir(root.join("rules"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| SourceText {
            name: path.display().to_string(),
            text: std::fs::read_to_string(path).unwrap(),
        })
        .collect();
    packs.sort_by(|a, b| a.name.cmp(&b.name));
    let (packs, _) = RulePacks::compile(&packs).unwrap_or_else(|report| panic!("{report}"));
    let read = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row.as_object_mut().unwrap().remove("labels");
        let rollout: Rollout = serde_json::from_value(row).unwrap();
        let is_scored = |(_, message): &(usize, &Message)| message.role == Role::Assistant;
        let turns: Vec<usize> =
            rollout.messages.iter().enumerate().filter(is_scored).map(|(at, _)| at).collect();
        (rollout, turns)
    };
    let rollouts: Vec<(Rollout, Vec<usize>)> =
        std::fs::read_to_string(path).unwrap().lines().map(read).collect();
    let count: usize = rollouts.iter().map(|(_, turns)| turns.len()).sum();
    let mut hits = 0;
    let best = fastest(|| {
        hits = 0;
        for (rollout, turns) in &rollouts {
            let found = packs.evaluate_turns(rollout, turns);
            hits += found.iter().map(|found| found.part.hits.len()).sum::<usize>();
        }
    });
    let speed = count as f64 / best;
    println!("shipped packs: {count} turns, {hits} hits, {speed:.0} turns/s of CPU time");
}

/// The CPU time of the fastest pass, in seconds.
fn fastest(mut pass: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let started = cpu_seconds();
        pass();
        best = best.min(cpu_seconds() - started);
    }
    best
}

fn measure(count: usize, rounds: usize, turns: &[String]) {
    let rules = workload::rules(count);
    let text = workload::pack(&rules);
    let started = Instant::now();
    let (packs, _) = RulePacks::compile(&[SourceText { name: "bench.yaml".into(), text }])
        .unwrap_or_else(|report| panic!("{report}"));
    let compiled = started.elapsed();
    let rollouts: Vec<Rollout> = turns.iter().map(|text| rollout(text)).collect();
    for _ in 0..rounds {
        let (mut hits, mut spans) = (0, 0);
        let best = fastest(|| {
            (hits, spans) = (0, 0);
            for rollout in &rollouts {
                let part = packs.evaluate(rollout, 0);
                hits += part.hits.len();
                spans += part.hits.iter().map(|hit| hit.spans.len()).sum::<usize>();
            }
        });
        let ours = turns.len() as f64 / best;
        let peer = peer(&rules, turns);
        let ratio =
            peer.as_ref().map_or(f64::NAN, |peer| ours / peer["turns_per_s"].as_f64().unwrap());
        let notes = format!(
            "compiled in {:.0} ms, {} KiB",
            compiled.as_secs_f64() * 1e3,
            packs.memory() / 1024
        );
        println!(
            "{count:>6} {:>14} {ours:>12.0} {ratio:>10.2} {:>10.2} {hits:>8} {spans:>8}   {notes}",
            "guerdon",
            1e6 / ours
        );
        match peer {
            Some(peer) => {
                let speed = peer["turns_per_s"].as_f64().unwrap();
                println!(
                    "{count:>6} {:>14} {speed:>12.0} {:>10.2} {:>10.2} {:>8} {:>8}   folded for it beforehand",
                    peer["engine"].as_str().unwrap(),
                    1.0,
                    1e6 / speed,
                    peer["hits"],
                    peer["spans"]
                );
            }
            None => println!("{count:>6} {:>14}   no Python: set PYTHON", "peer"),
        }
    }
}

/// The CPU time of this thread in seconds. Wall time would include other work on the machine.
fn cpu_seconds() -> f64 {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedule.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn rollout(text: &str) -> Rollout {
    Rollout { messages: vec![Message::new(Role::Assistant, text)], ..Rollout::default() }
}

/// Runs the peer on the same work.
fn peer(rules: &[workload::BenchRule], turns: &[String]) -> Option<Value> {
    let least: Vec<Option<f64>> = rules
        .iter()
        .map(|rule| {
            rule.yaml.split("where: value > ").nth(1).and_then(|least| least.trim().parse().ok())
        })
        .collect();
    let turns: Vec<String> = turns.iter().map(|text| guerdon_rules::fold(text)).collect();
    let patterns: Vec<&str> = rules.iter().map(|rule| rule.regex.as_str()).collect();
    let work = json!({ "patterns": patterns, "least": least, "turns": turns });
    let path = std::env::temp_dir().join(format!("guerdon-bench-{}.json", std::process::id()));
    std::fs::write(&path, work.to_string()).unwrap();
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peer.py");
    let script = setting("GUERDON_BENCH_PEER").unwrap_or_else(|| own.to_owned());
    let python = setting("PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python).arg(script).arg(&path).output();
    std::fs::remove_file(&path).unwrap();
    let output = output.ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).ok()
}

/// Collects every string of 8 to 200 characters under a key `content` in a file of JSON lines.
fn sampled(path: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        contents(&serde_json::from_str(line).unwrap(), &mut texts);
    }
    texts.retain(|text| (8..200).contains(&text.chars().count()));
    texts
}

fn contents(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "content" => texts.push(text.clone()),
                    other => contents(other, texts),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| contents(item, texts)),
        _ => {}
    }
}
