//! One caller never shuts out another: not by many rollouts, not by unfinished bodies, not by many
//! connections.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use guerdon_tests::{
    GuerdonProcess, ProcessSetup, Server, WireConnection, WireReply, exchange, wire_request,
};
use serde_json::{Value, json};

use crate::{leak, light, request};

const GREEDY: &str = "greedy-secret-0123456789";
const MODEST: &str = "modest-secret-0123456789";

fn with_callers(setup: ProcessSetup) -> ProcessSetup {
    setup
        .tables(
            "[auth]\ntokens = [{ name = \"greedy\", env = \"GREEDY\", scopes = [\"score\"] }, { name = \"modest\", env = \"MODEST\", scopes = [\"score\"] }]\n",
        )
        .variable("GREEDY", GREEDY)
        .variable("MODEST", MODEST)
}

fn bytes(token: &str, body: &Value) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    wire_request("POST", "/v1/score", &headers, body.to_string().as_bytes())
}

fn modest(server: &GuerdonProcess, text: &str) -> WireReply {
    exchange(server.address, &bytes(MODEST, &request(&[Server::rollout(text)]))).unwrap()
}

#[test]
fn unfinished_bodies_of_one_caller_do_not_refuse_another() {
    let setup = light()
        .tables("[limits]\nmax_concurrent_requests = 8\n")
        .server("admission_timeout = \"2s\"");
    let server = with_callers(setup).start();
    let body = bytes(GREEDY, &request(&[leak()]));
    let held: Vec<WireConnection> = (0..64)
        .map(|_| {
            let mut connection = server.connect();
            connection.send(&body[..body.len() - 10]).unwrap();
            connection
        })
        .collect();
    for index in 0..20 {
        let reply = modest(&server, &format!("{index} ."));
        assert_eq!(reply.status, 200, "request {index}: {reply:?}");
    }
    drop(held);
}

#[test]
fn bodies_in_memory_of_one_caller_do_not_refuse_another() {
    let setup = light().server("max_bodies_bytes = 20000000\nadmission_timeout = \"3s\"");
    let server = with_callers(setup).start();
    let large =
        json!({ "rollouts": [leak()], "sources": ["rules"] }).to_string() + &" ".repeat(9_000_000);
    let bearer = format!("Bearer {GREEDY}");
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let whole = wire_request("POST", "/v1/score", &headers, large.as_bytes());
    let held: Vec<WireConnection> = (0..12)
        .map(|_| {
            let mut connection = server.connect();
            connection.limit(Duration::from_millis(500)).unwrap();
            // The server may stop reading when it has no room.
            drop(connection.send(&whole[..whole.len() - 1]));
            connection
        })
        .collect();
    for index in 0..10 {
        let reply = modest(&server, &format!("{index} ."));
        assert_eq!(reply.status, 200, "request {index}: {reply:?}");
    }
    assert!(server.resident_mib() < 250.0, "{} MiB", server.resident_mib());
    drop(held);
}

#[test]
fn queue_of_the_model_is_shared_between_callers() {
    let setup = light().profile("model = \"tiny\"").tables(
        "[models.tiny]\npath = \"@REPOSITORY@/crates/guerdon-model/tests/tiny\"\nqueue = 400\ninstances = 1\n\
         runtime = \"@REPOSITORY@/.guerdon/onnxruntime\"\n",
    );
    let server = with_callers(setup).start();
    let stop = AtomicBool::new(false);
    let mut refused = Vec::new();
    std::thread::scope(|scope| {
        for client in 0..3 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || {
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    let rollouts: Vec<Value> = (0..300)
                        .map(|n| Server::rollout(&format!("{client} {round} {n} we meet at 420 .")))
                        .collect();
                    drop(exchange(server.address, &bytes(GREEDY, &request(&rollouts))));
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        let started = Instant::now();
        for index in 0..20 {
            let reply = modest(&server, &format!("modest {index} ."));
            if reply.status != 200 {
                refused.push(reply);
            }
        }
        let took = started.elapsed();
        stop.store(true, Ordering::Relaxed);
        assert!(took < Duration::from_secs(25), "20 requests took {took:?}");
    });
    assert!(refused.is_empty(), "{} of 20 were refused: {:?}", refused.len(), refused.first());
}

#[test]
fn refused_requests_name_a_time_to_retry() {
    let server = light()
        .tables("[limits]\nmax_concurrent_requests = 0\n")
        .server("admission_timeout = \"0s\"")
        .start();
    let reply = server.post("/v1/score", &request(&[leak()]));
    assert_eq!((reply.status, reply.code().as_str()), (503, "overloaded"), "{reply:?}");
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=600).contains(&seconds), "{seconds}");
    let limited = light().server("requests_per_second = 2").start();
    let replies: Vec<WireReply> =
        (0..30).map(|_| limited.post("/v1/score", &request(&[leak()]))).collect();
    let refused: Vec<&WireReply> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|reply| reply.header("retry-after").is_some()));
    assert_eq!(limited.get("/healthz").status, 200);
}
