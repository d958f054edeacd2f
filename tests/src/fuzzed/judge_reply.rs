//! The reply of a judge's endpoint: the first byte chooses its form.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use guerdon_fusion::{Ask, BoxFuture, RewardSource as _};
use guerdon_judge::{
    Endpoint, EndpointConfig, JudgeSource, Prompts, Services, SourceText, Transport,
    TransportError, TransportReply,
};
use guerdon_types::{Message, Part, Role, Rollout};
use parking_lot::Mutex;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::TaskTracker;

use crate::judged::PROMPT;

/// Replies with the bytes of the present run.
#[derive(Debug)]
struct FuzzTransport;

static REPLY: Mutex<(u16, Vec<u8>)> = Mutex::new((200, Vec::new()));

impl Transport for FuzzTransport {
    fn send(&self, _: Vec<u8>) -> BoxFuture<'_, Result<TransportReply, TransportError>> {
        let (status, body) = REPLY.lock().clone();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        async move { Ok(TransportReply { status, headers: HeaderMap::new(), body }) }.boxed()
    }
}

/// The runtime, and the judge's configuration and prompt.
static SETUP: LazyLock<(Runtime, EndpointConfig, Arc<Prompts>)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let config = "url = \"http://fuzz/v1\"\nmodel = \"m\"\nretries = 0\n[cache]\nmax_entries = 0\nmode = \"off\"\n";
    let config: EndpointConfig = toml::from_str(config).expect("a configuration");
    let (prompts, _) = Prompts::compile(&[SourceText::new("kind.md", PROMPT)]).expect("a prompt");
    (runtime, config, Arc::new(prompts))
});

/// A new judge: one that has failed for some time is not asked for a while.
fn judge(config: &EndpointConfig, prompts: &Arc<Prompts>) -> JudgeSource {
    let services =
        Services::new(TaskTracker::new(), |_| {}).with_transport(|_| Arc::new(FuzzTransport));
    let endpoint = Endpoint::build(config.clone(), &services).expect("a judge");
    JudgeSource::new(endpoint, Arc::clone(prompts))
}

/// Scores a turn with a judge that replies with `data`.
///
/// # Panics
/// The signal has neither a part nor an abstention, or points that no level has.
pub fn judge_reply(data: &[u8]) {
    let Some((form, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    let completion = |content: &str| {
        let message = json!({ "role": "assistant", "content": content });
        let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
        json!({ "id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice] })
    };
    *REPLY.lock() = match form % 4 {
        0 => (200, rest.to_vec()),
        1 => (200, completion(&text).to_string().into_bytes()),
        2 => {
            let verdict =
                json!({ "findings": [{ "id": "kind", "level": text, "evidence": text }] });
            (200, completion(&verdict.to_string()).to_string().into_bytes())
        }
        _ => (400 + u16::from(form / 4) % 150, rest.to_vec()),
    };
    let messages = vec![
        Message::new(Role::User, "480 is our best price."),
        Message::new(Role::Assistant, "We meet at 420."),
    ];
    let rollout = Rollout { messages, ..Rollout::default() };
    let (runtime, config, prompts) = &*SETUP;
    let signals = runtime.block_on(async {
        let deadline = Instant::now().checked_add(Duration::from_secs(2));
        judge(config, prompts).score(Ask::new(&rollout, &[1], deadline)).await
    });
    let [signal] = signals.as_slice() else { panic!("{} signals for one turn", signals.len()) };
    match &signal.part {
        Some(Part::Judge(part)) => {
            assert!([0.0, -10.0, -20.0].contains(&part.points.get()), "{part:?}");
        }
        Some(part) => panic!("{part:?}"),
        None => assert!(!signal.abstained.is_empty()),
    }
    for abstention in &signal.abstained {
        assert!(abstention.detail.len() < 4_000, "{}", abstention.detail.len());
    }
}
