//! Error bodies that quote the judged turn: its words change nothing for other questions.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use guerdon_judge::{Transport, TransportError, TransportReply};
use guerdon_types::Finite;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::house::part;
use crate::paused::{Judge, URL, config, reply_to};

/// Words that mean something where an endpoint uses them of itself.
const PHRASES: [&str; 21] = [
    "insufficient_quota",
    "GenerateRequestsPerDayPerProject",
    "billing_hard_limit_reached",
    "grammar",
    "bad Grammar!",
    "json_schema",
    "JSON schema",
    "structured output",
    "response_format",
    "'loc': ('body', 'response_format', 'type')",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "reasoning_effort",
    "content_filter",
    "ResponsibleAIPolicyViolation",
    "maximum context length",
    "context_length_exceeded",
    "RESOURCE_EXHAUSTED",
    "\"code\": 402",
    "{\"error\": {\"code\": \"insufficient_quota\", \"param\": \"temperature\"}}",
];
const STATUSES: [u16; 9] = [200, 400, 404, 413, 422, 429, 500, 502, 503];

/// Error bodies that quote the request.
const BODIES: [fn(&str) -> String; 8] = [
    // FastAPI's validation error, with its input as text and as a value.
    |sent| {
        let error = json!({"type": "string_type", "loc": ["body", "messages", 1, "content"], "msg": "Input should be valid", "input": sent});
        json!({"detail": [error]}).to_string()
    },
    |sent| {
        let input = json!({"role": "user", "content": sent, "code": sent, "error": {"code": "insufficient_quota"}});
        json!({"detail": [{"type": "missing", "loc": ["body", "messages", 1, "name"], "msg": "Field required", "input": input}]}).to_string()
    },
    |sent| {
        json!({"error": {"message": format!("cannot read {sent:?}"), "type": "BadRequestError", "param": null}}).to_string()
    },
    |sent| {
        json!({"object": "error", "message": format!("unexpected input: {sent}"), "type": "BadRequestError"}).to_string()
    },
    |sent| json!([{"error": {"message": sent, "status": "INVALID_ARGUMENT"}}]).to_string(),
    // Half of a reply.
    |sent| {
        let whole =
            json!({"choices": [{"message": {"role": "assistant", "content": sent}}]}).to_string();
        whole[..whole.len() - 5].to_owned()
    },
    |sent| format!("<html><body><h1>Error</h1><pre>{sent}</pre></body></html>"),
    str::to_owned,
];

/// Answers every question but the poisoned one, whose error body quotes it.
#[derive(Debug)]
struct Quoting {
    phrase: &'static str,
    status: u16,
    body: fn(&str) -> String,
    /// The last request that was answered.
    answered: Mutex<Value>,
}

impl Transport for Quoting {
    fn send(&self, body: Vec<u8>) -> BoxFuture<'_, Result<TransportReply, TransportError>> {
        async move {
            let asked = String::from_utf8_lossy(&body);
            let request: Value = serde_json::from_str(&asked).unwrap();
            let sent = request["messages"][1]["content"].as_str().unwrap().to_owned();
            let incoming = |status, body| TransportReply {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body,
            };
            tokio::time::sleep(Duration::from_millis(1)).await;
            if sent.contains("poisoned") {
                assert!(sent.contains(self.phrase), "{sent}");
                return Ok(incoming(self.status, (self.body)(&sent).into_bytes()));
            }
            *self.answered.lock().unwrap() = request;
            Ok(incoming(200, reply_to(&asked)))
        }
        .boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_quotes_the_turn_changes_nothing_for_other_questions() {
    for phrase in PHRASES {
        for status in STATUSES {
            for (number, body) in BODIES.into_iter().enumerate() {
                let quoting =
                    Arc::new(Quoting { phrase, status, body, answered: Mutex::default() });
                let judge = Judge::of(config(), &[(URL, Arc::clone(&quoting))]);
                let named = format!("{phrase:?}, status {status}, body {number}");
                let deadline = Instant::now() + Duration::from_secs(20);
                let poisoned = judge.judge_by(&format!("poisoned: {phrase}"), Some(deadline)).await;
                assert!(poisoned.part.is_none(), "{named}");
                let innocent = judge.judge("innocent").await;
                assert!(innocent.part.is_some(), "{named}: {:?}", innocent.abstained);
                assert_eq!(part(&innocent).points, Finite::ZERO);
                assert_eq!(innocent.usage.judge_calls, 1, "{named}");
                assert_eq!(judge.outcomes("weakened"), 0, "{named}");
                let sent = quoting.answered.lock().unwrap();
                assert_eq!(sent["response_format"]["type"], "json_schema", "{named}");
                assert_eq!(sent["max_tokens"], 512, "{named}");
                assert!(sent["temperature"].is_number(), "{named}");
            }
        }
    }
}
