//! Hedges: a second request next to a slow one, within its share, with its price and its line in
//! the audit log.

use std::sync::Arc;
use std::time::Duration;

use guerdon_judge::{AuditConfig, EndpointConfig};
use guerdon_types::{Finite, Signal};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::audit::lines;
use crate::house::part;
use crate::paused::{Act, Judge, ScriptedTransport, URL, answer, config};

#[tokio::test(start_paused = true)]
async fn a_slow_attempt_gets_a_second_within_the_share() {
    // Every fiftieth attempt hangs for half a minute.
    let stand_in =
        ScriptedTransport::that(|number| answer(if number % 50 == 49 { 30_000 } else { 100 }));
    let hedged = EndpointConfig { hedge: Finite::new(0.05).unwrap(), ..config() };
    let judge = Judge::of(hedged, &[(URL, Arc::clone(&stand_in))]);
    let (mut slowest, mut sent) = (Duration::ZERO, 0);
    for number in 0..400 {
        let started = Instant::now();
        let signal = judge.judge(&format!("turn {number}")).await;
        part(&signal);
        sent += signal.usage.judge_calls;
        // The first calls teach the usual duration.
        if number >= 100 {
            slowest = slowest.max(started.elapsed());
        }
    }
    let hedges = judge.outcomes("hedged");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!((1..=20).contains(&hedges), "{hedges}");
    assert_eq!(sent, 400 + hedges as u64, "the reply counts the second attempt, too");
}

/// The signal of a question that follows forty quick ones, the number of calls, and its audit
/// lines. Its first attempt is slow, its second is `second`. An answer costs 60 and may cost 512.
async fn slow_one(second: fn() -> Act, per_run: Option<i32>) -> (Signal, usize, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = ScriptedTransport::that(move |number| match number {
        40 => answer(30_000),
        41 => second(),
        _ => answer(100),
    });
    let path = folder.path().join("audit.jsonl");
    let mut hedged = EndpointConfig { hedge: Finite::new(0.05).unwrap(), ..config() };
    hedged.audit =
        Some(AuditConfig { path: path.clone(), texts: false, max_bytes: 1 << 20, keep: 1 });
    hedged.prices.completion_per_million = Finite::from(1_000_000);
    hedged.budget.per_run = per_run.map(Finite::from);
    let judge = Judge::of(hedged, &[(URL, Arc::clone(&stand_in))]);
    for number in 0..40 {
        part(&judge.judge(&format!("turn {number}")).await);
    }
    let signal = judge.judge("slow").await;
    part(&signal);
    // Flushes the remaining lines.
    drop(judge);
    (signal, stand_in.calls(), lines(&path).split_off(40))
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_given_up_has_its_line_and_is_booked_at_its_most() {
    let (signal, _, lines) = slow_one(|| answer(100), None).await;
    let [given_up, answered] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&given_up["outcome"], &answered["outcome"]), (&json!("hedged"), &json!("ok")));
    assert_eq!((&given_up["key"], &given_up["address"]), (&answered["key"], &answered["address"]));
    assert_eq!((&given_up["cost"], &given_up["uncounted"]), (&json!(512.0), &json!(true)));
    assert_eq!((&answered["cost"], answered.get("uncounted")), (&json!(60.0), None));
    assert!(
        (200.0..210.0).contains(&given_up["latency_ms"].as_f64().unwrap()),
        "from when it was sent"
    );
    assert!(given_up.get("verdict").is_none() && answered.get("verdict").is_some());
    assert_eq!((signal.usage.judge_calls, signal.usage.cost.to_bits()), (2, 572f64.to_bits()));
}

#[tokio::test(start_paused = true)]
async fn failed_hedge_is_reported_by_its_class_and_costs_nothing() {
    let (signal, _, lines) = slow_one(|| Act::Status(500, Vec::new()), None).await;
    let [failed, answered] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&failed["outcome"], &failed["cost"]), (&json!("transient"), &json!(0.0)));
    assert!(answered["latency_ms"].as_f64().unwrap() >= 30_000.0);
    assert_eq!(signal.usage.judge_calls, 2);
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_that_the_budget_does_not_allow_is_not_sent() {
    let (_, calls, _) = slow_one(|| answer(100), Some(40 * 60 + 600)).await;
    assert_eq!(calls, 41);
}

/// A refusal that names a feature only in its text, so that a check follows.
fn doubtful() -> Act {
    let body = json!({"error": {"message": "json_schema is not supported here"}});
    Act::Reply(400, Vec::new(), body.to_string())
}

#[tokio::test(start_paused = true)]
async fn the_check_of_a_losing_request_is_counted() {
    let (signal, calls, lines) = slow_one(doubtful, None).await;
    assert_eq!((calls, signal.usage.judge_calls), (43, 3), "the question twice, and the check");
    assert_eq!(signal.usage.cost.to_bits(), 120f64.to_bits());
    let outcomes: Vec<_> = lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["checked", "bad_request", "ok"]);
}

#[tokio::test(start_paused = true)]
async fn a_check_is_recorded_although_its_request_was_given_up() {
    let stand_in = ScriptedTransport::that(|number| match number {
        40 => answer(2_000),
        41 => doubtful(),
        42 => answer(10_000),
        _ => answer(100),
    });
    let hedged = EndpointConfig { hedge: Finite::new(0.05).unwrap(), ..config() };
    let judge = Judge::of(hedged, &[(URL, Arc::clone(&stand_in))]);
    for number in 0..40 {
        part(&judge.judge(&format!("turn {number}")).await);
    }
    let started = Instant::now();
    part(&judge.judge("slow").await);
    assert!(started.elapsed() < Duration::from_secs(3), "it does not wait for the check");
    assert_eq!((stand_in.calls(), judge.outcomes("checked")), (43, 0));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(judge.outcomes("checked"), 1);
}
