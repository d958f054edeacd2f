//! A stop waits for requests that were received whole, and for nothing else.

use std::time::{Duration, Instant};

use guerdon_tests::{JudgeReply, Server, StandInJudge};
use serde_json::json;

use super::{Wire, light};
use crate::judge::{PROMPT, configured, verdict};

/// Far below the drain time, and far above what closing a connection takes.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn unfinished_requests_do_not_delay_a_stop() {
    let server = light("", "").await;
    let mut connections = Vec::new();
    for begun in [
        "",
        "P",
        "POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-le",
        "PRI * HTTP/2.0\r\n\r\nSM",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n",
        "POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{",
        "POST /get_reward HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{",
        "POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n",
    ] {
        let mut connection = Wire::connect(&server).await;
        connection.send(begun.as_bytes()).await;
        connections.push(connection);
    }
    let mut idle = Wire::connect(&server).await;
    idle.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(idle.status().await, 200);
    let started = Instant::now();
    assert!(server.stop().await, "everything that was received whole was answered");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    for mut connection in connections {
        let reply = connection.until_closed().await;
        assert!(!reply.contains("200 OK"), "{reply}");
    }
}

#[tokio::test]
async fn idle_http2_connection_does_not_delay_a_stop() {
    let server = light("", "").await;
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let health = http2.get(format!("{}/healthz", server.url)).send().await.unwrap();
    assert_eq!(health.text().await.unwrap(), "ok\n");
    let started = Instant::now();
    assert!(server.stop().await);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[tokio::test]
async fn whole_request_is_answered_beside_unfinished_ones() {
    let judge = StandInJudge::start_gated([JudgeReply::content(verdict("warm"))], 0).await;
    let server = Server::with(&configured(judge.url()), &[("kind.md", PROMPT)]).await;
    let mut unfinished = Wire::connect(&server).await;
    unfinished.post("/v1/score", 100, b"{").await;
    let mut whole = Wire::connect(&server).await;
    let body = json!({ "rollouts": [Server::rollout("480 .")] }).to_string();
    whole.post("/v1/score", body.len(), body.as_bytes()).await;
    judge.wait_for_calls(1).await;
    let stop = async {
        let stopping = server.stop();
        judge.release(1);
        stopping.await
    };
    let (finished, reply) = tokio::join!(stop, whole.until_closed());
    assert!(finished);
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.contains("\"judge\""), "{reply}");
}
