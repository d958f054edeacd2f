//! A server that refuses connections, dies in the middle of an answer, restarts, or is busy: a call
//! goes on, and every attempt has the same body and the same idempotency key.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use guerdon_testing::{ServerReply, StandInServer, numbered_batch};
use guerdon_types::{Problem, ProblemCode};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::{Client, ClientBuilder, Error};

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
