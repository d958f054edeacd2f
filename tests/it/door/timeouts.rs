//! Each thing that a client sends or reads has a timeout.

use guerdon_testing::wait_until;
use guerdon_tests::Server;
use serde_json::json;

use super::{PATIENCE, Wire, light, score_status};

#[tokio::test]
async fn half_sent_heads_are_closed_and_nothing_is_answered() {
    let server = light("header_timeout = \"200ms\"", "").await;
    let mut connections = Vec::new();
    for begun in ["P", "POST /v1/sc", "GET / HTTP/1.1\r\nhost: local", "PRI * HTTP/2.0\r\n\r\nSM"] {
        for _ in 0..10 {
            let mut connection = Wire::connect(&server).await;
            connection.send(begun.as_bytes()).await;
            connections.push(connection);
        }
    }
    for mut connection in connections {
        assert_eq!(connection.until_closed().await, "");
    }
    assert_eq!(server.get("/healthz").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn half_sent_bodies_are_refused_with_the_limit() {
    let server = light("body_timeout = \"200ms\"", "").await;
    for path in ["/v1/score", "/get_reward", "/v1/rules/check"] {
        let mut connection = Wire::connect(&server).await;
        connection.post(path, 100, b"{").await;
        let reply = connection.until_closed().await;
        assert!(reply.starts_with("HTTP/1.1 408 "), "{path}: {reply}");
        assert!(reply.contains("a pause of 200ms"), "{path}: {reply}");
    }
    server.stop().await;
}

#[tokio::test]
async fn connection_without_a_request_is_closed_and_one_with_a_request_is_not() {
    let server = light("idle_timeout = \"200ms\"", "").await;
    let mut silent = Wire::connect(&server).await;
    assert_eq!(silent.until_closed().await, "");
    let mut used = Wire::connect(&server).await;
    used.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(used.until_closed().await.ends_with("ok\n"));
    server.stop().await;
}

/// A request whose reply has 12 MB, so that it does not fit into the kernel's buffers and into the
/// windows of HTTP/2: ids are repeated.
fn large_request() -> serde_json::Value {
    let rollout = |n: usize| {
        let mut rollout = Server::rollout("hello");
        rollout["id"] = json!(format!("{n}{}", "-".repeat(4_000)));
        rollout
    };
    json!({ "rollouts": (0..3_000).map(rollout).collect::<Vec<_>>() })
}

#[tokio::test]
async fn reader_that_stops_reading_frees_its_place() {
    let limits = "[limits]\nmax_concurrent_requests = 1\n";
    let timeouts = "write_timeout = \"300ms\"\nadmission_timeout = \"20s\"";
    let server = light(timeouts, limits).await;
    let body = serde_json::to_vec(&large_request()).unwrap();
    let mut stopped = Wire::connect(&server).await;
    let head = format!(
        "POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stopped.send(&[head.as_bytes(), &body].concat()).await;
    assert_eq!(stopped.status().await, 200);
    // The only place is taken by the stream. It is free once the stream is given up.
    let small = json!({ "rollouts": [Server::rollout("hello")] });
    assert_eq!(score_status(&server.http, &server, &small).await, 200);
    let received = stopped.until_closed().await;
    assert!(!received.contains("\"versions\""), "the summary is not reached");
    server.stop().await;
}

#[tokio::test]
async fn reply_that_is_not_read_is_given_up_over_http2_too() {
    let limits = "[limits]\nmax_concurrent_requests = 1\n";
    let timeouts = "write_timeout = \"300ms\"\nadmission_timeout = \"20s\"";
    let server = light(timeouts, limits).await;
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let stopped = http2
        .post(format!("{}/v1/score", server.url))
        .header("accept", "application/x-ndjson")
        .json(&large_request())
        .send()
        .await
        .unwrap();
    assert_eq!(stopped.status(), 200);
    let small = json!({ "rollouts": [Server::rollout("hello")] });
    assert_eq!(score_status(&server.http, &server, &small).await, 200);
    assert!(stopped.bytes().await.is_err(), "the stream was reset");
    server.stop().await;
}

#[tokio::test]
async fn slow_reply_to_a_client_that_reads_is_not_given_up() {
    let server = light("write_timeout = \"300ms\"", "").await;
    let reply = server.score(&large_request()).await;
    assert_eq!(reply["results"].as_array().unwrap().len(), 3_000);
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_take_the_place_of_idle_ones() {
    let server = light("max_connections = 4", "").await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(Wire::connect(&server).await);
    }
    for connection in &mut silent[..4] {
        assert_eq!(connection.until_closed().await, "");
    }
    wait_until("a new connection is served", PATIENCE, async || {
        server.get("/healthz").await.status == 200
    })
    .await;
    server.stop().await;
}
