//! Recorded replies of every server, each with the request that it answers.

use axum::response::IntoResponse as _;
use guerdon_fusion::{Ask, RewardSource};
use guerdon_remote::{RemoteRmConfig, RemoteRmSource, RmProtocol};
use guerdon_types::{Calibration, Finite, Message, Part, Role, Rollout};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::server::{FunctionServer, abstention, value};

/// The origin of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Origin {
    /// A server answered the request. `scripts/reward_servers.py` records it.
    Server,
    /// It was written from the server's documentation or source. No server of it was run.
    Documentation,
}

/// A recorded exchange.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    origin: Origin,
    /// The version of the server that answered, or the page that documents the exchange.
    source: String,
    protocol: RmProtocol,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    template: Option<String>,
    #[serde(default)]
    output: Option<usize>,
    #[serde(default)]
    dialogue: Vec<(Role, String)>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    request: Option<Value>,
    reply: Value,
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    why: Option<String>,
}

const RECORDED: [&str; 17] = [
    include_str!("recorded/vllm_classify.json"),
    include_str!("recorded/vllm_classify_text.json"),
    include_str!("recorded/vllm_classify_messages.json"),
    include_str!("recorded/vllm_pooling.json"),
    include_str!("recorded/vllm_score.json"),
    include_str!("recorded/sglang.json"),
    include_str!("recorded/tei.json"),
    include_str!("recorded/tei_rerank.json"),
    include_str!("recorded/infinity.json"),
    include_str!("recorded/infinity_text.json"),
    include_str!("recorded/infinity_classify.json"),
    include_str!("recorded/openrlhf.json"),
    include_str!("recorded/open_inference.json"),
    include_str!("recorded/nemo_gym.json"),
    include_str!("recorded/nemo_gym_failure.json"),
    include_str!("recorded/guerdon.json"),
    include_str!("recorded/guerdon_silent.json"),
];

fn recorded() -> impl Iterator<Item = Recorded> {
    RECORDED.into_iter().map(|text| serde_json::from_str(text).unwrap())
}

fn source_of(url: &str, one: &Recorded) -> RemoteRmSource {
    let config = RemoteRmConfig {
        model: one.model.clone(),
        template: one.template.clone(),
        output: one.output,
        retries: 0,
        ..RemoteRmConfig::new(url, one.protocol)
    };
    RemoteRmSource::new("rm".into(), config, None, &TaskTracker::new()).unwrap()
}

fn dialogue_of(one: &Recorded) -> Rollout {
    let mut messages: Vec<Message> =
        one.dialogue.iter().map(|(role, text)| Message::new(*role, text.clone())).collect();
    if messages.is_empty() {
        messages.push(Message::new(Role::Assistant, "How much?"));
    }
    Rollout { messages, ..Rollout::default() }
}

#[tokio::test]
async fn every_recorded_exchange_is_reproduced() {
    for one in recorded() {
        assert!(!one.source.is_empty());
        let body = one.reply.to_string();
        let server = FunctionServer::start(move |_| body.clone().into_response()).await;
        let source = source_of(server.origin(), &one);
        let rollout = dialogue_of(&one);
        let last = rollout.messages.len() - 1;
        let signals = source.score(Ask::new(&rollout, &[last], None)).await;
        assert_eq!(value(&signals[0]), one.value, "{}: {signals:?}", one.source);
        if let Some(why) = &one.why {
            assert_eq!(abstention(&signals[0]).why.as_str(), why, "{}", one.source);
        }
        let received = &server.received()[0];
        if let Some(path) = &one.path {
            assert_eq!(&received.path, path, "{}", one.source);
        }
        if let Some(request) = &one.request {
            assert_eq!(&received.json(), request, "{}", one.source);
        }
    }
}

/// Replies that lack a number, have one too many, or are of another protocol.
#[tokio::test]
async fn a_damaged_reply_abstains() {
    for one in recorded().filter(|one| one.value.is_some()) {
        let text = one.reply.to_string();
        let wrong = [
            "{}".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            text[..text.len() - 1].to_owned(),
            numbers_replaced(&one.reply, &Value::Null).to_string(),
            numbers_replaced(&one.reply, &Value::from("1")).to_string(),
        ];
        for body in wrong {
            let reply = body.clone();
            let server = FunctionServer::start(move |_| reply.clone().into_response()).await;
            let source = source_of(server.origin(), &one);
            let rollout = dialogue_of(&one);
            let last = rollout.messages.len() - 1;
            let signals = source.score(Ask::new(&rollout, &[last], None)).await;
            let why = abstention(&signals[0]).why.as_str().to_owned();
            assert!(["malformed", "endpoint_error"].contains(&why.as_str()), "{why}: {body}");
        }
    }
}

/// `value` with `with` in place of every number.
fn numbers_replaced(value: &Value, with: &Value) -> Value {
    match value {
        Value::Number(_) => with.clone(),
        Value::Array(items) => items.iter().map(|item| numbers_replaced(item, with)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), numbers_replaced(value, with))).collect()
        }
        other => other.clone(),
    }
}

#[tokio::test]
async fn the_raw_output_is_calibrated_as_that_of_a_local_model() {
    let server = FunctionServer::start(|_| r#"{"rewards": [3.5]}"#.into_response()).await;
    let calibration =
        Calibration::Standardised { mean: Finite::new(1.5).unwrap(), std: Finite::from(4) };
    let config = RemoteRmConfig {
        template: Some("chatml".to_owned()),
        calibration,
        ..RemoteRmConfig::new(server.origin(), RmProtocol::Openrlhf)
    };
    let source = RemoteRmSource::new("rm".into(), config, None, &TaskTracker::new()).unwrap();
    let rollout = crate::server::rollout(&["a"]);
    let signals = source.score(Ask::new(&rollout, &[0], None)).await;
    let Some(Part::Rm(part)) = &signals[0].part else { panic!("{signals:?}") };
    assert_eq!((part.score.get(), part.raw), (0.5, 3.5));
}

/// The protocols with an exchange that a server answered. The others are as documented.
#[test]
fn infinity_and_vllm_were_recorded() {
    let mut answered: Vec<&str> = recorded()
        .filter(|one| one.origin == Origin::Server)
        .map(|one| one.protocol.as_str())
        .collect();
    answered.sort_unstable();
    answered.dedup();
    assert_eq!(answered, ["infinity", "vllm_classify", "vllm_pooling", "vllm_score"]);
}

#[test]
fn a_configuration_that_cannot_work_is_refused_with_a_fix() {
    let built = |config| {
        RemoteRmSource::new("rm".into(), config, None, &TaskTracker::new())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let tei = RemoteRmConfig::new("http://h", RmProtocol::Tei);
    assert!(built(tei.clone()).unwrap_err().contains("`template` is missing"));
    let wrong = RemoteRmConfig { template: Some("chatlm".to_owned()), ..tei.clone() };
    assert!(built(wrong).unwrap_err().contains("`chatml`"));
    let plain = RemoteRmConfig { template: Some("plain".to_owned()), ..tei };
    assert!(built(plain.clone()).is_ok());
    assert!(
        built(RemoteRmConfig { url: None, ..plain.clone() }).unwrap_err().contains("no address")
    );
    assert!(built(RemoteRmConfig { batch: 0, ..plain }).unwrap_err().contains("`batch` is 0"));
    let classifier =
        RemoteRmConfig { output: Some(1), ..RemoteRmConfig::new("http://h", RmProtocol::Infinity) };
    assert!(built(classifier).unwrap_err().contains("`template` is missing"));
    let nameless = RemoteRmConfig {
        template: Some("plain".to_owned()),
        ..RemoteRmConfig::new("http://h", RmProtocol::OpenInference)
    };
    assert!(built(nameless).unwrap_err().contains("`model` is missing"));
}
