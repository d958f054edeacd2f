//! A scripted stand-in for the server, on a real socket. What the script does not cover it scores: the reward is the number that the
//! last message spells.

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

/// One scripted answer.
pub(crate) enum Reply {
    /// Status, headers, body.
    Say(u16, Vec<(&'static str, &'static str)>, String),
    /// Scores, as this generation with this RM.
    Score(u64, &'static str),
    /// These pieces, each on its own.
    Pieces(Vec<String>),
    /// These pieces, then the connection breaks.
    Break(Vec<String>),
}

impl Reply {
    pub(crate) fn problem(problem: &Problem, headers: Vec<(&'static str, &'static str)>) -> Self {
        Self::Say(problem.status, headers, serde_json::to_string(problem).unwrap())
    }

    pub(crate) fn busy(retry_after: &'static str) -> Self {
        Self::problem(
            &Problem::new(ProblemCode::RateLimited, "slow down"),
            vec![("retry-after", retry_after)],
        )
    }
}

/// What the stand-in was asked.
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Clone)]
struct Shared {
    script: Arc<Mutex<VecDeque<Reply>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    under_way: Arc<Mutex<(usize, usize)>>,
    meet: Option<Arc<Barrier>>,
}

/// The stand-in; stops when dropped.
pub(crate) struct StandIn {
    pub(crate) url: String,
    shared: Shared,
    _tasks: JoinSet<()>,
}

impl StandIn {
    pub(crate) async fn start(script: Vec<Reply>) -> Self {
        Self::meeting(script, None).await
    }

    /// Answers only when `n` requests are there at the same time.
    pub(crate) async fn meeting(script: Vec<Reply>, n: Option<usize>) -> Self {
        let shared = Shared {
            script: Arc::new(Mutex::new(script.into())),
            asked: Arc::default(),
            under_way: Arc::default(),
            meet: n.map(|n| Arc::new(Barrier::new(n))),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let app = app.layer(middleware::from_fn_with_state(shared.clone(), count));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, _tasks: tasks }
    }

    pub(crate) fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.shared.asked.lock().unwrap()
    }

    /// The bodies of all score requests so far.
    pub(crate) fn requests(&self) -> Vec<ScoreRequest> {
        self.asked().iter().map(|asked| serde_json::from_slice(&asked.body).unwrap()).collect()
    }

    /// The most requests that were under way at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.under_way.lock().unwrap().1
    }
}

async fn count(
    State(shared): State<Shared>,
    request: Request<Body>,
    next: middleware::Next,
) -> Response {
    {
        let mut under_way = shared.under_way.lock().unwrap();
        under_way.0 += 1;
        under_way.1 = under_way.1.max(under_way.0);
    }
    if let Some(meet) = &shared.meet {
        meet.wait().await;
    }
    let response = next.run(request).await;
    shared.under_way.lock().unwrap().0 -= 1;
    response
}

async fn answer(State(shared): State<Shared>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let lines = head.headers.get("accept").is_some_and(|accept| accept == "application/x-ndjson");
    let asked =
        Asked { path: head.uri.path().to_owned(), headers: head.headers, body: body.clone() };
    shared.asked.lock().unwrap().push(asked);
    let reply = shared.script.lock().unwrap().pop_front().unwrap_or(Reply::Score(1, "sha256:a"));
    match reply {
        Reply::Say(status, headers, body) => {
            let headers: HashMap<String, String> = headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            (StatusCode::from_u16(status).unwrap(), HeaderMap::try_from(&headers).unwrap(), body)
                .into_response()
        }
        Reply::Score(generation, rm) => {
            let reply = score(&serde_json::from_slice(&body).unwrap(), generation, rm);
            if lines { stream(reply) } else { serde_json::to_string(&reply).unwrap() }
                .into_response()
        }
        Reply::Pieces(pieces) => {
            let pieces = pieces.into_iter().map(Ok::<_, std::io::Error>);
            Body::from_stream(futures_util::stream::iter(pieces)).into_response()
        }
        Reply::Break(pieces) => {
            // The pause lets what came before it leave; without it the break overtakes even the head.
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

/// The lines that answer `request`.
pub(crate) fn lines(request: &ScoreRequest) -> Vec<String> {
    stream(score(request, 1, "sha256:a")).split_inclusive('\n').map(str::to_owned).collect()
}

/// A batch whose rewards will be 0, 1, 2...; the rollouts share groups as `groups` says, `""` being none.
pub(crate) fn batch(groups: &[&str]) -> ScoreRequest {
    let rollouts = groups.iter().enumerate().map(|(index, group)| Rollout {
        group: (!group.is_empty()).then(|| GroupId::from(*group)),
        messages: vec![Message::new(Role::Assistant, index.to_string())],
        ..Rollout::default()
    });
    ScoreRequest { rollouts: rollouts.collect(), ..ScoreRequest::default() }
}
