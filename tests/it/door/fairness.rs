//! Places, memory and queues are shared between callers, and unfinished requests take none of them.

use guerdon_testing::wait_until;
use guerdon_tests::{JudgeReply, Server, StandInJudge};
use serde_json::json;

use super::{OTHER_ADDRESS, PATIENCE, Wire, light, other_client, score_status};
use crate::judge::{PROMPT, configured, verdict};

#[tokio::test]
async fn unfinished_bodies_take_no_place() {
    let server = light("", "[limits]\nmax_concurrent_requests = 4\n").await;
    let mut unfinished = Vec::new();
    for _ in 0..100 {
        let mut connection = Wire::connect(&server).await;
        connection.post("/v1/score", 1_000, b"{").await;
        unfinished.push(connection);
    }
    for client in [server.http.clone(), other_client()] {
        let body = json!({ "rollouts": [Server::rollout("hello")] });
        assert_eq!(score_status(&client, &server, &body).await, 200);
    }
    drop(unfinished);
    server.stop().await;
}

#[tokio::test]
async fn caller_that_holds_all_places_does_not_shut_out_another() {
    let judge = StandInJudge::start_gated([JudgeReply::content(verdict("warm"))], 0).await;
    let toml = Server::config().replace("[server]\n", "[server]\nadmission_timeout = \"200ms\"\n");
    let limits = "[limits]\nmax_concurrent_requests = 2\n";
    let toml = format!("{toml}{}{limits}", configured(judge.url()));
    let server = Server::from_config(&toml, &[("kind.md", PROMPT)]).await;
    let greedy = |n: usize| {
        let body = json!({ "rollouts": [Server::rollout(&format!("{n} ."))] });
        let sent = server.http.post(format!("{}/v1/score", server.url)).json(&body).send();
        async move { sent.await.unwrap() }
    };
    let modest = async {
        judge.wait_for_calls(2).await;
        let refused = greedy(3).await;
        assert_eq!(refused.status(), 503, "the third of the same caller");
        assert!(refused.headers().contains_key("retry-after"));
        let other = other_client();
        for n in 0..20 {
            let reply = format!("reply {n}");
            let body = json!({ "rollouts": [Server::rollout(&reply)], "sources": ["rm", "rules"] });
            assert_eq!(score_status(&other, &server, &body).await, 200, "{n}");
        }
        judge.release(2);
    };
    let (first, second, ()) = tokio::join!(greedy(1), greedy(2), modest);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    server.stop().await;
}

#[tokio::test]
async fn caller_that_fills_the_memory_for_bodies_does_not_shut_out_another() {
    let server = light(
        "admission_timeout = \"200ms\"\nmax_bodies_bytes = 1048576",
        "[limits]\nmax_body_bytes = 400000\n",
    )
    .await;
    // Two of these fit into the three quarters that are not reserved.
    let mut bodies = Vec::new();
    for _ in 0..4 {
        let mut connection = Wire::connect(&server).await;
        connection.post("/v1/score", 390_000, &vec![b' '; 330_000]).await;
        bodies.push(connection);
    }
    let mut refused = 0;
    for connection in &mut bodies {
        let reply = async { connection.0.readable().await };
        if tokio::time::timeout(std::time::Duration::from_secs(2), reply).await.is_ok() {
            let head = connection.head().await;
            assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after: "), "{head}");
            refused += 1;
        }
    }
    assert!((1..4).contains(&refused), "{refused}");
    let large = "a".repeat(200_000);
    let body = json!({ "rollouts": [Server::rollout(&large)] });
    assert_eq!(score_status(&other_client(), &server, &body).await, 200);
    drop(bodies);
    server.stop().await;
}

#[tokio::test]
async fn caller_that_fills_the_queue_of_a_model_does_not_shut_out_another() {
    let toml =
        Server::config().replace("[profiles.test]", "queue = 400\ncache = 0\n[profiles.test]");
    let server = Server::from_config(&toml, &[]).await;
    let greedy = |request: usize| {
        let rollout = |n: usize| Server::rollout(&format!("{request} {n} is our price ."));
        let rollouts: Vec<_> = (0..300).map(rollout).collect();
        let body = json!({ "rollouts": rollouts });
        let (http, url) = (server.http.clone(), format!("{}/v1/score", server.url));
        async move { http.post(url).json(&body).send().await.unwrap().status().as_u16() }
    };
    let modest = async {
        let other = other_client();
        for n in 0..20 {
            let body = json!({ "rollouts": [Server::rollout(&format!("{n} . {n}"))] });
            assert_eq!(score_status(&other, &server, &body).await, 200, "{n}");
        }
    };
    let (first, second, third, ()) = tokio::join!(greedy(1), greedy(2), greedy(3), modest);
    for status in [first, second, third] {
        assert!([200, 503].contains(&status), "{status}");
    }
    server.stop().await;
}

#[tokio::test]
async fn address_with_many_uploads_makes_room_for_another_address() {
    let server = light("max_connections = 4", "").await;
    let mut uploads = Vec::new();
    for _ in 0..4 {
        let mut connection = Wire::connect(&server).await;
        connection.post("/v1/score", 1_000, b"{").await;
        uploads.push(connection);
    }
    wait_until("another address is served", PATIENCE, async || {
        let mut other = Wire::connect_from(&server, OTHER_ADDRESS).await;
        other.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        other.status().await == 200
    })
    .await;
    drop(uploads);
    server.stop().await;
}
