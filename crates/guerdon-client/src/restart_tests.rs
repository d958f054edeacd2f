//! A server that refuses connections, dies in the middle of an answer, restarts, or is busy: a call
//! goes on, and every attempt has the same body and the same idempotency key.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use futures_util::StreamExt as _;
use guerdon_testing::{ServerReply, StandInServer, numbered_batch};
use guerdon_types::{
    AdvantagesRequest, ConfigDigest, Problem, ProblemCode, RolloutId, ScoreRequest, StreamLine,
    StreamSummary, StreamedResult, shared_id_errors,
};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::{Client, ClientBuilder, Error, ScoreStream};

/// The address of servers that restart. On Linux no other test uses it, so that none takes the port
/// while the server is away.
const OWN_ADDRESS: Ipv4Addr =
    if cfg!(target_os = "linux") { Ipv4Addr::new(127, 0, 0, 2) } else { Ipv4Addr::LOCALHOST };

const SHORT: Duration = Duration::from_millis(1);

fn client(url: &str) -> ClientBuilder {
    Client::builder(url).backoff(SHORT, SHORT).backoff_floor(SHORT)
}

/// A stand-in server in a process-like shell: its end closes every connection.
struct Process {
    runtime: Runtime,
    server: StandInServer,
}

impl Process {
    fn start(at: Option<SocketAddr>, replies: Vec<ServerReply>) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(async {
            match at {
                Some(at) => StandInServer::start_at(at, replies).await,
                None => StandInServer::start_at((OWN_ADDRESS, 0).into(), replies).await,
            }
        });
        Self { runtime, server }
    }

    fn address(&self) -> SocketAddr {
        self.server.url().trim_start_matches("http://").parse().unwrap()
    }

    fn kill(self) -> SocketAddr {
        let address = self.address();
        drop(self.server);
        self.runtime.shutdown_timeout(Duration::from_secs(30));
        address
    }
}

fn unscored() -> ServerReply {
    ServerReply::problem(&Problem::new(ProblemCode::Unscored, "no judge"))
}

/// A failure after which a request is sent again for as long as the call may take.
fn away() -> impl Strategy<Value = ServerReply> {
    let problem = |code| ServerReply::problem(&Problem::new(code, "later"));
    prop_oneof![
        Just(ServerReply::body(502, "bad gateway")),
        Just(ServerReply::body(503, "<html>no upstream</html>")),
        Just(ServerReply::body(504, "")),
        Just(problem(ProblemCode::NotReady).header("retry-after", "0")),
        Just(problem(ProblemCode::Overloaded)),
        Just(problem(ProblemCode::RequestTimeout)),
        Just(ServerReply::rate_limited("0")),
        Just(ServerReply::BrokenChunks(vec![])),
        Just(ServerReply::BrokenChunks(vec!["{\"request_id\": \"q\", ".to_owned()])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn call_outlives_any_sequence_of_outages(script in prop::collection::vec(away(), 0..20)) {
        Runtime::new().unwrap().block_on(async {
            let failures = script.len();
            let server = StandInServer::start(script).await;
            let client = client(server.url()).build().unwrap();
            let scored = client.score(&numbered_batch(&[""; 2])).await.unwrap();
            assert_eq!(scored.rewards(), [Some(0.0), Some(1.0)]);
            let received = server.received();
            assert_eq!(received.len(), failures + 1);
            let first = &received[0];
            assert!(received.iter().all(|one| one.body == first.body));
            let keys: HashSet<_> =
                received.iter().map(|one| one.headers["idempotency-key"].clone()).collect();
            assert_eq!(keys.len(), 1, "every try has the same key");
        });
    }
}

/// A server that dies in the middle of a stream, or is away before it begins.
fn stream_outage() -> impl Strategy<Value = ServerReply> {
    prop_oneof![
        (0_usize..9).prop_map(|lines| ServerReply::CutStream { lines, rm: "sha256:a" }),
        away().prop_filter("a broken body is a cut stream here", |reply| {
            !matches!(reply, ServerReply::BrokenChunks(_))
        }),
    ]
}

/// The lines of a stream: the results by their places, and the summary.
async fn read(stream: ScoreStream) -> Result<(Vec<StreamedResult>, StreamSummary), Error> {
    let (mut results, mut summary) = (Vec::new(), None);
    for line in stream.collect::<Vec<_>>().await {
        match line? {
            StreamLine::Result(result) => results.push(*result),
            StreamLine::Summary(last) => summary = Some(*last),
        }
    }
    results.sort_by_key(|line| line.index);
    Ok((results, summary.unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn stream_outlives_any_sequence_of_cuts(
        script in prop::collection::vec(stream_outage(), 0..9),
        groups in prop::collection::vec(prop_oneof!["", "a", "b"], 0..8),
        ids in prop::collection::vec(prop_oneof![Just(None), "[x-z]".prop_map(Some)], 8),
        estimator in prop_oneof![Just(None), Just(Some("grpo")), Just(Some("batch_std"))],
    ) {
        Runtime::new().unwrap().block_on(async {
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            let mut request = numbered_batch(&groups);
            request.advantages = estimator.map(AdvantagesRequest::new);
            for (rollout, id) in request.rollouts.iter_mut().zip(ids) {
                rollout.id = id.map(RolloutId::from);
            }
            let whole = StandInServer::start([]).await;
            let expected = client(whole.url()).build().unwrap().stream(&request).await.unwrap();
            let expected = read(expected).await.unwrap();

            let failures = script.len();
            let server = StandInServer::start(script).await;
            let stream = client(server.url()).build().unwrap().stream(&request).await.unwrap();
            let (results, summary) = read(stream).await.unwrap();
            // A stand-in does not refuse shared ids.
            let ids = request.rollouts.iter().map(|rollout| rollout.id.as_ref());
            if shared_id_errors(ids).is_empty() {
                assert_eq!(results, expected.0);
            }
            let places: Vec<usize> = results.iter().map(|line| line.index).collect();
            assert_eq!(places, (0..groups.len()).collect::<Vec<_>>(), "each once");
            assert_eq!((summary.results, summary.versions), (groups.len(), expected.1.versions));
            // A stream that is cut after its summary is complete.
            assert!(server.received().len() <= failures + 1);
            for part in server.score_requests().iter().filter(|_| estimator == Some("grpo")) {
                for group in part.rollouts.iter().map(|rollout| &rollout.group) {
                    let count = |request: &ScoreRequest| {
                        request.rollouts.iter().filter(|one| one.group == *group).count()
                    };
                    assert_eq!(count(part), count(&request), "groups stay whole");
                }
            }
        });
    }
}

#[tokio::test]
async fn cut_stream_asks_only_for_the_missing_results_of_the_same_configuration() {
    let cut = ServerReply::CutStream { lines: 2, rm: "sha256:a" };
    let server = StandInServer::start([cut.clone(), ServerReply::body(503, "")]).await;
    let mut request = numbered_batch(&[""; 4]);
    request.rollouts[0].id = Some("first".into());
    let stream = client(server.url()).build().unwrap().stream(&request).await.unwrap();
    let (results, _) = read(stream).await.unwrap();
    let ids: Vec<&str> = results.iter().map(|line| line.result.id.as_str()).collect();
    assert_eq!(ids, ["first", "1", "2", "3"]);
    let parts = server.score_requests();
    let texts = |part: &ScoreRequest| -> Vec<String> {
        part.rollouts.iter().map(|rollout| rollout.messages[0].content.clone()).collect()
    };
    assert_eq!(texts(&parts[2]), ["0", "1"]);
    let digest = parts[2].expect.as_ref().unwrap().digest.clone();
    assert_eq!((parts[0].expect.is_none(), digest), (true, ConfigDigest::of("sha256:a")));

    let other = ServerReply::Score { generation: 1, rm: "sha256:b" };
    let server = StandInServer::start([cut, other]).await;
    let stream = client(server.url()).build().unwrap().stream(&request).await.unwrap();
    let error = read(stream).await.unwrap_err();
    assert!(matches!(error, Error::Cut { received: 2, expected: 4, .. }), "{error}");
    assert!(error.to_string().contains("another configuration"), "{error}");
}

#[tokio::test]
async fn number_of_retries_counts_the_cuts_without_a_result() {
    for (retries, lines, requests) in [(0, 0, 1), (0, 1, 1), (2, 0, 3), (5, 0, 6)] {
        let cut = ServerReply::CutStream { lines, rm: "sha256:a" };
        let server = StandInServer::start(vec![cut; 9]).await;
        let client = client(server.url()).retries(retries).build().unwrap();
        let stream = client.stream(&numbered_batch(&[""; 4])).await.unwrap();
        let error = read(stream).await.unwrap_err();
        assert!(matches!(error, Error::Cut { expected: 4, .. }), "{error}");
        assert_eq!(server.received().len(), requests, "{retries} retries, {lines} lines");
    }
    // Every reply has a new result.
    let cut = ServerReply::CutStream { lines: 1, rm: "sha256:a" };
    let server = StandInServer::start(vec![cut; 4]).await;
    let client = client(server.url()).retries(1).build().unwrap();
    let stream = client.stream(&numbered_batch(&[""; 4])).await.unwrap();
    assert_eq!(read(stream).await.unwrap().0.len(), 4);
    assert_eq!(server.received().len(), 5);
}

#[test]
fn call_waits_for_a_server_that_restarts() {
    for refused in [1, 3, 9] {
        let address = Process::start(None, vec![]).kill();
        let (tell, told) = mpsc::channel();
        let client = client(&format!("http://{address}"))
            .on_retry(move |error, tries, _| {
                assert!(matches!(error, Error::Transport { .. }), "{error}");
                // Nothing listens after the server has started.
                let _ = tell.send(tries);
            })
            .build()
            .unwrap();
        let caller = std::thread::spawn(move || {
            let batch = numbered_batch(&[""; 3]);
            Runtime::new().unwrap().block_on(client.score(&batch)).unwrap().rewards()
        });
        while told.recv().unwrap() < refused {}
        let server = Process::start(Some(address), vec![]);
        assert_eq!(caller.join().unwrap(), [Some(0.0), Some(1.0), Some(2.0)]);
        assert_eq!(server.server.received().len(), 1);
    }
}

#[test]
fn kept_connections_to_a_dead_server_do_not_fail_the_next_call() {
    let first = Process::start(None, vec![]);
    let calls = Runtime::new().unwrap();
    let client = client(first.server.url()).build().unwrap();
    calls.block_on(client.score(&numbered_batch(&["", ""]))).unwrap();
    let second = Process::start(Some(first.kill()), vec![]);
    calls.block_on(client.score(&numbered_batch(&["", ""]))).unwrap();
    assert_eq!(second.server.received().len(), 1);
}

#[tokio::test]
async fn every_call_has_a_key_of_its_own() {
    let server = StandInServer::start([]).await;
    let client = client(server.url()).chunk(1).build().unwrap();
    client.score(&numbered_batch(&[""; 3])).await.unwrap();
    client.score(&numbered_batch(&[""; 3])).await.unwrap();
    let keys: HashSet<_> =
        server.received().iter().map(|one| one.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys.len(), 6);
}

#[tokio::test]
async fn refused_request_is_not_sent_again() {
    let statuses: Vec<u16> =
        (400..500).filter(|status| ![408, 429].contains(status)).chain([501, 505]).collect();
    let replies = statuses.iter().map(|status| ServerReply::body(*status, "no"));
    let server = StandInServer::start(replies).await;
    let client = client(server.url()).build().unwrap();
    for (sent, status) in statuses.iter().enumerate() {
        let error = client.score(&numbered_batch(&[""])).await.unwrap_err();
        assert!(!error.is_transient(), "{status}: {error}");
        assert_eq!(server.received().len(), sent + 1, "{status}");
    }
}

#[tokio::test]
async fn faults_of_the_server_are_retried_five_times() {
    let faults = [
        ServerReply::body(500, "oops"),
        unscored(),
        ServerReply::body(200, "{\"request_id\": \"q\","),
    ];
    for fault in faults {
        let server = StandInServer::start(vec![fault.clone(); 6]).await;
        client(server.url()).build().unwrap().score(&numbered_batch(&[""])).await.unwrap_err();
        assert_eq!(server.received().len(), 6, "{fault:?}");
    }
}

#[tokio::test]
async fn request_to_another_route_has_the_same_retries_and_returns_the_text() {
    let text = "{\"rewards\": [0.1, 1.2345678901234567e-300]}";
    let server =
        StandInServer::start([ServerReply::body(503, ""), ServerReply::body(200, text)]).await;
    let client = client(server.url()).token("s3cret").build().unwrap();
    let query = [("on_failure".to_owned(), "value:-1 & more".to_owned())];
    let reply = client.post_json("profiles/hotel/get_reward", &query, "{}".into()).await.unwrap();
    assert_eq!(reply, text);
    let received = server.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[1].path, "/profiles/hotel/get_reward");
    assert_eq!(received[1].headers["authorization"], "Bearer s3cret");
    assert_eq!(received[0].headers["idempotency-key"], received[1].headers["idempotency-key"]);
}
