//! A server that answers with a closure, records its requests, and stops when it is dropped; and
//! sources that ask it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use guerdon_fusion::{Ask, RewardSource};
use guerdon_remote::{HttpSource, HttpSourceConfig};
use guerdon_types::{Abstention, Message, Part, Role, Rollout, Signal};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

/// A `POST` that the server received.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The contents of the asked messages.
    pub(crate) fn asked(&self) -> Vec<String> {
        let body = self.json();
        let turns = body["turns"].as_array().unwrap().iter();
        let content = |turn: &Value| {
            let dialogue = turn["dialogue"].as_u64().unwrap() as usize;
            let message = turn["message"].as_u64().unwrap() as usize;
            body["dialogues"][dialogue]["messages"][message]["content"].as_str().unwrap().to_owned()
        };
        turns.map(content).collect()
    }
}

type Answer = dyn Fn(&Received) -> Response + Send + Sync;

#[derive(Clone)]
struct Shared {
    answer: Arc<Answer>,
    received: Arc<Mutex<Vec<Received>>>,
}

/// A server of a function.
pub(crate) struct FunctionServer {
    origin: String,
    shared: Shared,
    _serving: JoinSet<()>,
}

impl FunctionServer {
    pub(crate) async fn start(
        answer: impl Fn(&Received) -> Response + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared { answer: Arc::new(answer), received: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(handle).with_state(shared.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { origin, shared, _serving: serving }
    }

    /// A server whose value of a turn is the length of its content.
    pub(crate) async fn lengths() -> Self {
        Self::start(|received| lengths(received, "1")).await
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/score", self.origin)
    }

    /// The requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().clone()
    }
}

async fn handle(State(shared): State<Shared>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    if head.method == Method::GET {
        return StatusCode::NOT_FOUND.into_response();
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let path = head.uri.path().to_owned();
    let received = Received { path, headers: head.headers, body };
    shared.received.lock().push(received.clone());
    (shared.answer)(&received)
}

/// The reply in which the value of each turn is the length of its content.
pub(crate) fn lengths(received: &Received, version: &str) -> Response {
    let results: Vec<Value> =
        received.asked().iter().map(|content| json!({ "value": content.len() })).collect();
    reply(json!({ "version": version, "results": results }))
}

pub(crate) fn reply(body: Value) -> Response {
    body.to_string().into_response()
}

/// A configuration whose failures end soon.
pub(crate) fn config(url: impl Into<String>) -> HttpSourceConfig {
    HttpSourceConfig {
        retries: 1,
        backoff: Duration::from_millis(5),
        attempt_timeout: Duration::from_secs(5),
        ..HttpSourceConfig::new(url)
    }
}

pub(crate) fn source(config: HttpSourceConfig) -> HttpSource {
    HttpSource::new("lengths".into(), config, None, &TaskTracker::new()).unwrap()
}

pub(crate) fn rollout(texts: &[&str]) -> Rollout {
    let messages = texts.iter().map(|text| Message::new(Role::Assistant, *text)).collect();
    Rollout { messages, ..Rollout::default() }
}

/// The signal about the last message of a dialogue of `texts`.
pub(crate) async fn ask(source: &dyn RewardSource, texts: &[&str]) -> Signal {
    ask_until(source, texts, None).await
}

pub(crate) async fn ask_until(
    source: &dyn RewardSource,
    texts: &[&str],
    time: Option<Duration>,
) -> Signal {
    let deadline = time.map(|time| Instant::now() + time);
    let rollout = rollout(texts);
    let mut signals = source.score(Ask::new(&rollout, &[texts.len() - 1], deadline)).await;
    assert_eq!(signals.len(), 1);
    signals.remove(0)
}

pub(crate) fn value(signal: &Signal) -> Option<f64> {
    signal.part.as_ref().map(Part::value)
}

/// The abstention of a signal without a part.
pub(crate) fn abstention(signal: &Signal) -> &Abstention {
    assert!(signal.part.is_none(), "{signal:?}");
    &signal.abstained[0]
}
