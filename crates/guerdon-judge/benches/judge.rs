//! Overhead of the judge on top of its endpoint: `cargo bench -p guerdon-judge`, or
//! `... --bench judge -- lookup|batch|overhead|http` for one measure. Prints one line for each measure
//! and asserts nothing, because a shared machine gives no reliable times. The scripted endpoint
//! answers in this process, so that only the judge is measured.
//!
//! - *cached lookup*: render, key, memory; one question after the other.
//! - *cached batch*: 1,024 turns x 4 rubrics at once, all known.
//! - *overhead*: 500 questions a second, none known, against a stand-in that takes about 50 ms:
//!   total less what the stand-in really took (a timer is late by up to a millisecond), since nothing
//!   else is waited for on purpose; without a file, and with one.
//! - *over HTTP*: 500 questions a second to an endpoint on loopback that takes 50 ms, and beside each
//!   of them a bare request with the same body, sent at the same moment by the same HTTP library.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use guerdon_fusion::{Ask, RewardSource as _};
use guerdon_judge::{
    Endpoint, EndpointConfig, JudgeSource, Prompts, Services, SourceText, Transport,
    TransportError, TransportReply,
};
use guerdon_testing::{JudgeReply, StandInJudge};
use guerdon_types::{Message, Role, Rollout};
use http::{HeaderMap, StatusCode};
use tokio_util::task::TaskTracker;

const UPSTREAM: Duration = Duration::from_millis(50);

/// A scripted endpoint that answers after a delay and finds no fault.
#[derive(Debug)]
struct LenientEndpoint {
    takes: Duration,
    /// Duration of each question here, by the number in its text.
    took: Took,
}

type Took = Arc<Mutex<HashMap<usize, Duration>>>;

/// The number that [`rollout`] put into the text.
fn number(body: &str) -> Option<usize> {
    let after = body.rsplit_once("call on day ")?.1;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The findings that the schema of a request allows, each with its first level.
fn lenient(request: &serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    let schema = &request["response_format"]["json_schema"]["schema"];
    let finding = |(id, schema): (&String, &serde_json::Value)| {
        let level = schema["properties"]["level"]["enum"][0].clone();
        (id.clone(), serde_json::json!({"level": level, "evidence": null}))
    };
    let findings = schema["properties"]["findings"]["properties"].as_object().unwrap();
    findings.iter().map(finding).collect()
}

impl Transport for LenientEndpoint {
    fn send(&self, body: Vec<u8>) -> BoxFuture<'_, Result<TransportReply, TransportError>> {
        let started = Instant::now();
        let number = number(&String::from_utf8_lossy(&body));
        // The schema of the question says which answer it wants: the first level of each criterion.
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let findings = lenient(&body);
        let asked = body["messages"][1]["content"].as_str().unwrap();
        let seal = asked.rsplit_once("beginning with \"turn\": \"").unwrap().1;
        let seal = seal.split('"').next();
        let says = serde_json::json!({"turn": seal, "findings": findings}).to_string();
        let reply = serde_json::json!({"choices": [{"message": {"content": says}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 600, "completion_tokens": 60}});
        let body = reply.to_string().into_bytes();
        async move {
            if !self.takes.is_zero() {
                tokio::time::sleep(self.takes).await;
            }
            if let Some(number) = number {
                self.took.lock().unwrap().insert(number, started.elapsed());
            }
            Ok(TransportReply { status: StatusCode::OK, headers: HeaderMap::new(), body })
        }
        .boxed()
    }
}

fn source(
    texts: &[SourceText],
    config: EndpointConfig,
    takes: Duration,
    took: &Took,
) -> JudgeSource {
    let took = Arc::clone(took);
    let (prompts, _) = Prompts::compile(texts).unwrap();
    let services = Services::new(TaskTracker::new(), |_| {})
        .with_transport(move |_| Arc::new(LenientEndpoint { takes, took: Arc::clone(&took) }));
    JudgeSource::new(Endpoint::build(config, &services).unwrap(), Arc::new(prompts))
}

fn config() -> EndpointConfig {
    EndpointConfig::new("http://stand-in/v1", "m")
}

fn rollout(number: usize) -> Rollout {
    let said = |role, text: &str| Message::new(role, text);
    let mut messages = Vec::new();
    for round in 0..4 {
        messages.push(said(
            Role::User,
            &format!("我们最低480元，含双早。这个价格已经很低了。 ({round})"),
        ));
        messages.push(said(
            Role::Assistant,
            "I understand. Could breakfast be optional, and would 430 work then?",
        ));
    }
    messages.push(said(Role::User, "让我再考虑一下。"));
    messages.push(said(
        Role::Assistant,
        &format!("Of course, take your time. Shall I call on day {number}?"),
    ));
    let serde_json::Value::Object(context) = serde_json::json!({"sop_stage": "negotiate"}) else {
        unreachable!()
    };
    Rollout { messages, context, ..Rollout::default() }
}

fn percentiles(name: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: usize| took[(took.len() * share / 1000).min(took.len() - 1)];
    println!(
        "{name}: p50 {:?}, p99 {:?}, max {:?} (n = {})",
        at(500),
        at(990),
        at(1000),
        took.len()
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let shipped =
        |name: &str, text: &str| SourceText { name: name.to_owned(), text: text.to_owned() };
    let texts = [
        shipped("empathy.md", include_str!("../../../judge-prompts/empathy.md")),
        shipped("sop.md", include_str!("../../../judge-prompts/sop.md")),
        shipped("negotiation.md", include_str!("../../../judge-prompts/negotiation.md")),
        shipped("silence.md", include_str!("../../../judge-prompts/silence.md")),
    ];
    let rollouts: Vec<Rollout> = (0..1024).map(rollout).collect();

    let only: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    if wanted("lookup") {
        lookup(&texts[..1], &rollouts).await;
    }
    if wanted("batch") {
        batch(&texts, rollouts).await;
    }
    if wanted("overhead") {
        overhead(&texts[..1]).await;
    }
    if wanted("http") {
        over_http(&texts[..1]).await;
    }
}

async fn lookup(texts: &[SourceText], rollouts: &[Rollout]) {
    let judge = source(texts, config(), Duration::ZERO, &Took::default());
    let mut took = Vec::new();
    for round in 0..10 {
        for rollout in rollouts {
            let started = Instant::now();
            judge.score(Ask::new(rollout, &[9], None)).await;
            if round > 0 {
                took.push(started.elapsed());
            }
        }
    }
    percentiles("cached lookup, one rubric, rendered and hashed", took);
}

/// Two tasks, as the server's runtime has on two cores.
async fn batch(texts: &[SourceText], mut rollouts: Vec<Rollout>) {
    let judge = Arc::new(source(texts, config(), Duration::ZERO, &Took::default()));
    let other = Arc::new(rollouts.split_off(rollouts.len() / 2));
    let halves = [Arc::new(rollouts), other];
    let all = async || {
        let tasks = TaskTracker::new();
        let half = |half: &Arc<Vec<Rollout>>| {
            let (judge, half) = (Arc::clone(&judge), Arc::clone(half));
            tasks.spawn(async move {
                join_all(half.iter().map(|rollout| judge.score(Ask::new(rollout, &[9], None))))
                    .await;
            })
        };
        for half in halves.each_ref().map(half) {
            half.await.unwrap();
        }
    };
    all().await;
    let mut took = Vec::new();
    for _ in 0..30 {
        let started = Instant::now();
        all().await;
        took.push(started.elapsed());
    }
    percentiles("cached batch, 1,024 turns x 4 rubrics", took);
}

async fn overhead(texts: &[SourceText]) {
    let folder = tempfile::tempdir().unwrap();
    let mut durable = config();
    durable.cache.path = Some(folder.path().join("judge.log"));
    for (name, config) in [("no file", config()), ("answers kept in a file", durable)] {
        let upstream = Took::default();
        let judge = Arc::new(source(texts, config, UPSTREAM, &upstream));
        // Warm: the room for attempts grows from 20 to what 500 a second need.
        let mut overhead = Vec::new();
        let tasks = TaskTracker::new();
        let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
        let mut tick = tokio::time::interval(Duration::from_millis(2));
        for number in 10_000..16_000 {
            tick.tick().await;
            let (judge, sender, rollout) = (Arc::clone(&judge), sender.clone(), rollout(number));
            tasks.spawn(async move {
                let started = Instant::now();
                judge.score(Ask::new(&rollout, &[9], None)).await;
                if number >= 12_000 {
                    sender.send((number, started.elapsed())).unwrap();
                }
            });
        }
        drop(sender);
        while let Some((number, took)) = received.recv().await {
            let upstream = upstream.lock().unwrap()[&number];
            overhead.push(took.saturating_sub(upstream));
        }
        percentiles(&format!("overhead at 500 questions a second, {name}"), overhead);
    }
}

async fn over_http(texts: &[SourceText]) {
    let stand_in = StandInJudge::start_by_content(|request| {
        let says = serde_json::json!({"findings": lenient(request)}).to_string();
        JudgeReply::content(says).delay(UPSTREAM)
    })
    .await;
    let (prompts, _) = Prompts::compile(texts).unwrap();
    let services = Services::new(TaskTracker::new(), |_| {});
    let config = EndpointConfig::new(stand_in.url(), "m");
    let endpoint = Endpoint::build(config, &services).unwrap();
    let judge = Arc::new(JudgeSource::new(endpoint, Arc::new(prompts)));
    // The bare requests carry the body of this question.
    judge.score(Ask::new(&rollout(1), &[9], None)).await;
    let body = stand_in.requests()[0].to_string();
    let client = reqwest::Client::new();
    let url = format!("{}/chat/completions", stand_in.url());
    let tasks = TaskTracker::new();
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    for number in 10_000..16_000 {
        tick.tick().await;
        let (judge, rollout) = (Arc::clone(&judge), rollout(number));
        let (judged, bare) = (sender.clone(), sender.clone());
        tasks.spawn(async move {
            let started = Instant::now();
            let signals = judge.score(Ask::new(&rollout, &[9], None)).await;
            assert!(signals[0].part.is_some(), "{:?}", signals[0].abstained);
            if number >= 12_000 {
                judged.send((true, started.elapsed())).unwrap();
            }
        });
        let request = client.post(&url).header("content-type", "application/json");
        let request = request.body(body.clone());
        tasks.spawn(async move {
            let started = Instant::now();
            request.send().await.unwrap().bytes().await.unwrap();
            if number >= 12_000 {
                bare.send((false, started.elapsed())).unwrap();
            }
        });
    }
    drop(sender);
    let (mut judged, mut bare) = (Vec::new(), Vec::new());
    while let Some((is_judged, took)) = received.recv().await {
        if is_judged { judged.push(took) } else { bare.push(took) }
    }
    percentiles("over HTTP, 500 questions a second", judged);
    percentiles("over HTTP, 500 bare requests a second beside them", bare);
}
