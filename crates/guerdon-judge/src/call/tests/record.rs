//! Records of requests: the observer, the audit log and the budget get the same numbers.

use std::path::Path;
use std::time::Duration;

use guerdon_types::{Finite, Usage};
use serde_json::Value;

use super::{Bench, ScriptedAddress, answers, config, key, question};
use crate::call::record::AttemptRecord;
use crate::config::AuditConfig;
use crate::store::audit::AttemptNotes;
use crate::store::event::{CallEvent, CallOutcome};

fn event(outcome: CallOutcome, cost: f64) -> CallEvent {
    CallEvent {
        outcome,
        duration: Duration::from_millis(1500),
        waited: Duration::from_millis(250),
        attempt: 2,
        cached: false,
        usage: Usage {
            judge_calls: 1,
            prompt_tokens: 30,
            completion_tokens: 6,
            cost,
            ..Usage::default()
        },
    }
}

#[expect(clippy::disallowed_methods, reason = "a test reads the written file")]
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A client with an audit log at `path` and a budget of 100.
fn bench(path: &Path) -> Bench {
    let mut config = config();
    config.prices.prompt_per_million = Finite::from(1);
    config.budget.per_run = Some(Finite::from(100));
    config.audit =
        Some(AuditConfig { path: path.to_owned(), texts: false, max_bytes: 1 << 20, keep: 1 });
    Bench::one(config, &ScriptedAddress::that(|_| answers(1)))
}

async fn record(bench: &Bench, event: CallEvent, notes: AttemptNotes<'_>) {
    let reservation = bench.client.budget.reserve(40.0).unwrap();
    let record = AttemptRecord { address: 0, event, reservation };
    bench.client.record(key(), &question(), record, notes).await;
}

#[tokio::test(start_paused = true)]
async fn observer_audit_log_and_budget_get_the_same_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let bench = bench(&path);
    let sent = event(CallOutcome::Ok, 7.5);
    record(&bench, sent.clone(), AttemptNotes { flags: &["sealed"], ..AttemptNotes::default() })
        .await;
    assert_eq!(*bench.events.lock(), [sent]);
    assert_eq!(bench.client.budget.left(), [("run", 92.5)], "what it cost, not what was reserved");
    drop(bench);
    let [line] = lines(&path).try_into().unwrap();
    let number = |name: &str| line[name].as_f64().unwrap();
    for (name, expected) in [
        ("attempt", 2.0),
        ("latency_ms", 1500.0),
        ("waited_ms", 250.0),
        ("prompt_tokens", 30.0),
        ("completion_tokens", 6.0),
        ("cost", 7.5),
    ] {
        assert!((number(name) - expected).abs() < 1e-9, "{name}: {line}");
    }
    assert_eq!((&line["outcome"], &line["address"]), (&"ok".into(), &super::URL.into()), "{line}");
    assert_eq!(line["flags"], serde_json::json!(["sealed"]));
    assert!(line.get("uncounted").is_none() && line.get("messages").is_none(), "{line}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_counted_tokens_is_marked_and_paid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let bench = bench(&path);
    let mut lost = event(CallOutcome::Unreachable, 40.0);
    lost.usage.prompt_tokens = 0;
    lost.usage.completion_tokens = 0;
    record(&bench, lost, AttemptNotes::default()).await;
    assert_eq!(bench.client.budget.left(), [("run", 60.0)]);
    drop(bench);
    assert_eq!(lines(&path)[0]["uncounted"], Value::Bool(true));
}

#[tokio::test(start_paused = true)]
async fn words_stay_out_of_the_log_unless_texts_are_configured() {
    let folder = tempfile::tempdir().unwrap();
    for (texts, words) in [(false, Value::Null), (true, Value::from("I say no."))] {
        let path = folder.path().join(format!("{texts}.jsonl"));
        let mut config = config();
        config.audit = Some(AuditConfig { path: path.clone(), texts, max_bytes: 1 << 20, keep: 1 });
        let bench = Bench::one(config, &ScriptedAddress::that(|_| answers(1)));
        let notes =
            AttemptNotes { reply: Some("I say no."), reasons: Some("why"), ..Default::default() };
        record(&bench, event(CallOutcome::Malformed, 0.0), notes).await;
        drop(bench);
        let line = &lines(&path)[0];
        assert_eq!(line["reply"], words, "{line}");
        assert_eq!(line["reasons"].is_null(), !texts, "{line}");
        assert_eq!(line["messages"].is_null(), !texts, "{line}");
    }
}
