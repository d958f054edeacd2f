//! Traces of requests, as a collector receives them.

use std::collections::BTreeMap;

use guerdon_testing::{ReceivedSpan, StandInCollector};
use guerdon_tests::{JudgeThread, ProcessSetup, Server, WAIT_LIMIT, wait_until_blocking};
use serde_json::json;

use crate::{LEAK_REWARD, leak, light, request};

/// A trace and a span of a caller, as a `traceparent` has them.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A collector on a runtime of its own.
struct CollectorThread {
    _runtime: tokio::runtime::Runtime,
    collector: StandInCollector,
}

impl CollectorThread {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let collector = runtime.block_on(StandInCollector::start());
        Self { _runtime: runtime, collector }
    }

    /// `setup` with an exporter that sends to this collector soon.
    fn added_to(&self, setup: ProcessSetup) -> ProcessSetup {
        setup
            .variable("OTEL_EXPORTER_OTLP_ENDPOINT", self.collector.url())
            .variable("OTEL_BSP_SCHEDULE_DELAY", "50")
    }

    /// The spans of `TRACE`, once the one of the request is among them.
    fn spans(&self) -> Vec<ReceivedSpan> {
        wait_until_blocking("the request's span arrives", WAIT_LIMIT, || {
            self.collector.spans().iter().any(|span| span.parent == CALLER)
        });
        self.collector.spans().iter().filter(|span| span.trace == TRACE).cloned().collect()
    }
}

fn one<'a>(spans: &'a [ReceivedSpan], name: &str) -> &'a ReceivedSpan {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

/// Asks for one reward within the caller's trace.
fn score(server: &guerdon_tests::GuerdonProcess) {
    let body = request(&[Server::rollout("480 brisk .")]).to_string();
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("content-type", "application/json"), ("traceparent", traceparent.as_str())];
    let bytes = guerdon_tests::wire_request("POST", "/v1/score", &headers, body.as_bytes());
    let reply = server.exchange(&bytes).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn trace_leads_from_the_caller_to_the_judge() {
    let (collector, judge) = (CollectorThread::start(), JudgeThread::start());
    let setup = collector.added_to(judge.added_to(light(), ""));
    let server =
        setup.variable("OTEL_SEMCONV_STABILITY_OPT_IN", "http, gen_ai_latest_experimental").start();
    score(&server);
    let spans = collector.spans();

    let http = one(&spans, "POST /v1/score");
    assert_eq!((http.kind, http.parent.as_str()), (2, CALLER));
    assert_eq!(http.attributes["http.response.status_code"], "200");
    assert_eq!(http.resource["service.name"], "guerdon");
    let reward = one(&spans, "rl.reward");
    assert_eq!(reward.parent, http.id);
    assert_eq!(reward.attributes["guerdon.profile"], "light");
    assert!(reward.attributes["guerdon.digest"].starts_with("sha256:"), "{reward:?}");
    let score: f64 = reward.attributes["rl.reward.score"].parse().unwrap();
    let evaluation = BTreeMap::from([
        ("gen_ai.evaluation.name".to_owned(), "reward".to_owned()),
        ("gen_ai.evaluation.score.value".to_owned(), score.to_string()),
    ]);
    assert_eq!(reward.events, [("gen_ai.evaluation.result".to_owned(), evaluation)]);

    let sources: Vec<_> = spans.iter().filter(|span| span.name == "source.score").collect();
    assert_eq!(sources.len(), 2, "{spans:#?}");
    assert!(sources.iter().all(|span| span.parent == reward.id));
    let asked = sources.iter().find(|span| span.attributes["source.id"] == "judge").unwrap();
    let chat = spans.iter().find(|span| span.name.starts_with("chat ")).unwrap();
    assert_eq!((chat.kind, &chat.parent), (3, &asked.id));
    assert!(chat.attributes.contains_key("gen_ai.request.model"), "{chat:?}");

    // The judge received the context of the call.
    let sent = judge.endpoint().headers()[0]["traceparent"].clone();
    assert_eq!(sent.to_str().unwrap(), format!("00-{TRACE}-{}-01", chat.id));
}

#[test]
fn attributes_without_a_stable_convention_are_left_out_unless_asked_for() {
    let (collector, judge) = (CollectorThread::start(), JudgeThread::start());
    let server = collector.added_to(judge.added_to(light(), "")).start();
    score(&server);
    let spans = collector.spans();
    assert!(spans.iter().any(|span| span.name.starts_with("chat ")), "{spans:#?}");
    for span in &spans {
        assert!(span.attributes.keys().all(|key| !key.starts_with("gen_ai.")), "{span:#?}");
        assert!(span.events.is_empty(), "{span:#?}");
    }
}

#[test]
fn server_without_a_collector_scores_and_stops() {
    // Nothing listens there.
    let setup = light().variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    let mut server = setup.start();
    let reply = server.score(&request(&[Server::rollout("480 brisk .")]));
    assert_ne!(reply["results"][0]["reward"], json!(null));
    let (status, _) = server.terminate(WAIT_LIMIT);
    assert!(status.success(), "{status}: {}", server.log());
}

#[test]
fn exporter_that_guerdon_does_not_have_is_refused_at_the_start() {
    let setup = light().variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
    let (code, log) = setup.variable("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").refusal();
    assert_ne!(code, Some(0));
    assert!(log.contains("OTEL_EXPORTER_OTLP_PROTOCOL=grpc") && log.contains("4318"), "{log}");
}

#[test]
fn call_of_a_function_continues_the_trace() {
    let collector = CollectorThread::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let function = runtime.block_on(guerdon_testing::StandInServer::start([]));
    let source = format!(
        "[profiles.light.sources.pricing]\nkind = \"http\"\nurl = \"{}/score\"\n",
        function.url()
    );
    let server = collector.added_to(light().tables(&source)).start();
    score(&server);
    let spans = collector.spans();
    let call = one(&spans, "source.call");
    let asked = spans.iter().find(|span| span.id == call.parent).unwrap();
    assert_eq!((asked.name.as_str(), call.kind), ("source.score", 3));
    assert_eq!(asked.attributes["source.id"], "pricing");
    let sent = function.received()[0].headers["traceparent"].clone();
    assert_eq!(sent.to_str().unwrap(), format!("00-{TRACE}-{}-01", call.id));
    // The stand-in's reply is none that a function gives.
    assert_eq!(asked.attributes["source.abstained"], "1");
}

/// Rollouts of a group that are settled together have their rewards in their own spans.
#[test]
fn reward_that_a_group_decides_is_in_the_span_of_its_rollout() {
    let collector = CollectorThread::start();
    let by_cause = "on_abstain = { infrastructure = \"group\", content = \"null\" }\n";
    let setup = light().fusion(by_cause);
    let setup = setup.variable("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental");
    let server = collector.added_to(setup).start();
    let mut rollouts = [leak(), Server::rollout("480 .")];
    for (index, rollout) in rollouts.iter_mut().enumerate() {
        rollout["group"] = json!("g");
        rollout["id"] = json!(format!("r{index}"));
    }
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("content-type", "application/json"), ("traceparent", traceparent.as_str())];
    let body = request(&rollouts).to_string();
    let bytes = guerdon_tests::wire_request("POST", "/v1/score", &headers, body.as_bytes());
    assert_eq!(server.exchange(&bytes).unwrap().status, 200);
    let spans = collector.spans();
    for (id, reward) in [("r0", LEAK_REWARD), ("r1", 0.0)] {
        let span =
            spans.iter().find(|span| span.attributes.get("rl.sample.id") == Some(&id.into()));
        let span = span.unwrap_or_else(|| panic!("{id}: {spans:#?}"));
        let score: f64 = span.attributes["rl.reward.score"].parse().unwrap();
        assert!((score - reward).abs() < 1e-9, "{span:?}");
        assert_eq!(span.events.len(), 1, "{span:?}");
    }
}
