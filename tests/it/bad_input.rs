//! Bad input gets a clear error and loses nothing else in the batch.

use guerdon_tests::{Reply, Server};
use serde_json::{Value, json};

async fn send(server: &Server, body: impl Into<reqwest::Body>) -> Reply {
    let request = server
        .http
        .post(format!("{}/v1/score", server.url))
        .header("content-type", "application/json");
    Reply::read(request.body(body).send().await.unwrap()).await
}

fn with_message(role: &str, content: &str) -> Value {
    json!({ "rollouts": [Server::rollout("480 ."), { "messages": [{ "role": role, "content": content }] }] })
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_with_its_place() {
    let server = Server::new().await;
    let nan = r#"{"rollouts": [{"messages": [{"role": "assistant", "content": "a"}], "context": {"price": NaN}}]}"#;
    for (body, status, code, pointer) in [
        (with_message("user", "a").to_string(), 422, "no_assistant_turn", "/rollouts/1/messages"),
        (
            with_message("robot", "a").to_string(),
            422,
            "invalid_request",
            "/rollouts/1/messages/0/role",
        ),
        (nan.to_owned(), 400, "malformed_json", "/rollouts/0/context"),
        ("{".to_owned(), 400, "malformed_json", ""),
        (
            json!({ "rollouts": [], "fusion": { "bond": 1 } }).to_string(),
            422,
            "invalid_request",
            "/fusion",
        ),
        (
            json!({ "rollouts": [], "fusion": { "bound": 0 } }).to_string(),
            422,
            "invalid_request",
            "/fusion/bound",
        ),
        (
            json!({ "rollouts": [], "profile": "hotl" }).to_string(),
            422,
            "unknown_profile",
            "/profile",
        ),
        (
            json!({ "rollouts": [], "sources": ["rn"] }).to_string(),
            422,
            "unknown_source",
            "/sources/0",
        ),
        (
            json!({ "rollouts": [], "sources": ["rules"] }).to_string(),
            422,
            "fusion_needs_source",
            "/sources",
        ),
        (
            json!({ "rollouts": [], "advantages": { "estimator": "x" } }).to_string(),
            422,
            "invalid_request",
            "/advantages/estimator",
        ),
    ] {
        let reply = send(&server, body.clone()).await;
        let problem = reply.json();
        assert_eq!(reply.status, status, "{body}: {}", reply.text);
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        assert_eq!(problem["code"], code, "{body}");
        let at = problem["pointer"].as_str().unwrap_or_default();
        assert!(at.starts_with(pointer), "{body}: {at} is not {pointer}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["instance"], "/v1/score");
        assert_eq!(problem["request_id"], reply.headers["x-request-id"].to_str().unwrap());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_message_of_10_mb_fails_alone() {
    let server = Server::new().await;
    let reply = server.score(&with_message("assistant", &"a".repeat(10 << 20))).await;
    assert!(reply["results"][0]["reward"].is_number());
    let broken = &reply["results"][1];
    assert!(broken["reward"].is_null());
    assert_eq!(broken["error"]["code"], "rollout_too_large");
    assert_eq!(broken["error"]["pointer"], "/rollouts/1/messages/0/content");
    assert!(broken["error"]["detail"].as_str().unwrap().contains("1048576"));
    server.stop().await;
}

#[tokio::test]
async fn a_body_or_a_batch_beyond_the_limit_is_refused_with_the_limit() {
    let server = Server::with("[limits]\nmax_body_bytes = 2000\nmax_rollouts = 2\n", &[]).await;
    let large = send(&server, with_message("assistant", &"a".repeat(3000)).to_string()).await;
    assert_eq!((large.status, large.json()["code"].as_str()), (413, Some("too_large")));
    assert!(large.text.contains("2000"), "{}", large.text);
    let many =
        server.post("/v1/score", &json!({ "rollouts": vec![Server::rollout("a"); 3] })).await;
    assert_eq!((many.status, many.json()["pointer"].as_str()), (413, Some("/rollouts")));
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_or_not_json_is_a_problem_too() {
    let server = Server::new().await;
    let nowhere = server.get("/v2/score").await;
    assert_eq!((nowhere.status, nowhere.json()["code"].as_str()), (404, Some("not_found")));
    let wrong = server.get("/v1/score").await;
    assert_eq!((wrong.status, wrong.json()["code"].as_str()), (405, Some("method_not_allowed")));
    let form =
        server.http.post(format!("{}/v1/score", server.url)).body("a=b").send().await.unwrap();
    assert_eq!(form.status(), 415);
    let packed =
        server.http.post(format!("{}/v1/score", server.url)).header("content-encoding", "br");
    let packed = Reply::read(packed.json(&json!({ "rollouts": [] })).send().await.unwrap()).await;
    assert_eq!(
        (packed.status, packed.json()["code"].as_str()),
        (415, Some("unsupported_media_type"))
    );
    assert_eq!(wrong.headers["allow"], "POST");
    server.stop().await;
}

#[tokio::test]
async fn a_pack_is_checked_and_tried_without_changing_anything() {
    let server = Server::new().await;
    let rollouts = json!([Server::rollout("see the work order .")]);
    let fine = json!({ "packs": [{ "name": "words.yaml", "text": Server::pack() }], "rollouts": rollouts });
    let checked = server.post("/v1/rules/check", &fine).await.json();
    assert_eq!(checked["ok"], true);
    assert_eq!(checked["results"][0]["turns"][0]["rules"]["hits"][0]["rule"], "internal");
    let broken = json!({ "packs": [{ "name": "words.yaml", "text": Server::pack().replace("points: -50", "pionts: -50") }] });
    let checked = server.post("/v1/rules/check", &broken).await.json();
    assert_eq!(checked["ok"], false);
    assert!(checked["report"].as_str().unwrap().contains("words.yaml:"), "{checked}");
    assert!(!checked["diagnostics"].as_array().unwrap().is_empty());
    assert_eq!(server.get("/v1/info").await.json()["generation"], 1);
    server.stop().await;
}
