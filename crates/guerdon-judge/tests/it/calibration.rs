//! A judge whose errors are known, measured against people whose opinions are known.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use guerdon_fusion::{Ask, RewardSource as _};
use guerdon_judge::{
    Endpoint, EndpointConfig, Gold, JudgeSource, Prompts, Seal, Services, SourceText, Transport,
    TransportError, TransportReply,
};
use guerdon_types::{Message, Role, Rollout};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::house::{RUBRIC, verdict};

/// A stand-in that finds rude what says "go", and is wrong about what says "wrong".
/// A judge whose answers do not repeat the block's name.
fn unsealed(url: &str) -> EndpointConfig {
    EndpointConfig { seal: Seal::Never, ..EndpointConfig::new(url, "m") }
}

#[derive(Debug)]
struct Opinionated;

impl Transport for Opinionated {
    fn send(&self, body: Vec<u8>) -> BoxFuture<'_, Result<TransportReply, TransportError>> {
        let body: Value = serde_json::from_slice(&body).unwrap();
        let asked = body["messages"][1]["content"].as_str().unwrap();
        let rude = asked.contains("go away") != asked.contains("wrong");
        let says = verdict(if rude { "yes" } else { "no" }, None);
        let reply = json!({"choices": [{"message": {"content": says}, "finish_reason": "stop"}]})
            .to_string();
        async {
            Ok(TransportReply {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: reply.into_bytes(),
            })
        }
        .boxed()
    }
}

fn source() -> JudgeSource {
    let texts = [SourceText { name: "manners.md".to_owned(), text: RUBRIC.to_owned() }];
    let (prompts, _) = Prompts::compile(&texts).unwrap();
    let services =
        Services::new(TaskTracker::new(), |_| {}).with_transport(|_| Arc::new(Opinionated));
    let endpoint = Endpoint::build(unsealed("http://o/v1"), &services).unwrap();
    JudgeSource::new(endpoint, Arc::new(prompts))
}

#[tokio::test]
async fn kappa_matches_the_known_errors() {
    // 20 both rude, 5 and 10 on which they differ, 15 both not: kappa 0.4 by hand.
    let line = |number: usize, text: &str, rude: bool| {
        let messages = json!([{"role": "assistant", "content": format!("{number}: {text}")}]);
        json!({"messages": messages, "labels": {"rude": if rude { "yes" } else { "no" }}})
            .to_string()
    };
    let lines: Vec<String> = (0..50)
        .map(|number| match number {
            0..20 => line(number, "go away", true),
            20..25 => line(number, "go away, wrong", true),
            25..35 => line(number, "wrong", false),
            _ => line(number, "come in", false),
        })
        .collect();
    let gold = Gold::read(&lines.join("\n")).unwrap();
    let calibration = source().calibrate(&gold, 2).await.unwrap();
    let [rude] = calibration.measured.as_slice() else { panic!("{calibration:?}") };
    assert_eq!((rude.name.as_str(), rude.items, rude.abstained), ("rude", 50, 0));
    assert!((rude.kappa.value.unwrap() - 0.4).abs() < 1e-9, "{rude:?}");
    assert!((rude.agreement.value.unwrap() - 0.7).abs() < 1e-9, "{rude:?}");
    let (low, high) = rude.kappa.interval.unwrap();
    assert!(low < 0.4 && 0.4 < high && low > 0.0, "{rude:?}");
    assert_eq!(
        (rude.flip_rate, rude.position_bias),
        (Some(0.0), Some(0.0)),
        "it says the same every time"
    );
    let picture = calibration.svg();
    assert!(
        picture.starts_with("<svg")
            && picture.contains(">rude<")
            && picture.contains("0.40 (n = 50)")
    );
    let stamped = calibration.stamped(RUBRIC).unwrap();
    let texts = [SourceText {
        name: "manners.md".to_owned(),
        text: stamped.replace("version = 1", "version = 1\nleast_kappa = 0.5"),
    }];
    // A prompt with another `least_kappa` is another text, whose agreement was not measured.
    assert!(Prompts::compile(&texts).unwrap_err().to_string().contains("another text"));
    assert_eq!(calibration.stamped("another text"), None);
}

#[tokio::test]
async fn pairs_are_decided_by_the_points_of_each_reply() {
    let pair = |a: &str, b: &str, label: &str| {
        json!({"source": "own", "prompt": [{"role": "user", "content": "480?"}], "output_a": a, "output_b": b,
            "human_label": label})
        .to_string()
    };
    let lines = [
        pair("go away", "come in", "b"),
        pair("fine", "go away", "a"),
        pair("fine", "well", "tie"),
        pair("go away now", "hi", "a"),
    ];
    let gold = Gold::read(&lines.join("\n")).unwrap();
    let calibration = source().calibrate(&gold, 0).await.unwrap();
    let [own] = calibration.measured.as_slice() else { panic!("{calibration:?}") };
    assert_eq!((own.name.as_str(), own.items), ("own", 4));
    assert!((own.agreement.value.unwrap() - 0.75).abs() < 1e-9, "{own:?}");
    assert_eq!(own.flip_rate, None);
    // Of the two that differ in length and that both decide, people give one to the longer reply
    // and the judge none.
    assert_eq!(own.length_bias, Some(-0.5));
}

/// A stand-in that answers with a letter and says how sure it is.
#[derive(Debug)]
struct Torn;

impl Transport for Torn {
    fn send(&self, body: Vec<u8>) -> BoxFuture<'_, Result<TransportReply, TransportError>> {
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&json!(true), &json!(20)));
        assert!(body.get("response_format").is_none());
        let top: Vec<Value> = [("A", 0.45f64), ("B", 0.3), ("So", 0.25)]
            .map(|(token, p)| json!({"token": token, "logprob": p.ln()}))
            .into();
        let reply = json!({"choices": [{"message": {"content": "A"}, "finish_reason": "stop",
            "logprobs": {"content": [{"token": "A", "logprob": -0.8, "top_logprobs": top}]}}]});
        let body = reply.to_string().into_bytes();
        async { Ok(TransportReply { status: StatusCode::OK, headers: HeaderMap::new(), body }) }
            .boxed()
    }
}

#[tokio::test]
async fn a_judge_that_is_torn_gives_the_points_between() {
    let scored = RUBRIC
        .replace("version = 1", "version = 1\ngrouping = \"criterion\"\nscoring = \"expected\"");
    let texts = [SourceText { name: "manners.md".to_owned(), text: scored.clone() }];
    let (prompts, _) = Prompts::compile(&texts).unwrap_or_else(|report| panic!("{report}"));
    let services = Services::new(TaskTracker::new(), |_| {}).with_transport(|_| Arc::new(Torn));
    let endpoint = Endpoint::build(unsealed("http://t/v1"), &services).unwrap();
    let source = JudgeSource::new(endpoint, Arc::new(prompts));
    let rollout =
        Rollout { messages: vec![Message::new(Role::Assistant, "Take it.")], ..Rollout::default() };
    let signal = source.score(Ask::new(&rollout, &[0], None)).await.remove(0);
    let part = crate::house::part(&signal);
    // 0.3 / 0.75 of -20 and of -10, though "no" is the likelier level of both.
    assert!((part.points.get() + 12.0).abs() < 1e-9, "{part:?}");
    assert_eq!(part.criteria.len(), 2);

    let together = [SourceText {
        name: "manners.md".to_owned(),
        text: scored.replace("\"criterion\"", "\"rubric\""),
    }];
    assert!(
        Prompts::compile(&together)
            .unwrap_err()
            .to_string()
            .contains("one letter answers one question")
    );
}
