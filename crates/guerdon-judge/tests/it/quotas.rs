//! Within an endpoint's limits, under virtual time: a stand-in that enforces a quota of requests
//! and tokens, one that fails, one that is full; and within what may be spent.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use guerdon_judge::{EndpointConfig, ReplicaConfig};
use guerdon_types::{AbstainReason, AbstainWhy, Finite, Word};
use tokio::time::Instant;

use crate::house::{abstained, part};
use crate::paused::{Act, Judge, OTHER, ScriptedTransport, URL, answer, config};

const MINUTE: Duration = Duration::from_secs(60);

/// A stand-in that enforces a quota over a sliding minute, counts tokens as it answers, and says
/// how it stands.
fn enforcing(requests: usize, tokens: usize, a_call: usize) -> Arc<ScriptedTransport> {
    let taken: Mutex<VecDeque<Instant>> = Mutex::default();
    ScriptedTransport::that(move |_| {
        let mut taken = taken.lock().unwrap();
        let now = Instant::now();
        while taken.front().is_some_and(|first| *first + MINUTE <= now) {
            taken.pop_front();
        }
        if taken.len() >= requests || (taken.len() + 1) * a_call > tokens {
            return Act::Status(429, vec![("retry-after", "5".to_owned())]);
        }
        taken.push_back(now);
        answer(200 + (taken.len() as u64 * 37) % 900)
    })
}

#[tokio::test(start_paused = true)]
async fn a_token_quota_is_used_nearly_whole_and_hardly_ever_overrun() {
    // 360 tokens a call: 100 calls a minute by tokens, though 1,000 by requests.
    let stand_in = enforcing(1000, 36_000, 360);
    let config = EndpointConfig {
        requests_per_minute: NonZeroU32::new(1000),
        tokens_per_minute: NonZeroU64::new(36_000),
        ..config()
    };
    let judge = Judge::of(config, &[(URL, Arc::clone(&stand_in))]);
    let started = Instant::now();
    let signals = judge.judge_many(1000).await;
    assert!(signals.iter().all(|signal| signal.part.is_some()), "no verdict is lost");
    // Whole minutes only: in the last one there may be nothing left to ask.
    let whole = u32::try_from(started.elapsed().as_secs() / 60).unwrap();
    let within =
        stand_in.calls.lock().unwrap().iter().filter(|at| **at < started + MINUTE * whole).count();
    let used = within as f64 / (100.0 * f64::from(whole));
    let refused = judge.outcomes("rate_limited") as f64 / stand_in.calls() as f64;
    println!("quota used {used:.3}, refused {refused:.4}, {whole} whole minutes");
    assert!(used >= 0.95, "{used} of the quota in {whole} minutes");
    assert!(refused <= 0.01, "{refused} were refused");
}

#[tokio::test(start_paused = true)]
async fn unconfigured_quota_costs_refusals_but_no_verdict() {
    let stand_in = enforcing(60, usize::MAX, 1);
    let judge = Judge::of(config(), &[(URL, Arc::clone(&stand_in))]);
    let signals = judge.judge_many(200).await;
    assert!(signals.iter().all(|signal| signal.part.is_some()));
    assert!(judge.outcomes("rate_limited") > 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_cannot_be_in_time_is_refused_before_it_is_paid() {
    let stand_in = ScriptedTransport::that(|_| answer(100));
    let config = EndpointConfig { requests_per_minute: NonZeroU32::new(2), ..config() };
    let judge = Judge::of(config, &[(URL, Arc::clone(&stand_in))]);
    judge.judge_many(2).await;
    let started = Instant::now();
    let signal = judge.judge_by("late", Some(started + Duration::from_secs(30))).await;
    abstained(&signal, AbstainWhy::Deadline);
    assert!(signal.abstained[0].detail.contains("nothing was sent"), "{:?}", signal.abstained);
    assert_eq!((started.elapsed(), stand_in.calls()), (Duration::ZERO, 2));
}

#[tokio::test(start_paused = true)]
async fn a_budget_stops_hard_and_says_so() {
    let stand_in = ScriptedTransport::that(|_| answer(100));
    let mut config = config();
    config.prices.completion_per_million = Finite::from(1_000_000);
    // A call costs 60, and may cost 512.
    config.budget.per_run = Some(Finite::from(700));
    let judge = Judge::of(config, &[(URL, Arc::clone(&stand_in))]);
    for number in 0..4 {
        part(&judge.judge(&format!("turn {number}")).await);
    }
    let signal = judge.judge("one more").await;
    abstained(&signal, AbstainWhy::RateLimited);
    assert!(signal.abstained[0].detail.contains("budget of 700"), "{:?}", signal.abstained);
    assert_eq!(stand_in.calls(), 4);
    assert!(part(&judge.judge("turn 0").await).cached, "a cached answer costs nothing");
}

#[tokio::test(start_paused = true)]
async fn queued_questions_reserve_no_money() {
    let stand_in = ScriptedTransport::that(|_| answer(100));
    let mut config = EndpointConfig { max_concurrent: 2, ..config() };
    config.prices.completion_per_million = Finite::from(1_000_000);
    // A hundred calls of 60, and two that may cost 512 at the end.
    config.budget.per_run = Some(Finite::from(100 * 60 + 1024));
    let judge = Judge::of(config, &[(URL, stand_in)]);
    let signals = judge.judge_many(100).await;
    assert!(signals.iter().all(|signal| signal.part.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_large_batch_loses_no_verdict_and_no_rubric_to_load_within_default_limits() {
    let stand_in = ScriptedTransport::that(|_| answer(20));
    let rubrics = ["one", "two", "three"];
    let judge = Judge::asking(&rubrics, config(), &[(URL, Arc::clone(&stand_in))]);
    let signals = judge.judge_many(4096).await;
    for signal in &signals {
        assert!(signal.abstained.is_empty(), "{:?}", signal.abstained);
        assert_eq!(signal.usage.judge_calls, rubrics.len() as u64);
    }
    assert_eq!(stand_in.calls(), 4096 * rubrics.len());
    assert_eq!(judge.full_for(), None);
}

#[tokio::test(start_paused = true)]
async fn a_judge_with_a_full_queue_reports_it_until_questions_leave() {
    let stand_in = ScriptedTransport::that(|_| answer(1000));
    let config = EndpointConfig { max_concurrent: 1, max_queued: 4, ..config() };
    let judge = Judge::of(config, &[(URL, stand_in)]);
    assert_eq!(judge.full_for(), None);
    let reports = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let full = judge.full_for();
        tokio::time::sleep(Duration::from_secs(7)).await;
        (full, judge.full_for())
    };
    let (signals, (full, later)) = tokio::join!(judge.judge_many(10), reports);
    assert!(signals.iter().all(|signal| signal.part.is_some()));
    assert!(full.is_some_and(|wait| wait >= Duration::from_secs(1)), "{full:?}");
    assert_eq!(later, None);
}

fn replicated() -> EndpointConfig {
    let replica = ReplicaConfig { url: OTHER.to_owned(), api_key_env: None, api_key_file: None };
    EndpointConfig { replicas: vec![replica], ..config() }
}

#[tokio::test(start_paused = true)]
async fn replicas_share_the_work_and_one_takes_over_from_another() {
    let (one, two) =
        (ScriptedTransport::that(|_| answer(100)), ScriptedTransport::that(|_| answer(100)));
    let judge = Judge::of(replicated(), &[(URL, Arc::clone(&one)), (OTHER, Arc::clone(&two))]);
    judge.judge_many(100).await;
    assert!(
        (40..=60).contains(&one.calls()) && one.calls() + two.calls() == 100,
        "{}",
        one.calls()
    );

    let (down, up) =
        (ScriptedTransport::that(|_| Act::Unreachable), ScriptedTransport::that(|_| answer(100)));
    let judge = Judge::of(replicated(), &[(URL, Arc::clone(&down)), (OTHER, Arc::clone(&up))]);
    let signals = judge.judge_many(200).await;
    assert!(signals.iter().all(|signal| signal.part.is_some()));
    assert_eq!(up.calls(), 200);
    let before = down.calls();
    judge.judge("later").await;
    assert_eq!(down.calls(), before, "it is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_fallback_answers_in_its_own_name_and_under_its_own_key() {
    let (gone, other) = (
        ScriptedTransport::that(|_| Act::Status(402, Vec::new())),
        ScriptedTransport::that(|_| answer(100)),
    );
    let fallback = EndpointConfig::new(OTHER, "other-model");
    let config = EndpointConfig { fallback: Some(Box::new(fallback)), ..config() };
    let judge = Judge::of(config, &[(URL, Arc::clone(&gone)), (OTHER, Arc::clone(&other))]);
    let signal = judge.judge("turn").await;
    assert_eq!(part(&signal).model, "other-model");
    assert_eq!((gone.calls(), other.calls()), (2, 1), "the question and a check");
    assert!(part(&judge.judge("turn").await).cached);
    part(&judge.judge("another").await);
    assert_eq!(
        (gone.calls(), other.calls()),
        (2, 2),
        "no money left: it is not asked again so soon"
    );
}

#[tokio::test(start_paused = true)]
async fn a_used_up_budget_asks_no_fallback_and_is_named() {
    let (first, other) =
        (ScriptedTransport::that(|_| answer(100)), ScriptedTransport::that(|_| answer(100)));
    let fallback = EndpointConfig::new(OTHER, "other-model");
    let mut config = EndpointConfig { fallback: Some(Box::new(fallback)), ..config() };
    config.prices.completion_per_million = Finite::from(1_000_000);
    // An answer costs 60 and may cost 512.
    config.budget.per_run = Some(Finite::from(600));
    let judge = Judge::of(config, &[(URL, Arc::clone(&first)), (OTHER, Arc::clone(&other))]);
    for number in 0..2 {
        part(&judge.judge(&format!("turn {number}")).await);
    }
    for number in 2..20 {
        let signal = judge.judge(&format!("turn {number}")).await;
        abstained(&signal, AbstainWhy::RateLimited);
        let reason = Some(Word::Known(AbstainReason::Budget));
        assert_eq!(signal.abstained[0].reason, reason, "{:?}", signal.abstained);
    }
    assert_eq!((first.calls(), other.calls()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn attempt_without_reply_is_recorded_at_its_maximum_cost() {
    let stand_in = ScriptedTransport::that(|_| answer(100_000));
    let mut config = EndpointConfig { retries: 3, ..config() };
    config.prices.completion_per_million = Finite::from(1_000_000);
    config.budget.per_run = Some(Finite::from(600));
    let judge = Judge::of(config, &[(URL, Arc::clone(&stand_in))]);
    let signal = judge.judge("turn").await;
    abstained(&signal, AbstainWhy::RateLimited);
    assert!(signal.abstained[0].detail.contains("512.0000 spent"), "{:?}", signal.abstained);
    assert_eq!(stand_in.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_refuses_for_load_gets_fewer_at_once_and_keeps_every_verdict() {
    // Carries ten at once.
    let under_way = Arc::new(Mutex::new((0usize, Vec::<Instant>::new())));
    let stand_in = ScriptedTransport::that(move |_| {
        let mut state = under_way.lock().unwrap();
        let now = Instant::now();
        state.1.retain(|end| *end > now);
        if state.1.len() >= 10 {
            return Act::Status(429, vec![("retry-after-ms", "50".to_owned())]);
        }
        state.1.push(now + Duration::from_millis(500));
        state.0 += 1;
        answer(500)
    });
    let judge = Judge::of(config(), &[(URL, Arc::clone(&stand_in))]);
    let signals = judge.judge_many(600).await;
    assert!(signals.iter().all(|signal| signal.part.is_some()));
    let refused = judge.outcomes("rate_limited") as f64 / stand_in.calls() as f64;
    println!("refused {refused:.3}");
    assert!(refused < 0.1, "{refused}");
}
