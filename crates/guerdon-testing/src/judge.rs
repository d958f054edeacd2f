//! A stand-in for an LLM judge: an OpenAI-compatible endpoint that answers from a script.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::wait::in_real_time;

/// One line of a judge's script: the reply to one call.
#[derive(Debug, Clone)]
pub struct JudgeReply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    delay: Duration,
    /// True for a completion, whose verdicts get the name of the judged block that a request asks
    /// for.
    completes: bool,
}

impl JudgeReply {
    /// A chat completion with the content `content`. It reports 100 prompt tokens, 20 completion
    /// tokens and the model `stand-in-1`. Verdicts in it get the name of the judged block, if a
    /// request asks for one and they have none.
    #[must_use]
    pub fn content(content: impl Into<String>) -> Self {
        Self::finished(content, "stop")
    }

    /// A chat completion with the content `content` and the finish reason `reason`.
    #[must_use]
    pub fn finished(content: impl Into<String>, reason: &str) -> Self {
        let message = json!({ "role": "assistant", "content": content.into() });
        let choice = json!({ "index": 0, "message": message, "finish_reason": reason });
        let usage = json!({ "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120 });
        let completion = Self::status(
            200,
            &json!({
                "id": "stand-in", "object": "chat.completion", "created": 0, "model": "stand-in-1",
                "choices": [choice], "usage": usage,
            }),
        );
        Self { completes: true, ..completion }
    }

    /// Sets the numbers of tokens that a chat completion reports.
    #[must_use]
    pub fn usage(self, prompt_tokens: u32, completion_tokens: u32) -> Self {
        let usage = json!({
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        });
        self.with_key("usage", usage)
    }

    /// Sets the model that a chat completion reports.
    #[must_use]
    pub fn model(self, model: &str) -> Self {
        self.with_key("model", json!(model))
    }

    fn with_key(mut self, key: &str, value: Value) -> Self {
        let mut completion: Value = serde_json::from_str(&self.body).unwrap();
        completion[key] = value;
        self.body = completion.to_string();
        self
    }

    /// A reply with a status and a JSON body.
    #[must_use]
    pub fn status(status: u16, body: &Value) -> Self {
        Self::raw(status, body.to_string())
    }

    /// A reply with a status and exactly this body.
    #[must_use]
    pub fn raw(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            delay: Duration::ZERO,
            completes: false,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends the reply `delay` after the call was let in.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The reply to `request`: its verdicts with the name of the judged block.
    fn named_for(mut self, request: &Value) -> Self {
        let asked = request["messages"].as_array().and_then(|messages| messages.last());
        let asked = asked.and_then(|last| last["content"].as_str()).unwrap_or_default();
        let name = asked.rsplit_once("beginning with \"turn\": \"");
        let name = name.and_then(|(_, rest)| rest.split('"').next());
        if let Some(name) = name.filter(|_| self.completes) {
            let mut completion: Value = serde_json::from_str(&self.body).unwrap();
            let content = &mut completion["choices"][0]["message"]["content"];
            let named = content
                .as_str()
                .unwrap_or_default()
                .replace("{\"findings\"", &format!("{{\"turn\": \"{name}\", \"findings\""));
            *content = json!(named);
            self.body = completion.to_string();
        }
        self
    }

    fn into_response(self) -> Response {
        let mut response = self.body.into_response();
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        for (name, value) in self.headers {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, HeaderValue::from_str(&value).unwrap());
        }
        response
    }
}

/// The replies of an endpoint.
enum JudgeScript {
    /// In this order; the last one repeats.
    Replies(Mutex<VecDeque<JudgeReply>>),
    /// By the body of the call.
    ByContent(Box<dyn Fn(&Value) -> JudgeReply + Send + Sync>),
}

impl JudgeScript {
    fn reply(&self, request: &Value) -> JudgeReply {
        match self {
            Self::Replies(replies) => {
                let mut replies = replies.lock();
                let next =
                    if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() };
                next.unwrap()
            }
            Self::ByContent(answer) => answer(request),
        }
    }
}

impl fmt::Debug for JudgeScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replies(_) => "Replies",
            Self::ByContent(_) => "ByContent",
        })
    }
}

/// The state that the endpoint shares with its handle.
#[derive(Debug)]
struct JudgeState {
    script: JudgeScript,
    requests: Mutex<Vec<Value>>,
    headers: Mutex<Vec<HeaderMap>>,
    calls: watch::Sender<usize>,
    /// One permit for each call that may still be answered.
    gate: Semaphore,
}

/// A stand-in for an LLM judge on a port of its own. It stops when it is dropped.
#[derive(Debug)]
pub struct StandInJudge {
    url: String,
    endpoint: Arc<JudgeState>,
    _serving: JoinSet<()>,
}

impl StandInJudge {
    /// Starts a judge that answers with `replies` in their order and then repeats the last one.
    /// There must be at least one.
    pub async fn start(replies: impl IntoIterator<Item = JudgeReply>) -> Self {
        Self::start_gated(replies, Semaphore::MAX_PERMITS).await
    }

    /// Starts a judge that answers only `open` calls, and further ones after
    /// [`StandInJudge::release`]. The other calls wait.
    pub async fn start_gated(replies: impl IntoIterator<Item = JudgeReply>, open: usize) -> Self {
        let replies: VecDeque<JudgeReply> = replies.into_iter().collect();
        assert!(!replies.is_empty(), "a stand-in judge needs at least one reply");
        Self::serve(JudgeScript::Replies(Mutex::new(replies)), open).await
    }

    /// Starts a judge that answers each call by its body: the same question always gets the same
    /// answer.
    pub async fn start_by_content(
        answer: impl Fn(&Value) -> JudgeReply + Send + Sync + 'static,
    ) -> Self {
        Self::serve(JudgeScript::ByContent(Box::new(answer)), Semaphore::MAX_PERMITS).await
    }

    async fn serve(script: JudgeScript, open: usize) -> Self {
        let endpoint = Arc::new(JudgeState {
            script,
            requests: Mutex::default(),
            headers: Mutex::default(),
            calls: watch::Sender::new(0),
            gate: Semaphore::new(open),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/v1/chat/completions", post(answer))
            .with_state(Arc::clone(&endpoint));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, endpoint, _serving: serving }
    }

    /// The base URL, which ends in `/v1`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets `calls` more calls be answered.
    pub fn release(&self, calls: usize) {
        self.endpoint.gate.add_permits(calls);
    }

    /// The number of calls that have arrived.
    #[must_use]
    pub fn calls(&self) -> usize {
        *self.endpoint.calls.borrow()
    }

    /// Waits until `calls` calls have arrived, for at most 30 seconds of real time.
    pub async fn wait_for_calls(&self, calls: usize) {
        let mut count = self.endpoint.calls.subscribe();
        let arrived = count.wait_for(|count| *count >= calls);
        in_real_time(&format!("{calls} calls arrived"), arrived).await.unwrap();
    }

    /// The bodies that have arrived after the first `seen`, in their order.
    #[must_use]
    pub fn requests_after(&self, seen: usize) -> Vec<Value> {
        self.endpoint.requests.lock().iter().skip(seen).cloned().collect()
    }

    /// The bodies that have arrived, in their order.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        self.endpoint.requests.lock().clone()
    }

    /// The headers of the calls that have arrived, in their order.
    #[must_use]
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.endpoint.headers.lock().clone()
    }
}

async fn answer(
    State(endpoint): State<Arc<JudgeState>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let request: Value = serde_json::from_str(&body).unwrap();
    endpoint.requests.lock().push(request.clone());
    endpoint.headers.lock().push(headers);
    endpoint.calls.send_modify(|calls| *calls += 1);
    endpoint.gate.acquire().await.unwrap().forget();
    let reply = endpoint.script.reply(&request).named_for(&request);
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    reply.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn call(judge: &StandInJudge) -> reqwest::Response {
        let url = format!("{}/chat/completions", judge.url());
        crate::http_client().post(url).body(r#"{"model": "m"}"#).send().await.unwrap()
    }

    #[tokio::test]
    async fn replies_come_in_their_order_and_the_last_repeats() {
        let busy = JudgeReply::status(429, &json!({})).header("retry-after", "7");
        let judge = StandInJudge::start([busy, JudgeReply::content("no")]).await;
        let first = call(&judge).await;
        assert_eq!(
            (first.status().as_u16(), &first.headers()["retry-after"]),
            (429, &"7".parse().unwrap())
        );
        for _ in 0..2 {
            let reply: Value = call(&judge).await.json().await.unwrap();
            assert_eq!(reply["choices"][0]["message"]["content"], "no");
        }
        assert_eq!(judge.requests(), vec![json!({ "model": "m" }); 3]);
    }

    #[tokio::test]
    async fn replies_by_content_depend_on_the_call_alone() {
        let by_model = |request: &Value| {
            JudgeReply::content(if request["model"] == "m" { "yes" } else { "no" })
        };
        let judge = StandInJudge::start_by_content(by_model).await;
        for _ in 0..2 {
            let reply: Value = call(&judge).await.json().await.unwrap();
            assert_eq!(reply["choices"][0]["message"]["content"], "yes");
        }
    }

    #[tokio::test]
    async fn reported_usage_and_model_can_be_set() {
        let reply = JudgeReply::content("no").usage(3, 4).model("m");
        let judge = StandInJudge::start([reply]).await;
        let reply: Value = call(&judge).await.json().await.unwrap();
        let expected = json!({ "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7 });
        assert_eq!((&reply["usage"], &reply["model"]), (&expected, &json!("m")));
        assert_eq!(reply["choices"][0]["message"]["content"], "no");
    }

    #[tokio::test]
    async fn a_gated_judge_answers_after_release() {
        let judge = StandInJudge::start_gated([JudgeReply::content("no")], 0).await;
        let ((), reply) = tokio::join!(
            async {
                judge.wait_for_calls(1).await;
                judge.release(1);
            },
            call(&judge)
        );
        assert_eq!((reply.status().as_u16(), judge.calls()), (200, 1));
    }
}
