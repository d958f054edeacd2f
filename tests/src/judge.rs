//! A scripted judge: an OpenAI-compatible endpoint whose answers and timing the test sets.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

/// The answer to one call.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A chat completion with this content.
    Content(String),
    /// A status and a body.
    Status(u16, Value),
}

#[derive(Debug)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    usual: Answer,
    calls: watch::Sender<usize>,
    requests: Mutex<Vec<Value>>,
    gate: Semaphore,
}

/// The stand-in. It stops when it is dropped.
#[derive(Debug)]
pub struct StandInJudge {
    /// Its base URL, ending in `/v1`.
    pub url: String,
    script: Arc<Script>,
    _serving: AbortOnDropHandle<()>,
}

impl StandInJudge {
    /// Answers `usual` to every call, at once.
    pub async fn new(usual: Answer) -> Self {
        Self::gated(usual, Semaphore::MAX_PERMITS).await
    }

    /// Answers only as many calls as `open` plus those let in with [`StandInJudge::open`].
    pub async fn gated(usual: Answer, open: usize) -> Self {
        let script = Arc::new(Script {
            answers: Mutex::default(),
            usual,
            calls: watch::Sender::new(0),
            requests: Mutex::default(),
            gate: Semaphore::new(open),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let app = Router::new()
            .route("/v1/chat/completions", post(answer))
            .with_state(Arc::clone(&script));
        #[expect(clippy::disallowed_methods, reason = "aborted when the stand-in is dropped")]
        let serving = tokio::spawn(async move {
            drop(axum::serve(listener, app).await);
        });
        Self { url, script, _serving: AbortOnDropHandle::new(serving) }
    }

    /// The next calls are answered so, in this order, before the usual answer.
    #[must_use]
    pub fn then(self, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.script.answers.lock().extend(answers);
        self
    }

    /// Lets `calls` more in.
    pub fn open(&self, calls: usize) {
        self.script.gate.add_permits(calls);
    }

    /// The number of calls so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        *self.script.calls.borrow()
    }

    /// Waits for the call number `calls`.
    pub async fn called(&self, calls: usize) {
        let mut count = self.script.calls.subscribe();
        count.wait_for(|count| *count >= calls).await.expect("the stand-in lives");
    }

    /// The requests so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        self.script.requests.lock().clone()
    }
}

async fn answer(State(script): State<Arc<Script>>, Json(request): Json<Value>) -> Response {
    script.requests.lock().push(request);
    script.calls.send_modify(|calls| *calls += 1);
    if let Ok(permit) = script.gate.acquire().await {
        permit.forget();
    }
    let next = script.answers.lock().pop_front();
    match next.unwrap_or_else(|| script.usual.clone()) {
        Answer::Status(status, body) => {
            (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
        }
        Answer::Content(content) => Json(json!({
            "id": "stand-in", "object": "chat.completion", "created": 0, "model": "stand-in",
            "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": content } }],
            "usage": { "prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110 },
        }))
        .into_response(),
    }
}
