//! The health of addresses under virtual time: outages, refusals of the account, silence and load,
//! with one address and with two.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use guerdon_judge::{EndpointConfig, ReplicaConfig};
use guerdon_types::{AbstainWhy, Signal};
use tokio::time::Instant;

use crate::house::abstained;
use crate::paused::{Act, Judge, OTHER, ScriptedTransport, URL, answer, config};

const SECOND: Duration = Duration::from_secs(1);

/// The longest time between two probes of an address that fails.
const LONGEST_PROBE_INTERVAL: Duration = Duration::from_secs(10);

fn refuses(status: u16) -> Arc<ScriptedTransport> {
    ScriptedTransport::that(move |_| Act::Reply(status, Vec::new(), String::new()))
}

fn replicated() -> EndpointConfig {
    let replica = ReplicaConfig { url: OTHER.to_owned(), api_key_env: None, api_key_file: None };
    EndpointConfig { replicas: vec![replica], ..config() }
}

/// The signals of `count` questions at once, each with this deadline from now.
async fn ask(judge: &Judge, name: &str, count: usize, deadline: Duration) -> Vec<Signal> {
    let deadline = Some(Instant::now() + deadline);
    let ask = async |number| judge.judge_by(&format!("{name} {number}"), deadline).await;
    join_all((0..count).map(ask)).await
}

fn scored(signals: &[Signal]) -> usize {
    signals.iter().filter(|signal| signal.part.is_some()).count()
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_account_costs_a_handful_of_calls() {
    for status in [401, 402, 403, 404] {
        let stand_in = refuses(status);
        let judge = Judge::of(config(), &[(URL, Arc::clone(&stand_in))]);
        let started = Instant::now();
        for signal in ask(&judge, "turn", 1024, 60 * SECOND).await {
            abstained(&signal, AbstainWhy::EndpointError);
            assert!(signal.abstained[0].detail.contains(&status.to_string()), "{signal:?}");
        }
        assert!(stand_in.calls() <= 12, "{status}: {} calls", stand_in.calls());
        assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
        let before = stand_in.calls();
        assert_eq!(scored(&ask(&judge, "more", 256, 60 * SECOND).await), 0);
        assert!(stand_in.calls() <= before + 1, "{status}: {} calls", stand_in.calls());
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_was_refused_for_load_keeps_its_reason() {
    let stand_in = ScriptedTransport::to(move |_, text| {
        let pause = vec![("retry-after", "2".to_owned())];
        let limited = text.contains("limited");
        Act::Reply(
            if limited { 429 } else { 401 },
            if limited { pause } else { vec![] },
            String::new(),
        )
    });
    let judge = Judge::of(config(), &[(URL, Arc::clone(&stand_in))]);
    let started = Instant::now();
    let (limited, denied) =
        tokio::join!(ask(&judge, "limited", 1, 60 * SECOND), ask(&judge, "other", 1, 60 * SECOND));
    abstained(&limited[0], AbstainWhy::RateLimited);
    assert!(limited[0].abstained[0].detail.contains("429"), "{limited:?}");
    abstained(&denied[0], AbstainWhy::EndpointError);
    assert!(started.elapsed() >= 2 * SECOND, "the pause holds for the check, too");
    assert_eq!(stand_in.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_one_address_denies_waits_for_the_other() {
    let (first, second) = (
        ScriptedTransport::to(|_, text| {
            let denied = text.contains("poison");
            if denied { Act::Reply(403, Vec::new(), String::new()) } else { answer(10) }
        }),
        ScriptedTransport::that(|number| match number {
            0 => Act::Reply(429, vec![("retry-after", "5".to_owned())], String::new()),
            _ => answer(10),
        }),
    );
    let judge = Judge::of(replicated(), &[(URL, first), (OTHER, second)]);
    // Both see one of these questions first.
    let signals = ask(&judge, "poison", 2, 60 * SECOND).await;
    assert_eq!(scored(&signals), 2, "{signals:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_one_question_leaves_the_others_whole() {
    for status in [400, 401, 402, 403, 404, 422, 500, 302] {
        let stand_in = ScriptedTransport::to(move |_, text| {
            let bad = text.contains("poison");
            if bad { Act::Reply(status, Vec::new(), String::new()) } else { answer(100) }
        });
        let config = EndpointConfig { backoff: Duration::ZERO, ..config() };
        let judge = Judge::of(config, &[(URL, Arc::clone(&stand_in))]);
        let (poisoned, innocent) = tokio::join!(
            ask(&judge, "poison", 64, 60 * SECOND),
            ask(&judge, "innocent", 64, 60 * SECOND)
        );
        assert_eq!((scored(&poisoned), scored(&innocent)), (0, 64), "{status}");
        let after = ask(&judge, "after", 1, 3 * SECOND).await;
        assert_eq!(scored(&after), 1, "{status}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_works_again_is_used_again_within_two_checks() {
    let started = Instant::now();
    let stand_in = ScriptedTransport::that(move |_| {
        let closed = started.elapsed() < 100 * SECOND;
        if closed { Act::Reply(401, Vec::new(), String::new()) } else { answer(100) }
    });
    let judge = Judge::of(config(), &[(URL, Arc::clone(&stand_in))]);
    let mut step = 0;
    while scored(&ask(&judge, &format!("step {step}"), 4, 10 * SECOND).await) < 4 {
        step += 1;
        tokio::time::sleep(SECOND).await;
    }
    assert!(started.elapsed() <= 161 * SECOND, "{:?}", started.elapsed());
    assert!(stand_in.calls() < 30, "{}", stand_in.calls());
}

#[tokio::test(start_paused = true)]
async fn a_sick_first_address_loses_no_verdict_beside_a_healthy_one() {
    type Sick = fn(usize) -> Act;
    let after = |seconds: &str| vec![("retry-after", seconds.to_owned())];
    let sick: [(&str, Sick, u64); 9] = [
        ("429, an hour", |_| Act::Reply(429, vec![("retry-after", "3600".into())], "{}".into()), 2),
        ("429, a second", |_| Act::Reply(429, vec![("retry-after", "1".into())], "{}".into()), 2),
        ("429, nothing", |_| Act::Reply(429, Vec::new(), "{}".into()), 2),
        ("hang", |_| answer(1_000_000), 8),
        ("401", |_| Act::Reply(401, Vec::new(), String::new()), 2),
        ("402", |_| Act::Reply(402, Vec::new(), String::new()), 2),
        ("404", |_| Act::Reply(404, Vec::new(), String::new()), 2),
        ("500", |_| Act::Reply(500, Vec::new(), String::new()), 5),
        ("unreachable", |_| Act::Unreachable, 5),
    ];
    assert_eq!(after("1").len(), 1);
    for (name, act, limit) in sick {
        for timeout in [3, 60] {
            let (first, second) =
                (ScriptedTransport::that(act), ScriptedTransport::that(|_| answer(100)));
            let config = EndpointConfig { timeout: timeout * SECOND, ..replicated() };
            let judge = Judge::of(config, &[(URL, first), (OTHER, second)]);
            let started = Instant::now();
            let signals = ask(&judge, "turn", 200, 20 * SECOND).await;
            assert_eq!(scored(&signals), 200, "{name}");
            let limit = u32::try_from(limit).unwrap() * SECOND;
            assert!(started.elapsed() <= limit, "{name}: {:?}", started.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_falls_silent_under_load_loses_no_verdict() {
    let started = Instant::now();
    let first = ScriptedTransport::that(move |_| {
        answer(if started.elapsed() < 2 * SECOND { 100 } else { 1_000_000 })
    });
    let second = ScriptedTransport::that(|_| answer(100));
    let judge = Judge::of(replicated(), &[(URL, first), (OTHER, second)]);
    let mut lost = 0;
    for step in 0..40 {
        let signals = ask(&judge, &format!("step {step}"), 64, 20 * SECOND).await;
        lost += 64 - scored(&signals);
    }
    assert_eq!(lost, 0);
}

#[tokio::test(start_paused = true)]
async fn questions_are_answered_soon_after_an_outage() {
    for outage in [15, 45, 300] {
        let started = Instant::now();
        let stand_in = ScriptedTransport::that(move |_| {
            let down = (5..5 + outage).contains(&started.elapsed().as_secs());
            if down { Act::Unreachable } else { answer(100) }
        });
        let judge = Judge::of(config(), &[(URL, Arc::clone(&stand_in))]);
        let healed = Duration::from_secs(5 + outage);
        let (mut lost_after, mut whole_at) = (0, None);
        for step in 0..2000 {
            let asked = started.elapsed();
            let signals = ask(&judge, &format!("step {step}"), 16, 30 * SECOND).await;
            if asked > healed {
                lost_after += 16 - scored(&signals);
                whole_at = whole_at.or((scored(&signals) == 16).then(|| started.elapsed()));
            }
            if started.elapsed() > healed + 60 * SECOND {
                break;
            }
            tokio::time::sleep(SECOND / 2).await;
        }
        assert_eq!(lost_after, 0, "{outage}");
        let recovery = whole_at.unwrap() - healed;
        let intervals = recovery.as_secs_f64() / LONGEST_PROBE_INTERVAL.as_secs_f64();
        println!("outage of {outage} s: recovered after {intervals:.2} probe intervals");
        assert!(intervals <= 2.0, "{outage}: {recovery:?}");
        let calls = stand_in.calls.lock().unwrap();
        let down = calls.iter().filter(|at| (5..5 + outage).contains(&(**at - started).as_secs()));
        let down = down.count();
        assert!(down < 60, "{outage}: {down} calls while it was down");
    }
}

#[tokio::test(start_paused = true)]
async fn endless_refusals_for_load_cost_few_calls() {
    for retry_after in [None, Some("0"), Some("1"), Some("-5")] {
        let stand_in = ScriptedTransport::that(move |_| {
            let named = retry_after.map(|after| ("retry-after", after.to_owned()));
            Act::Reply(429, named.into_iter().collect(), "{}".to_owned())
        });
        let judge = Judge::of(config(), &[(URL, Arc::clone(&stand_in))]);
        assert_eq!(scored(&ask(&judge, "turn", 64, 10 * SECOND).await), 0);
        println!("64 questions, Retry-After {retry_after:?}: {} calls in 10 s", stand_in.calls());
        assert!(stand_in.calls() < 60, "{retry_after:?}: {}", stand_in.calls());
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_step_is_hardly_slower_than_the_limit_allows() {
    let stand_in = ScriptedTransport::that(|_| answer(1000));
    let judge = Judge::of(config(), &[(URL, Arc::clone(&stand_in))]);
    let started = Instant::now();
    assert_eq!(scored(&judge.judge_many(1024).await), 1024);
    // 256 at once.
    let ideal = 4 * SECOND;
    println!("{:.2} times the ideal", started.elapsed().as_secs_f64() / ideal.as_secs_f64());
    assert!(started.elapsed() <= ideal.mul_f64(1.3), "{:?}", started.elapsed());
}
