//! Each layer of a call on its own, over a scripted transport and under virtual time.

mod address;
mod attempt;
mod check;
mod client;
mod exchange;
mod patience;
mod reading;
mod record;
mod ticket;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use guerdon_queue::{Demand, Flow};
use parking_lot::Mutex;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ask::key::QuestionKey;
use crate::ask::question::RenderedQuestion;
use crate::ask::render::ChatMessage;
use crate::ask::turn_text::TurnText;
use crate::call::exchange::AttemptSpec;
use crate::call::judge_client::JudgeClient;
use crate::call::patience::Patience;
use crate::call::transport::{Transport, TransportError, TransportReply};
use crate::store::event::CallEvent;
use crate::{Endpoint, EndpointConfig, Prompts, Services, SourceText};

pub(super) const URL: &str = "http://a/v1";
pub(super) const OTHER: &str = "http://b/v1";

const RUBRIC: &str = "+++\nid = \"r\"\nabout = \"r\"\nversion = 1\n[[criteria]]\nid = \"rude\"\n\
    kind = \"deduct\"\nabout = \"Rude.\"\nfails_empty = true\n\
    levels = [{ name = \"no\", points = 0, anchor = \"a\" }, { name = \"yes\", points = -9, anchor = \"b\" }]\n\
    +++\n# system\nJudge.\n# user\n{{ dialogue }}{{ turn }}\n";

/// The name of the judged block in [`question`].
const TAG: &str = "turn-1";

/// A reply of a scripted address.
pub(super) struct Script {
    pub(super) after: Duration,
    pub(super) reply: Result<TransportReply, TransportError>,
}

pub(super) fn reply(status: u16, body: &Value) -> Script {
    let status = StatusCode::from_u16(status).unwrap();
    let body = body.to_string().into_bytes();
    let reply = TransportReply { status, headers: HeaderMap::new(), body };
    Script { after: Duration::from_millis(1), reply: Ok(reply) }
}

pub(super) fn fails(error: TransportError) -> Script {
    Script { after: Duration::from_millis(1), reply: Err(error) }
}

/// A completion with this content.
pub(super) fn says(content: &str) -> Value {
    json!({
        "choices": [{ "message": { "content": content }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 30, "completion_tokens": 6 },
    })
}

/// A sealed verdict.
pub(super) fn verdict() -> Value {
    let findings = json!({ "rude": { "level": "no", "evidence": null } });
    says(&json!({ "turn": TAG, "findings": findings }).to_string())
}

/// A verdict that takes this long.
pub(super) fn answers(millis: u64) -> Script {
    Script { after: Duration::from_millis(millis), ..reply(200, &verdict()) }
}

impl Script {
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(reply) = &mut self.reply {
            reply.headers.insert(name, value.parse().unwrap());
        }
        self
    }
}

type Act = Box<dyn Fn(usize) -> Script + Send + Sync>;

/// An address that reacts to each request by its number.
pub(super) struct ScriptedAddress {
    act: Act,
    pub(super) sent: Mutex<Vec<(Instant, Value)>>,
}

impl std::fmt::Debug for ScriptedAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScriptedAddress")
    }
}

impl ScriptedAddress {
    pub(super) fn that(act: impl Fn(usize) -> Script + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { act: Box::new(act), sent: Mutex::default() })
    }

    pub(super) fn calls(&self) -> usize {
        self.sent.lock().len()
    }
}

impl Transport for ScriptedAddress {
    fn send(&self, body: Vec<u8>) -> BoxFuture<'_, Result<TransportReply, TransportError>> {
        async move {
            let number = {
                let mut sent = self.sent.lock();
                sent.push((Instant::now(), serde_json::from_slice(&body).unwrap()));
                sent.len() - 1
            };
            let Script { after, reply } = (self.act)(number);
            tokio::time::sleep(after).await;
            reply
        }
        .boxed()
    }
}

/// A client with its addresses and events.
pub(super) struct Bench {
    pub(super) client: Arc<JudgeClient>,
    pub(super) events: Arc<Mutex<Vec<CallEvent>>>,
}

pub(super) fn config() -> EndpointConfig {
    EndpointConfig::new(URL, "m")
}

impl Bench {
    pub(super) fn new(config: EndpointConfig, addresses: &[(&str, Arc<ScriptedAddress>)]) -> Self {
        let addresses: Vec<(String, Arc<ScriptedAddress>)> =
            addresses.iter().map(|(url, one)| ((*url).to_owned(), Arc::clone(one))).collect();
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let services =
            Services::new(TaskTracker::new(), move |event| heard.lock().push(event.clone()))
                .with_transport(move |url| {
                    let found = addresses.iter().find(|(known, _)| known == url);
                    Arc::clone(&found.unwrap().1) as Arc<dyn Transport>
                });
        let endpoint = Endpoint::build(config, &services).unwrap();
        Self { client: Arc::clone(endpoint.client()), events }
    }

    pub(super) fn one(config: EndpointConfig, address: &Arc<ScriptedAddress>) -> Self {
        Self::new(config, &[(URL, Arc::clone(address))])
    }

    pub(super) fn outcomes(&self) -> Vec<&'static str> {
        self.events.lock().iter().map(|event| event.outcome.as_str()).collect()
    }
}

pub(super) fn key() -> QuestionKey {
    QuestionKey::try_from("ab".repeat(32)).unwrap()
}

pub(super) fn question() -> RenderedQuestion {
    let texts = [SourceText { name: "r.md".to_owned(), text: RUBRIC.to_owned() }];
    let (prompts, _) = Prompts::compile(&texts).unwrap();
    let message = |role: &'static str, content: &str| ChatMessage {
        role: role.into(),
        content: content.to_owned(),
    };
    RenderedQuestion {
        rubric: Arc::clone(&prompts.rubrics()[0]),
        order: vec![0],
        sample: 0,
        messages: vec![message("system", "Judge."), message("user", "480 is our best price?")],
        tag: TAG.to_owned(),
        turn: TurnText::default(),
        listing: None,
    }
}

pub(super) fn spec(question: &RenderedQuestion) -> AttemptSpec<'_> {
    AttemptSpec {
        key: key(),
        question,
        max_tokens: question.room(),
        reduce_reasoning: false,
        refusals: &[],
        number: 1,
    }
}

pub(super) fn demand() -> Demand {
    Demand::new(100, Flow::new("", 1))
}

pub(super) fn patience(seconds: Option<u64>) -> Patience {
    let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    Patience { deadline, gone: CancellationToken::new(), flow: Flow::new("", 1), held: None }
}
