//! Real servers: llama.cpp's, and LiteLLM's proxy. These tests run only if the environment names
//! the servers, as `make test-judges` does. A small model's opinions are noise, so the tests check
//! the protocol and print the opinions.

#![expect(clippy::print_stdout, reason = "the replies of real servers are informative")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use guerdon_fusion::{Ask, RewardSource};
use guerdon_judge::{
    CallEvent, Endpoint, EndpointConfig, JudgeSource, Prompts, ResponseFormat, Services, SourceText,
};
use guerdon_types::{AbstainWhy, Message, Part, Role, Rollout, Signal};
use tokio_util::task::TaskTracker;

use crate::house::RUBRIC;

/// llama.cpp's server, such as `http://127.0.0.1:8092/v1`.
const LLAMA: &str = "GUERDON_TEST_JUDGE_URL";
/// LiteLLM's proxy with `scripts/test_judges/litellm.yaml`, such as `http://127.0.0.1:4010/v1`.
const LITELLM: &str = "GUERDON_TEST_LITELLM_URL";
const LITELLM_KEY: &str = "GUERDON_TEST_LITELLM_KEY";

#[expect(clippy::disallowed_methods, reason = "the environment names the servers under test")]
fn variable_of(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok();
    if value.is_none() {
        println!("skipped: {variable} names no server");
    }
    value
}

/// A judge at a real address, with ears.
struct Real {
    source: JudgeSource,
    outcomes: Arc<Mutex<Vec<&'static str>>>,
}

impl Real {
    fn new(config: EndpointConfig, key: Option<&str>, prompts: &[(&str, &str)]) -> Self {
        let text =
            |(name, text): &(&str, &str)| SourceText { name: (*name).into(), text: (*text).into() };
        let texts: Vec<_> = prompts.iter().map(text).collect();
        let (prompts, _) = Prompts::compile(&texts).unwrap_or_else(|report| panic!("{report}"));
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&outcomes);
        let observer = move |event: &CallEvent| {
            println!("{event:?}");
            heard.lock().unwrap().push(event.outcome.as_str());
        };
        let key = key.map(str::to_owned);
        let services = Services::new(TaskTracker::new(), observer)
            .with_keys(move |_| Ok(key.clone().map(Into::into)));
        let endpoint = Endpoint::build(config, &services).unwrap();
        Self { source: JudgeSource::new(endpoint, Arc::new(prompts)), outcomes }
    }

    async fn judge(&self, rollout: &Rollout) -> Signal {
        self.judge_by(rollout, None).await
    }

    async fn judge_by(&self, rollout: &Rollout, deadline: Option<Instant>) -> Signal {
        let started = Instant::now();
        let signal = self.source.score(Ask::new(rollout, &[1], deadline)).await.remove(0);
        println!("{:?} {signal:#?}", started.elapsed());
        signal
    }

    fn outcomes(&self) -> Vec<&'static str> {
        self.outcomes.lock().unwrap().clone()
    }
}

fn rollout(user: &str, reply: &str) -> Rollout {
    let messages = vec![Message::new(Role::User, user), Message::new(Role::Assistant, reply)];
    let context = serde_json::from_str(r#"{"sop_stage": "diagnose"}"#).unwrap();
    Rollout { messages, context, ..Rollout::default() }
}

fn at(url: &str, model: &str) -> EndpointConfig {
    EndpointConfig {
        timeout: Duration::from_secs(170),
        max_concurrent: 2,
        retries: 1,
        backoff: Duration::from_millis(50),
        ..EndpointConfig::new(url, model)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn llama_cpp_judges_two_dialogues_and_the_second_time_they_come_from_the_cache() {
    let Some(url) = variable_of(LLAMA) else { return };
    let shipped = [
        ("empathy.md", include_str!("../../../../judge-prompts/empathy.md")),
        ("sop.md", include_str!("../../../../judge-prompts/sop.md")),
        ("overpromise.md", include_str!("../../../../judge-prompts/overpromise.md")),
    ];
    let real = Real::new(at(&url, "smollm2-135m"), None, &shipped);
    for (user, reply) in [
        (
            "We had a fire last week, I cannot think about prices now.",
            "I guarantee you rank first if you give me 420 today.",
        ),
        ("这个价格我要再考虑一下。", "理解，您慢慢考虑。方便说说主要顾虑是什么吗？"),
    ] {
        let rollout = rollout(user, reply);
        let signal = real.judge(&rollout).await;
        assert!(signal.part.is_some() || !signal.abstained.is_empty());
        if let Some(Part::Judge(first)) = &signal.part {
            let again =
                real.source.score(Ask::new(&rollout, &[1], Some(Instant::now()))).await.remove(0);
            let Some(Part::Judge(again)) = &again.part else { panic!("{again:?}") };
            assert!(again.cached);
            assert_eq!(first.points, again.points);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_llama_cpp_cuts_short_is_truncated_and_never_a_number() {
    let Some(url) = variable_of(LLAMA) else { return };
    // Without a grammar and with room for three tokens, no reply can be a verdict.
    let short = RUBRIC.replace("version = 1", "version = 1\nmax_tokens = 3");
    let config = EndpointConfig {
        retries: 0,
        response_format: ResponseFormat::Plain,
        ..at(&url, "smollm2-135m")
    };
    let real = Real::new(config, None, &[("manners.md", &short)]);
    let signal = real.judge(&rollout("480 is our best.", "Take it or leave it.")).await;
    assert_eq!(signal.part, None);
    assert_eq!(signal.abstained[0].why, AbstainWhy::Truncated, "{:?}", signal.abstained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn litellm_passes_a_verdict_on_and_its_refusals_are_understood() {
    let (Some(url), Some(key)) = (variable_of(LITELLM), variable_of(LITELLM_KEY)) else { return };
    let prompts = [("manners.md", RUBRIC)];
    let rollout = rollout("480 is our best.", "Take it or leave it.");

    let mock = Real::new(at(&url, "judge-mock"), Some(&key), &prompts);
    let signal = mock.judge(&rollout).await;
    let Some(Part::Judge(part)) = &signal.part else { panic!("{signal:?}") };
    assert_eq!(part.points, guerdon_types::Finite::from(-10));
    assert_eq!(mock.outcomes(), ["ok"]);

    let limited = Real::new(at(&url, "judge-429"), Some(&key), &prompts);
    // A quota comes back by itself, so that a question without a deadline would wait for it for
    // ever.
    let signal = limited.judge_by(&rollout, Some(Instant::now() + Duration::from_secs(12))).await;
    let why = signal.abstained[0].why.known();
    assert!(
        matches!(why, Some(AbstainWhy::RateLimited | AbstainWhy::Deadline)),
        "{:?}",
        signal.abstained
    );
    assert!(limited.outcomes().contains(&"rate_limited"), "{:?}", limited.outcomes());

    let unknown = Real::new(at(&url, "judge-nobody"), Some(&key), &prompts);
    let signal = unknown.judge(&rollout).await;
    assert_eq!(signal.abstained[0].why, AbstainWhy::EndpointError, "{:?}", signal.abstained);

    let stranger = Real::new(at(&url, "judge-mock"), Some("sk-nobody"), &prompts);
    let signal = stranger.judge(&rollout).await;
    assert_eq!(signal.abstained[0].why, AbstainWhy::EndpointError, "{:?}", signal.abstained);

    // Through the proxy to llama.cpp, whose grammar keeps the form.
    let real = Real::new(at(&url, "judge-real"), Some(&key), &prompts);
    let signal = real.judge(&rollout).await;
    assert!(signal.part.is_some() || !signal.abstained.is_empty());
    assert_eq!(real.outcomes().first(), Some(&"ok"), "{:?}", real.outcomes());
}
