//! Clients that are slow, silent or gone lose their connection, and hold no place of another.

use std::time::{Duration, Instant};

use guerdon_testing::wait_until_blocking;
use guerdon_tests::{GuerdonProcess, ProcessSetup, Server, WireConnection, wire_request};
use serde_json::Value;

use crate::{assert_scores, leak, light, request};

/// A server with short timeouts.
fn impatient() -> ProcessSetup {
    light().server(
        "header_timeout = \"700ms\"\nbody_timeout = \"700ms\"\nwrite_timeout = \"700ms\"\nidle_timeout = \"1500ms\"\nadmission_timeout = \"1s\"",
    )
}

/// Longer than every timeout of [`impatient`], on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn score_bytes(rollouts: &[Value]) -> Vec<u8> {
    wire_request(
        "POST",
        "/v1/score",
        &[("content-type", "application/json")],
        request(rollouts).to_string().as_bytes(),
    )
}

#[test]
fn half_sent_heads_are_closed() {
    let server = impatient().start();
    let bytes = score_bytes(&[leak()]);
    let head = bytes.len() - request(&[leak()]).to_string().len();
    let mut waiting: Vec<(usize, WireConnection)> = Vec::new();
    for length in [0, 1, 3, 15, 16, 17, 40, head - 2, head - 1] {
        for _ in 0..20 {
            let mut connection = server.connect();
            connection.send(&bytes[..length]).unwrap();
            waiting.push((length, connection));
        }
    }
    assert_scores(&server);
    for (length, mut connection) in waiting {
        assert!(connection.is_closed_within(PATIENCE), "a head of {length} bytes is not closed");
    }
}

#[test]
fn dripping_heads_and_bodies_are_closed() {
    let server = impatient().start();
    let bytes = score_bytes(&[leak()]);
    let head = bytes.len() - request(&[leak()]).to_string().len();
    std::thread::scope(|scope| {
        for start in [1, head / 2, head, head + 3] {
            let (server, bytes) = (&server, &bytes);
            scope.spawn(move || {
                let mut connection = server.connect();
                connection.send(&bytes[..start]).unwrap();
                let started = Instant::now();
                // A byte every 150 ms is faster than the timeout of one pause.
                for byte in bytes[start..].iter().cycle() {
                    std::thread::sleep(Duration::from_millis(150));
                    if connection.send(&[*byte]).is_err() || started.elapsed() > PATIENCE {
                        break;
                    }
                }
                assert!(
                    started.elapsed() < PATIENCE,
                    "a byte at a time from {start} on keeps its connection"
                );
            });
        }
    });
    assert_scores(&server);
}

#[test]
fn unfinished_bodies_hold_no_place() {
    let server = impatient().tables("[limits]\nmax_concurrent_requests = 8\n").start();
    let bytes = score_bytes(&[leak()]);
    let waiting: Vec<WireConnection> = (0..300)
        .map(|_| {
            let mut connection = server.connect();
            connection.send(&bytes[..bytes.len() - 20]).unwrap();
            connection
        })
        .collect();
    for _ in 0..10 {
        assert_scores(&server);
    }
    for mut connection in waiting {
        assert!(connection.is_closed_within(PATIENCE), "an unfinished body is not closed");
    }
}

#[test]
fn announced_sizes_take_no_memory() {
    let server = impatient().start();
    assert_scores(&server);
    let before = server.resident_mib();
    let waiting: Vec<WireConnection> = (0..64)
        .map(|_| {
            let mut connection = server.connect();
            let head = "POST /v1/score HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 60000000\r\n\r\n";
            connection.send(head.as_bytes()).unwrap();
            connection.send(&[b' '; 10_000]).unwrap();
            connection
        })
        .collect();
    assert_scores(&server);
    let grown = server.resident_mib() - before;
    assert!(grown < 60.0, "64 announced bodies of 60 MB cost {grown} MiB");
    drop(waiting);
}

/// Requests whose replies of 12 MB and more are never read. A send buffer grows to 4 MB on Linux.
fn unread_streams(server: &GuerdonProcess, count: usize) -> Vec<WireConnection> {
    let rollouts: Vec<Value> = (0..3_000)
        .map(|n| {
            let mut rollout = Server::rollout("see the work order .");
            rollout["id"] = format!("{n:04000}").into();
            rollout
        })
        .collect();
    let headers = [("content-type", "application/json"), ("accept", "application/x-ndjson")];
    let bytes =
        wire_request("POST", "/v1/score", &headers, request(&rollouts).to_string().as_bytes());
    (0..count)
        .map(|_| {
            let mut connection = server.connect();
            connection.send(&bytes).unwrap();
            connection
        })
        .collect()
}

#[test]
fn readers_that_stop_reading_lose_their_place() {
    let server = impatient().tables("[limits]\nmax_concurrent_requests = 4\n").start();
    let unread = unread_streams(&server, 4);
    // All four take a place, stop reading, and are closed by the server; none of them hangs up.
    wait_until_blocking("the server closes the four readers", Duration::from_secs(60), || {
        server.metric("guerdon_connections_closed_total", "write_timeout") >= 4.0
    });
    assert_scores(&server);
    drop(unread);
}

#[test]
fn idle_connections_are_closed_and_busy_ones_kept() {
    let server = impatient().start();
    let mut idle = server.connect();
    let mut kept = server.connect();
    for _ in 0..10 {
        kept.send(&score_bytes(&[leak()])).unwrap();
        assert_eq!(kept.reply().unwrap().status, 200);
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(idle.is_closed_within(PATIENCE));
    assert!(kept.is_closed_within(PATIENCE));
}

#[test]
fn few_descriptors_are_survived_and_logged_once() {
    let server = impatient().limits("ulimit -n 64").start();
    let crowd: Vec<WireConnection> =
        (0..200).filter_map(|_| WireConnection::open(server.address).ok()).collect();
    let started = Instant::now();
    // The idle connections end by their timeout, and others are served.
    assert_scores(&server);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    drop(crowd);
    assert_scores(&server);
    let log = server.log();
    assert!(log.len() < 20_000, "{} bytes of log about descriptors", log.len());
}

#[test]
fn connections_beyond_the_limit_wait_or_replace_idle_ones() {
    let server = impatient().server("max_connections = 16").start();
    let idle: Vec<WireConnection> =
        (0..64).filter_map(|_| WireConnection::open(server.address).ok()).collect();
    let started = Instant::now();
    assert_scores(&server);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    drop(idle);
}
