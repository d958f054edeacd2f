//! A stand-in for a guerdon server that answers from a script.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, middleware};
use futures_util::StreamExt as _;
use guerdon_types::{ConfigDigest, Problem, ProblemCode, ScoreRequest};
use parking_lot::{Mutex, MutexGuard};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::batch::{score_response, stream_lines};

/// The header of a streamed reply with the configuration's digest.
const DIGEST: &str = "x-guerdon-digest";

/// One line of a server's script: the reply to one request.
#[derive(Debug, Clone)]
pub enum ServerReply {
    /// A reply with this status, these headers and this body.
    Body {
        /// The HTTP status.
        status: u16,
        /// Header names and values.
        headers: Vec<(&'static str, &'static str)>,
        /// The body.
        body: String,
    },
    /// Scores the request as [`score_response`] does; streams the results if the request accepts
    /// NDJSON. The configuration's digest is that of `rm`; a request that expects another one is
    /// answered by a `conflict` problem. A request of another route is answered by a `not_found`
    /// problem.
    Score {
        /// The generation of the reply's versions.
        generation: u64,
        /// The reward model of the reply's versions.
        rm: &'static str,
    },
    /// Scores the request as [`ServerReply::Score`] does, after this time.
    Late {
        /// The time before the reply.
        after: Duration,
        /// The reward model of the reply's versions.
        rm: &'static str,
    },
    /// Streams the first `lines` lines of what [`ServerReply::Score`] streams, after which the
    /// connection breaks.
    CutStream {
        /// The number of lines.
        lines: usize,
        /// The reward model of the reply's versions.
        rm: &'static str,
    },
    /// A body of these chunks, each sent on its own.
    Chunks(Vec<String>),
    /// A body of these chunks, after which the connection breaks.
    BrokenChunks(Vec<String>),
}

impl ServerReply {
    /// A reply with this status and body.
    #[must_use]
    pub fn body(status: u16, body: impl Into<String>) -> Self {
        Self::Body { status, headers: Vec::new(), body: body.into() }
    }

    /// A problem document, sent with its own status.
    #[must_use]
    pub fn problem(problem: &Problem) -> Self {
        Self::body(problem.status, serde_json::to_string(problem).unwrap())
    }

    /// A `rate_limited` problem with a `Retry-After` header.
    #[must_use]
    pub fn rate_limited(retry_after: &'static str) -> Self {
        Self::problem(&Problem::new(ProblemCode::RateLimited, "slow down"))
            .header("retry-after", retry_after)
    }

    /// Adds a header to a [`ServerReply::Body`].
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        match &mut self {
            Self::Body { headers, .. } => headers.push((name, value)),
            _ => panic!("headers can be added only to `ServerReply::Body`"),
        }
        self
    }
}

/// A request that the stand-in received.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    /// The path of the URL.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// The number of requests in flight, and its peak.
#[derive(Debug, Default)]
struct InFlightCount {
    now: usize,
    peak: usize,
}

/// The state that the HTTP handlers share with the [`StandInServer`].
#[derive(Debug, Clone)]
struct ServerState {
    replies: Arc<Mutex<VecDeque<ServerReply>>>,
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
    in_flight: Arc<Mutex<InFlightCount>>,
    barrier: Option<Arc<Barrier>>,
}

/// A stand-in for a guerdon server, on a free port of 127.0.0.1. Dropping it stops the server.
///
/// Requests beyond its script are scored as [`score_response`] does, in generation 1 with the
/// reward model `sha256:a`.
#[derive(Debug)]
pub struct StandInServer {
    url: String,
    shared: ServerState,
    _serving: JoinSet<()>,
}

impl StandInServer {
    /// Starts a server that answers with `replies` in their order.
    pub async fn start(replies: impl IntoIterator<Item = ServerReply>) -> Self {
        Self::start_with("127.0.0.1:0", replies, None).await
    }

    /// Starts a server at `address`, for example where another one has stopped.
    pub async fn start_at(
        address: SocketAddr,
        replies: impl IntoIterator<Item = ServerReply>,
    ) -> Self {
        Self::start_with(address, replies, None).await
    }

    /// Starts a server that answers only when `requests` requests are in flight at the same time.
    pub async fn start_with_barrier(
        replies: impl IntoIterator<Item = ServerReply>,
        requests: usize,
    ) -> Self {
        Self::start_with("127.0.0.1:0", replies, Some(Arc::new(Barrier::new(requests)))).await
    }

    async fn start_with(
        address: impl ToSocketAddrs,
        replies: impl IntoIterator<Item = ServerReply>,
        barrier: Option<Arc<Barrier>>,
    ) -> Self {
        let shared = ServerState {
            replies: Arc::new(Mutex::new(replies.into_iter().collect())),
            received: Arc::default(),
            in_flight: Arc::default(),
            barrier,
        };
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let app = app.layer(middleware::from_fn_with_state(shared.clone(), count_in_flight));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, _serving: serving }
    }

    /// The base URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The requests received so far.
    pub fn received(&self) -> MutexGuard<'_, Vec<ReceivedRequest>> {
        self.shared.received.lock()
    }

    /// The score requests received so far. Panics if a body is not a score request.
    #[must_use]
    pub fn score_requests(&self) -> Vec<ScoreRequest> {
        let received = self.received();
        received.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }

    /// The number of requests in flight, among them those that wait for others.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.lock().now
    }

    /// The largest number of requests that were in flight at the same time.
    #[must_use]
    pub fn most_in_flight(&self) -> usize {
        self.shared.in_flight.lock().peak
    }
}

async fn count_in_flight(
    State(shared): State<ServerState>,
    request: Request<Body>,
    next: middleware::Next,
) -> Response {
    {
        let mut in_flight = shared.in_flight.lock();
        in_flight.now += 1;
        in_flight.peak = in_flight.peak.max(in_flight.now);
    }
    if let Some(barrier) = &shared.barrier {
        barrier.wait().await;
    }
    let response = next.run(request).await;
    shared.in_flight.lock().now -= 1;
    response
}

async fn answer(State(shared): State<ServerState>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let streams = head.headers.get("accept").is_some_and(|accept| accept == "application/x-ndjson");
    let path = head.uri.path().to_owned();
    shared.received.lock().push(ReceivedRequest {
        path,
        headers: head.headers,
        body: body.clone(),
    });
    let reply = shared.replies.lock().pop_front();
    match reply.unwrap_or(ServerReply::Score { generation: 1, rm: "sha256:a" }) {
        ServerReply::Body { status, headers, body } => {
            let headers: HashMap<String, String> = headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let headers = HeaderMap::try_from(&headers).unwrap();
            (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
        }
        ServerReply::Score { generation, rm } => score(&body, generation, rm, streams),
        ServerReply::Late { after, rm } => {
            tokio::time::sleep(after).await;
            score(&body, 1, rm, streams)
        }
        ServerReply::CutStream { lines, rm } => {
            let request = serde_json::from_slice(&body).unwrap();
            let mut chunks = stream_lines(score_response(&request, 1, rm));
            chunks.truncate(lines);
            ([(DIGEST, digest(rm).to_string())], broken(chunks)).into_response()
        }
        ServerReply::Chunks(chunks) => {
            let chunks = chunks.into_iter().map(Ok::<_, std::io::Error>);
            Body::from_stream(futures_util::stream::iter(chunks)).into_response()
        }
        ServerReply::BrokenChunks(chunks) => broken(chunks).into_response(),
    }
}

/// Answers a score request as a server with the reward model `rm`.
fn score(body: &[u8], generation: u64, rm: &str, streams: bool) -> Response {
    let problem = |problem: Problem| {
        let status = StatusCode::from_u16(problem.status).unwrap();
        (status, serde_json::to_string(&problem).unwrap()).into_response()
    };
    let Ok(request) = serde_json::from_slice::<ScoreRequest>(body) else {
        return problem(Problem::new(ProblemCode::NotFound, "there is no such path"));
    };
    let digest = digest(rm);
    if request.expect.as_ref().is_some_and(|expected| expected.digest != digest) {
        return problem(Problem::new(ProblemCode::Conflict, "another configuration serves"));
    }
    let reply = score_response(&request, generation, rm);
    if streams {
        ([(DIGEST, digest.to_string())], stream_lines(reply).concat()).into_response()
    } else {
        serde_json::to_string(&reply).unwrap().into_response()
    }
}

/// The digest of a server with the reward model `rm`.
fn digest(rm: &str) -> ConfigDigest {
    ConfigDigest::of(rm)
}

/// A body of these chunks, after which the connection breaks.
fn broken(chunks: Vec<String>) -> Body {
    // Without the pause the error can close the connection before the head and the chunks are sent.
    let broken = futures_util::stream::once(async {
        tokio::task::yield_now().await;
        Err(std::io::Error::other("broken"))
    });
    Body::from_stream(futures_util::stream::iter(chunks.into_iter().map(Ok)).chain(broken))
}

#[cfg(test)]
mod tests {
    use guerdon_types::ScoreResponse;

    use super::*;
    use crate::batch::numbered_batch;

    async fn score(server: &StandInServer) -> reqwest::Response {
        let url = format!("{}/v1/score", server.url());
        let request = numbered_batch(&["a", ""]);
        crate::http_client().post(url).json(&request).send().await.unwrap()
    }

    #[tokio::test]
    async fn requests_beyond_the_script_are_scored() {
        let server = StandInServer::start([ServerReply::rate_limited("7")]).await;
        let refused = score(&server).await;
        assert_eq!(refused.status().as_u16(), 429);
        assert_eq!(refused.headers()["retry-after"], "7");
        let reply: ScoreResponse = score(&server).await.json().await.unwrap();
        let rewards: Vec<f64> =
            reply.results.iter().map(|result| result.reward.unwrap().get()).collect();
        assert_eq!(rewards, [0.0, 1.0]);
        assert_eq!(server.score_requests().len(), 2);
        assert_eq!(server.received()[0].path, "/v1/score");
        assert_eq!(server.most_in_flight(), 1);
    }

    #[tokio::test]
    async fn requests_at_a_barrier_are_in_flight_together() {
        let server = StandInServer::start_with_barrier([], 2).await;
        tokio::join!(score(&server), score(&server));
        assert_eq!(server.most_in_flight(), 2);
    }
}
