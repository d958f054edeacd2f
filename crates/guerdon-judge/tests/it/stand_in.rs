//! A scripted judge endpoint: a real HTTP server on loopback that answers when it is released.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

/// One scripted answer.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Scripted {
    pub(crate) fn status(status: u16, body: &Value) -> Self {
        Self { status, headers: Vec::new(), body: body.to_string() }
    }

    /// A reply with exactly this body.
    pub(crate) fn raw(status: u16, body: String) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    /// A reply that says `content`.
    pub(crate) fn says(content: &str) -> Self {
        Self::finished(content, "stop")
    }

    /// A reply that says `content` and ended because of `reason`.
    pub(crate) fn finished(content: &str, reason: &str) -> Self {
        let message = json!({"role": "assistant", "content": content});
        Self::status(
            200,
            &json!({"model": "stand-in-1", "choices": [{"index": 0, "message": message, "finish_reason": reason}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 20}}),
        )
    }

    /// A verdict on the rubric of these tests.
    pub(crate) fn verdict(level: &str, evidence: Option<&str>) -> Self {
        Self::says(&verdict(level, evidence))
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// The text of a verdict on the rubric of these tests.
pub(crate) fn verdict(level: &str, evidence: Option<&str>) -> String {
    json!({"findings": {"ignores": {"level": "no", "evidence": null}, "rude": {"level": level, "evidence": evidence}}})
        .to_string()
}

#[derive(Debug)]
struct Inside {
    script: Mutex<VecDeque<Scripted>>,
    bodies: Mutex<Vec<Value>>,
    arrived: watch::Sender<usize>,
    gate: Semaphore,
}

/// The server. It answers in the script's order and then repeats the last line.
#[derive(Debug, Clone)]
pub(crate) struct StandIn {
    inside: Arc<Inside>,
    url: String,
}

impl StandIn {
    /// Answers at once.
    pub(crate) async fn answering(script: impl IntoIterator<Item = Scripted>) -> Self {
        Self::start(script, Semaphore::MAX_PERMITS).await
    }

    /// Answers when released.
    pub(crate) async fn holding(script: impl IntoIterator<Item = Scripted>) -> Self {
        Self::start(script, 0).await
    }

    async fn start(script: impl IntoIterator<Item = Scripted>, permits: usize) -> Self {
        let inside = Arc::new(Inside {
            script: Mutex::new(script.into_iter().collect()),
            bodies: Mutex::default(),
            arrived: watch::channel(0).0,
            gate: Semaphore::new(permits),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/v1/chat/completions", post(answer))
            .with_state(Arc::clone(&inside));
        let server = async move { axum::serve(listener, router).await.unwrap() };
        tokio_util::task::TaskTracker::new().spawn(server);
        Self { inside, url }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Lets `n` requests be answered.
    pub(crate) fn release(&self, n: usize) {
        self.inside.gate.add_permits(n);
    }

    /// Waits until `n` requests have arrived.
    pub(crate) async fn arrived(&self, n: usize) {
        self.inside.arrived.subscribe().wait_for(|count| *count >= n).await.unwrap();
    }

    /// The number of requests that have arrived.
    pub(crate) fn calls(&self) -> usize {
        *self.inside.arrived.borrow()
    }

    /// The bodies that arrived.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.inside.bodies.lock().unwrap().clone()
    }
}

async fn answer(State(inside): State<Arc<Inside>>, body: String) -> Response {
    inside.bodies.lock().unwrap().push(serde_json::from_str(&body).unwrap());
    inside.arrived.send_modify(|count| *count += 1);
    inside.gate.acquire().await.unwrap().forget();
    let mut script = inside.script.lock().unwrap();
    let scripted = if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
        .expect("a script has lines");
    let mut response = scripted.body.into_response();
    *response.status_mut() = StatusCode::from_u16(scripted.status).unwrap();
    for (name, value) in scripted.headers {
        response
            .headers_mut()
            .insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(&value).unwrap());
    }
    response
}
