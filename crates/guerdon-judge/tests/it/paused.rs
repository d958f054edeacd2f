//! A judge and its addresses under virtual time. No sockets: questions travel by a transport of the
//! tests' own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use guerdon_fusion::{Ask, RewardSource as _};
use guerdon_judge::{
    CallEvent, Endpoint, EndpointConfig, JudgeSource, JudgeStatus, Prompts, Services, SourceText,
    Transport, TransportError, TransportReply,
};
use guerdon_types::{Message, Role, Rollout, Signal};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::house::{RUBRIC, verdict};

/// Reaction of a scripted endpoint to a request, by its number and its text.
type Behaviour = Box<dyn Fn(usize, &str) -> Act + Send + Sync>;

pub(crate) enum Act {
    Answer {
        after: Duration,
    },
    Status(u16, Vec<(&'static str, String)>),
    /// After a millisecond, so that a tight loop moves the clock.
    Reply(u16, Vec<(&'static str, String)>, String),
    Unreachable,
}

/// Answers as its behaviour says, and counts.
pub(crate) struct ScriptedTransport {
    behaviour: Behaviour,
    pub(crate) calls: Mutex<Vec<Instant>>,
}

impl std::fmt::Debug for ScriptedTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScriptedTransport")
    }
}

impl ScriptedTransport {
    pub(crate) fn that(behaviour: impl Fn(usize) -> Act + Send + Sync + 'static) -> Arc<Self> {
        Self::to(move |number, _| behaviour(number))
    }

    /// Reacts to the text of a request.
    pub(crate) fn to(behaviour: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { behaviour: Box::new(behaviour), calls: Mutex::default() })
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

/// A reply to a request with this body, with the name of the judged block that it asks for.
pub(crate) fn reply_to(body: &str) -> Vec<u8> {
    let asked = body.rsplit_once("beginning with \\\"turn\\\": \\\"").map(|(_, rest)| rest);
    let name = asked.and_then(|rest| rest.split('\\').next()).unwrap_or_default();
    let verdict = verdict("no", None).replacen('{', &format!("{{\"turn\": \"{name}\", "), 1);
    json!({"choices": [{"message": {"content": verdict}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 60}})
    .to_string()
    .into_bytes()
}

impl Transport for ScriptedTransport {
    fn send(&self, body: Vec<u8>) -> BoxFuture<'_, Result<TransportReply, TransportError>> {
        async move {
            let number = {
                let mut calls = self.calls.lock().unwrap();
                calls.push(Instant::now());
                calls.len() - 1
            };
            let asked = String::from_utf8_lossy(&body);
            match (self.behaviour)(number, &asked) {
                Act::Answer { after } => {
                    tokio::time::sleep(after).await;
                    Ok(TransportReply {
                        status: StatusCode::OK,
                        headers: HeaderMap::new(),
                        body: reply_to(&asked),
                    })
                }
                Act::Status(status, pairs) => Ok(incoming(status, pairs, "{\"error\": \"no\"}")),
                Act::Reply(status, pairs, body) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    Ok(incoming(status, pairs, &body))
                }
                Act::Unreachable => Err(TransportError::NotReached),
            }
        }
        .boxed()
    }
}

fn incoming(status: u16, pairs: Vec<(&'static str, String)>, body: &str) -> TransportReply {
    let headers =
        pairs.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    TransportReply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.collect(),
        body: body.as_bytes().to_vec(),
    }
}

pub(crate) fn answer(millis: u64) -> Act {
    Act::Answer { after: Duration::from_millis(millis) }
}

pub(crate) struct Judge {
    source: JudgeSource,
    events: Arc<Mutex<Vec<CallEvent>>>,
}

impl Judge {
    /// A judge whose addresses are the stand-ins, by URL.
    pub(crate) fn of<T: Transport + 'static>(
        config: EndpointConfig,
        stand_ins: &[(&str, Arc<T>)],
    ) -> Self {
        Self::asking(&["manners"], config, stand_ins)
    }

    /// A judge of several rubrics, which differ in their ids.
    pub(crate) fn asking<T: Transport + 'static>(
        rubrics: &[&str],
        config: EndpointConfig,
        stand_ins: &[(&str, Arc<T>)],
    ) -> Self {
        let text = |id: &&str| SourceText {
            name: format!("{id}.md"),
            text: RUBRIC.replace("id = \"manners\"", &format!("id = \"{id}\"")),
        };
        let texts: Vec<SourceText> = rubrics.iter().map(text).collect();
        let (prompts, _) = Prompts::compile(&texts).unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let stand_ins: Vec<(String, Arc<T>)> = stand_ins
            .iter()
            .map(|(url, stand_in)| ((*url).to_owned(), Arc::clone(stand_in)))
            .collect();
        let services = Services::new(TaskTracker::new(), move |event| {
            heard.lock().unwrap().push(event.clone())
        })
        .with_transport(move |url| {
            let found = stand_ins.iter().find(|(known, _)| known == url);
            Arc::clone(&found.expect("a stand-in for every address").1) as Arc<dyn Transport>
        });
        let endpoint = Endpoint::build(config, &services).unwrap();
        Self { source: JudgeSource::new(endpoint, Arc::new(prompts)), events }
    }

    /// Time for which the judge refuses new requests.
    pub(crate) fn full_for(&self) -> Option<Duration> {
        self.source.full_for()
    }

    /// The queue, the addresses and the budget now.
    pub(crate) fn status(&self) -> JudgeStatus {
        let [(_, status)] = self.source.judges()[0].statuses("judge").try_into().unwrap();
        status
    }

    pub(crate) async fn judge(&self, turn: &str) -> Signal {
        self.judge_by(turn, None).await
    }

    pub(crate) async fn judge_by(&self, turn: &str, deadline: Option<Instant>) -> Signal {
        let messages = vec![Message::new(Role::User, "480?"), Message::new(Role::Assistant, turn)];
        let rollout = Rollout { messages, ..Rollout::default() };
        let deadline = deadline.map(Instant::into_std);
        self.source.score(Ask::new(&rollout, &[1], deadline)).await.remove(0)
    }

    pub(crate) async fn judge_many(&self, count: usize) -> Vec<Signal> {
        join_all((0..count).map(async |number| self.judge(&format!("turn {number}")).await)).await
    }

    pub(crate) fn outcomes(&self, outcome: &str) -> usize {
        self.events.lock().unwrap().iter().filter(|event| event.outcome.as_str() == outcome).count()
    }
}

pub(crate) const URL: &str = "http://a/v1";
pub(crate) const OTHER: &str = "http://b/v1";

pub(crate) fn config() -> EndpointConfig {
    EndpointConfig::new(URL, "m")
}
