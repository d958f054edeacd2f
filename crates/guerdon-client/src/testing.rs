//! A scripted server on a real socket. After the end of its script it scores: the reward is the
//! number in the last message.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use futures_util::StreamExt;
use guerdon_types::{
    Finite, FusionConfig, GroupId, Message, Problem, ProblemCode, Role, Rollout, RolloutId,
    RolloutResult, ScoreRequest, ScoreResponse, StreamSummary, StreamedResult, Usage, Versions,
};
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// One scripted reply.
pub(crate) enum ScriptedReply {
    /// Status, headers, body.
    Raw(u16, Vec<(&'static str, &'static str)>, String),
    /// Scores, with this generation and this RM in `versions`.
    Score(u64, &'static str),
    /// These pieces, each in a packet of its own.
    Pieces(Vec<String>),
    /// These pieces, then a broken connection.
    Break(Vec<String>),
}

impl ScriptedReply {
    pub(crate) fn problem(problem: &Problem, headers: Vec<(&'static str, &'static str)>) -> Self {
        Self::Raw(problem.status, headers, serde_json::to_string(problem).unwrap())
    }

    pub(crate) fn busy(retry_after: &'static str) -> Self {
        Self::problem(
            &Problem::new(ProblemCode::RateLimited, "slow down"),
            vec![("retry-after", retry_after)],
        )
    }
}

/// A request that the server received.
pub(crate) struct ReceivedRequest {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Clone)]
struct ServerState {
    script: Arc<Mutex<VecDeque<ScriptedReply>>>,
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
    in_flight: Arc<Mutex<(usize, usize)>>,
    barrier: Option<Arc<Barrier>>,
}

/// The server. It stops when it is dropped.
pub(crate) struct ScriptedServer {
    pub(crate) url: String,
    shared: ServerState,
    _tasks: JoinSet<()>,
}

impl ScriptedServer {
    pub(crate) async fn start(script: Vec<ScriptedReply>) -> Self {
        Self::with_barrier(script, None).await
    }

    /// Replies only when `n` requests are in flight.
    pub(crate) async fn with_barrier(script: Vec<ScriptedReply>, n: Option<usize>) -> Self {
        let shared = ServerState {
            script: Arc::new(Mutex::new(script.into())),
            received: Arc::default(),
            in_flight: Arc::default(),
            barrier: n.map(|n| Arc::new(Barrier::new(n))),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let app = app.layer(middleware::from_fn_with_state(shared.clone(), count));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, _tasks: tasks }
    }

    pub(crate) fn received(&self) -> MutexGuard<'_, Vec<ReceivedRequest>> {
        self.shared.received.lock().unwrap()
    }

    /// The bodies of all score requests so far.
    pub(crate) fn requests(&self) -> Vec<ScoreRequest> {
        self.received()
            .iter()
            .map(|received| serde_json::from_slice(&received.body).unwrap())
            .collect()
    }

    /// The largest number of concurrent requests so far.
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.in_flight.lock().unwrap().1
    }
}

async fn count(
    State(shared): State<ServerState>,
    request: Request<Body>,
    next: middleware::Next,
) -> Response {
    {
        let mut in_flight = shared.in_flight.lock().unwrap();
        in_flight.0 += 1;
        in_flight.1 = in_flight.1.max(in_flight.0);
    }
    if let Some(barrier) = &shared.barrier {
        barrier.wait().await;
    }
    let response = next.run(request).await;
    shared.in_flight.lock().unwrap().0 -= 1;
    response
}

async fn answer(State(shared): State<ServerState>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let lines = head.headers.get("accept").is_some_and(|accept| accept == "application/x-ndjson");
    let received = ReceivedRequest {
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body: body.clone(),
    };
    shared.received.lock().unwrap().push(received);
    let reply =
        shared.script.lock().unwrap().pop_front().unwrap_or(ScriptedReply::Score(1, "sha256:a"));
    match reply {
        ScriptedReply::Raw(status, headers, body) => {
            let headers: HashMap<String, String> = headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            (StatusCode::from_u16(status).unwrap(), HeaderMap::try_from(&headers).unwrap(), body)
                .into_response()
        }
        ScriptedReply::Score(generation, rm) => {
            let reply = score(&serde_json::from_slice(&body).unwrap(), generation, rm);
            if lines { stream(reply) } else { serde_json::to_string(&reply).unwrap() }
                .into_response()
        }
        ScriptedReply::Pieces(pieces) => {
            let pieces = pieces.into_iter().map(Ok::<_, std::io::Error>);
            Body::from_stream(futures_util::stream::iter(pieces)).into_response()
        }
        ScriptedReply::Break(pieces) => {
            // Yields so that the earlier pieces are sent before the connection breaks.
            let broken = futures_util::stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("broken"))
            });
            let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok)).chain(broken);
            Body::from_stream(pieces).into_response()
        }
    }
}

fn score(request: &ScoreRequest, generation: u64, rm: &str) -> ScoreResponse {
    let results = request
        .rollouts
        .iter()
        .enumerate()
        .map(|(index, rollout)| result(index, rollout))
        .collect();
    let mut versions = Versions::new("hotel".into(), FusionConfig::default(), generation);
    versions.rm = Some(rm.into());
    let usage = Usage { judge_calls: 1, cost: 0.5, ..Usage::default() };
    ScoreResponse::new("q".into(), results, versions, usage)
}

fn result(index: usize, rollout: &Rollout) -> RolloutResult {
    let id = rollout.id.clone().unwrap_or_else(|| RolloutId::from(index.to_string()));
    let reward = rollout
        .messages
        .last()
        .and_then(|last| last.content.parse().ok())
        .and_then(|n| Finite::new(n).ok());
    let error = reward
        .is_none()
        .then(|| Problem::new(ProblemCode::Unscored, "rm abstained").pointer("/rollouts"));
    RolloutResult { id, reward, advantage: reward, turns: vec![], error }
}

/// The lines of a streamed reply, the last result first.
pub(crate) fn stream(reply: ScoreResponse) -> String {
    let ScoreResponse { request_id, results, versions, usage, .. } = reply;
    let summary = StreamSummary { request_id, results: results.len(), versions, usage };
    let results = results.into_iter().enumerate().rev();
    let lines = results
        .map(|(index, result)| serde_json::to_string(&StreamedResult { index, result }).unwrap());
    lines.chain([serde_json::to_string(&summary).unwrap()]).map(|line| line + "\n").collect()
}

/// The lines of the reply to `request`.
pub(crate) fn lines(request: &ScoreRequest) -> Vec<String> {
    stream(score(request, 1, "sha256:a")).split_inclusive('\n').map(str::to_owned).collect()
}

/// A batch with the rewards 0, 1, 2, and so on. `groups` has the group of each rollout; `""` is
/// none.
pub(crate) fn batch(groups: &[&str]) -> ScoreRequest {
    let rollouts = groups.iter().enumerate().map(|(index, group)| Rollout {
        group: (!group.is_empty()).then(|| GroupId::from(*group)),
        messages: vec![Message::new(Role::Assistant, index.to_string())],
        ..Rollout::default()
    });
    ScoreRequest { rollouts: rollouts.collect(), ..ScoreRequest::default() }
}
