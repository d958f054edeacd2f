//! Within an endpoint's limits, under virtual time: a stand-in that enforces a quota of requests and tokens, one that
//! fails, one that is slow. No sockets: questions travel by a transport of the test's own.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use guerdon_fusion::{Ask, RewardSource as _};
use guerdon_judge::{
    AuditConfig, CallEvent, Endpoint, EndpointConfig, Incoming, JudgeSource, PromptText, Prompts,
    ReplicaConfig, Services, Transport, Undelivered,
};
use guerdon_types::{AbstainWhy, Finite, Message, Role, Rollout, Signal};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::audit::lines;
use crate::house::{RUBRIC, abstained, part};
use crate::stand_in::verdict;

const MINUTE: Duration = Duration::from_secs(60);

/// What a stand-in does with a request.
type Behaviour = Box<dyn Fn(usize) -> Act + Send + Sync>;

enum Act {
    Answer { after: Duration },
    Status(u16, Vec<(&'static str, String)>),
    Unreachable,
}

/// Answers as its behaviour says, and counts.
struct StandIn {
    behaviour: Behaviour,
    calls: Mutex<Vec<Instant>>,
}

impl std::fmt::Debug for StandIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StandIn")
    }
}

impl StandIn {
    fn that(behaviour: impl Fn(usize) -> Act + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { behaviour: Box::new(behaviour), calls: Mutex::default() })
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

fn reply() -> Vec<u8> {
    json!({"choices": [{"message": {"content": verdict("no", None)}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 60}})
    .to_string()
    .into_bytes()
}

impl Transport for StandIn {
    fn send(&self, _: Vec<u8>) -> BoxFuture<'_, Result<Incoming, Undelivered>> {
        async {
            let number = {
                let mut calls = self.calls.lock().unwrap();
                calls.push(Instant::now());
                calls.len() - 1
            };
            match (self.behaviour)(number) {
                Act::Answer { after } => {
                    tokio::time::sleep(after).await;
                    Ok(Incoming { status: StatusCode::OK, headers: HeaderMap::new(), body: reply() })
                }
                Act::Status(status, pairs) => {
                    let headers = pairs
                        .into_iter()
                        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
                    let status = StatusCode::from_u16(status).unwrap();
                    Ok(Incoming { status, headers: headers.collect(), body: b"{\"error\": \"no\"}".to_vec() })
                }
                Act::Unreachable => Err(Undelivered::NotReached),
            }
        }
        .boxed()
    }
}

fn answer(millis: u64) -> Act {
    Act::Answer { after: Duration::from_millis(millis) }
}

struct Judge {
    source: JudgeSource,
    events: Arc<Mutex<Vec<CallEvent>>>,
}

impl Judge {
    /// A judge whose addresses are the stand-ins, by URL.
    fn of(config: EndpointConfig, stand_ins: &[(&str, Arc<StandIn>)]) -> Self {
        let texts = [PromptText { name: "manners.md".to_owned(), text: RUBRIC.to_owned() }];
        let (prompts, _) = Prompts::compile(&texts).unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let stand_ins: Vec<(String, Arc<StandIn>)> =
            stand_ins.iter().map(|(url, stand_in)| ((*url).to_owned(), Arc::clone(stand_in))).collect();
        let services =
            Services::new(TaskTracker::new(), move |event| heard.lock().unwrap().push(event.clone()))
                .with_transport(move |url| {
                    let found = stand_ins.iter().find(|(known, _)| known == url);
                    Arc::clone(&found.expect("a stand-in for every address").1) as Arc<dyn Transport>
                });
        let endpoint = Endpoint::build(config, &services).unwrap();
        Self { source: JudgeSource::new(endpoint, Arc::new(prompts)), events }
    }

    async fn judge(&self, turn: &str) -> Signal {
        self.judge_by(turn, None).await
    }

    async fn judge_by(&self, turn: &str, deadline: Option<Instant>) -> Signal {
        let messages = vec![Message::new(Role::User, "480?"), Message::new(Role::Assistant, turn)];
        let rollout = Rollout { messages, ..Rollout::default() };
        let deadline = deadline.map(Instant::into_std);
        self.source.score(Ask::new(&rollout, &[1], deadline)).await.remove(0)
    }

    async fn judge_many(&self, count: usize) -> Vec<Signal> {
        join_all((0..count).map(async |number| self.judge(&format!("turn {number}")).await)).await
    }

    fn outcomes(&self, outcome: &str) -> usize {
        self.events.lock().unwrap().iter().filter(|event| event.outcome == outcome).count()
    }
}

const URL: &str = "http://a/v1";
const OTHER: &str = "http://b/v1";

fn config() -> EndpointConfig {
    EndpointConfig::new(URL, "m")
}

/// A stand-in that enforces a quota over a sliding minute, counts tokens as it answers, and says how it stands.
fn enforcing(requests: usize, tokens: usize, a_call: usize) -> Arc<StandIn> {
    let taken: Mutex<VecDeque<Instant>> = Mutex::default();
    StandIn::that(move |_| {
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
    let within = stand_in.calls.lock().unwrap().iter().filter(|at| **at < started + MINUTE * whole).count();
    let used = within as f64 / (100.0 * f64::from(whole));
    let refused = judge.outcomes("rate_limited") as f64 / stand_in.calls() as f64;
    println!("quota used {used:.3}, refused {refused:.4}, {whole} whole minutes");
    assert!(used >= 0.95, "{used} of the quota in {whole} minutes");
    assert!(refused <= 0.01, "{refused} were refused");
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_nobody_configured_costs_refusals_but_no_verdict() {
    let stand_in = enforcing(60, usize::MAX, 1);
    let judge = Judge::of(config(), &[(URL, Arc::clone(&stand_in))]);
    let signals = judge.judge_many(200).await;
    assert!(signals.iter().all(|signal| signal.part.is_some()));
    assert!(judge.outcomes("rate_limited") > 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_cannot_be_in_time_is_refused_before_it_is_paid() {
    let stand_in = StandIn::that(|_| answer(100));
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
    let stand_in = StandIn::that(|_| answer(100));
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
    assert!(part(&judge.judge("turn 0").await).cached, "what is known costs nothing");
}

fn replicated() -> EndpointConfig {
    let replica = ReplicaConfig { url: OTHER.to_owned(), api_key_env: None, api_key_file: None };
    EndpointConfig { replicas: vec![replica], ..config() }
}

#[tokio::test(start_paused = true)]
async fn replicas_share_the_work_and_one_takes_over_from_another() {
    let (one, two) = (StandIn::that(|_| answer(100)), StandIn::that(|_| answer(100)));
    let judge = Judge::of(replicated(), &[(URL, Arc::clone(&one)), (OTHER, Arc::clone(&two))]);
    judge.judge_many(100).await;
    assert!((40..=60).contains(&one.calls()) && one.calls() + two.calls() == 100, "{}", one.calls());

    let (down, up) = (StandIn::that(|_| Act::Unreachable), StandIn::that(|_| answer(100)));
    let judge = Judge::of(replicated(), &[(URL, Arc::clone(&down)), (OTHER, Arc::clone(&up))]);
    let signals = judge.judge_many(200).await;
    assert!(signals.iter().all(|signal| signal.part.is_some()));
    assert_eq!(up.calls(), 200);
    let before = down.calls();
    judge.judge("later").await;
    assert_eq!(down.calls(), before, "it is left alone");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_again_and_again_is_left_alone_and_tried_again_later() {
    let broken = StandIn::that(|number| if number < 8 { Act::Unreachable } else { answer(100) });
    let config = EndpointConfig { retries: 0, ..config() };
    let judge = Judge::of(config, &[(URL, Arc::clone(&broken))]);
    for number in 0..12 {
        abstained(&judge.judge(&format!("turn {number}")).await, AbstainWhy::Unreachable);
    }
    assert_eq!(broken.calls(), 8);
    tokio::time::sleep(Duration::from_secs(6)).await;
    part(&judge.judge("later").await);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_answers_in_its_own_name_and_under_its_own_key() {
    let (gone, other) = (StandIn::that(|_| Act::Status(402, Vec::new())), StandIn::that(|_| answer(100)));
    let fallback = EndpointConfig::new(OTHER, "other-model");
    let config = EndpointConfig { fallback: Some(Box::new(fallback)), ..config() };
    let judge = Judge::of(config, &[(URL, Arc::clone(&gone)), (OTHER, Arc::clone(&other))]);
    let signal = judge.judge("turn").await;
    assert_eq!(part(&signal).model, "other-model");
    assert_eq!((gone.calls(), other.calls()), (1, 1));
    assert!(part(&judge.judge("turn").await).cached);
    assert_eq!((gone.calls(), other.calls()), (1, 1), "no money left: it is not asked again so soon");
}

#[tokio::test(start_paused = true)]
async fn a_slow_attempt_gets_a_second_within_the_share() {
    // Every fiftieth attempt hangs for half a minute.
    let stand_in = StandIn::that(|number| answer(if number % 50 == 49 { 30_000 } else { 100 }));
    let hedged = EndpointConfig { hedge: Finite::new(0.05).unwrap(), ..config() };
    let judge = Judge::of(hedged, &[(URL, Arc::clone(&stand_in))]);
    let (mut slowest, mut sent) = (Duration::ZERO, 0);
    for number in 0..400 {
        let started = Instant::now();
        let signal = judge.judge(&format!("turn {number}")).await;
        part(&signal);
        sent += signal.usage.judge_calls;
        // The first few teach what is usual.
        if number >= 100 {
            slowest = slowest.max(started.elapsed());
        }
    }
    let hedges = judge.outcomes("hedged");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!((1..=20).contains(&hedges), "{hedges}");
    assert_eq!(sent, 400 + hedges as u64, "who asked is told of the second attempt, too");
}

/// A question after forty quick ones, slow in its first attempt and as told in the second: what it came to, and the lines
/// about it. An answer costs 60 and may cost 512.
async fn slow_one(second: fn() -> Act, per_run: Option<i32>) -> (Signal, usize, Vec<serde_json::Value>) {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::that(move |number| match number {
        40 => answer(30_000),
        41 => second(),
        _ => answer(100),
    });
    let path = folder.path().join("audit.jsonl");
    let mut hedged = EndpointConfig { hedge: Finite::new(0.05).unwrap(), ..config() };
    hedged.audit = Some(AuditConfig { path: path.clone(), texts: false, max_bytes: 1 << 20, keep: 1 });
    hedged.prices.completion_per_million = Finite::from(1_000_000);
    hedged.budget.per_run = per_run.map(Finite::from);
    let judge = Judge::of(hedged, &[(URL, Arc::clone(&stand_in))]);
    for number in 0..40 {
        part(&judge.judge(&format!("turn {number}")).await);
    }
    let signal = judge.judge("slow").await;
    part(&signal);
    // Writes what is left.
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
    assert!((200.0..210.0).contains(&given_up["latency_ms"].as_f64().unwrap()), "from when it was sent");
    assert!(given_up.get("verdict").is_none() && answered.get("verdict").is_some());
    assert_eq!((signal.usage.judge_calls, signal.usage.cost.to_bits()), (2, 572f64.to_bits()));
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_that_fails_is_called_what_it_is_and_costs_nothing() {
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

#[tokio::test(start_paused = true)]
async fn an_attempt_that_never_came_back_is_booked_at_its_most() {
    let stand_in = StandIn::that(|_| answer(100_000));
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
    let stand_in = StandIn::that(move |_| {
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
