//! Tokens, scopes, and limits on requests.

use guerdon_tests::Server;
use serde_json::json;

const TOKENS: &str =
    "[auth]\ntokens = [{ name = \"trainer\", env = \"TEST_TOKEN\", scopes = [\"score\"] }]\n";

#[tokio::test]
async fn token_is_required_and_its_scope_enforced() {
    let server = Server::with(TOKENS, &[]).await;
    let none = server.post("/v1/score", &json!({ "rollouts": [] })).await;
    assert_eq!((none.status, none.json()["code"].as_str()), (401, Some("unauthorized")));
    let with = |path: &str| {
        server.http.post(format!("{}{path}", server.url)).bearer_auth("let-me-in-please")
    };
    assert_eq!(
        with("/v1/score").json(&json!({ "rollouts": [] })).send().await.unwrap().status(),
        200
    );
    assert_eq!(with("/v1/reload").send().await.unwrap().status(), 403);
    assert_eq!(server.get("/metrics").await.status, 401);
    assert_eq!(server.get("/healthz").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn reload_cannot_remove_the_tokens_of_a_public_server() {
    let open = Server::config().replace("127.0.0.1:0", "0.0.0.0:0");
    let server = Server::from_config(&format!("{open}{TOKENS}"), &[]).await;
    server.replace("guerdon.toml", &Server::resolved(&open));
    let url = server.url.replace("0.0.0.0", "127.0.0.1");
    let asked = server.http.post(format!("{url}/v1/score")).json(&json!({ "rollouts": [] }));
    let refused = async {
        let info =
            || server.http.get(format!("{url}/v1/info")).bearer_auth("let-me-in-please").send();
        while info().await.unwrap().json::<serde_json::Value>().await.unwrap()["last_reload_error"]
            .is_null()
        {}
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), refused)
        .await
        .expect("the reload was refused");
    assert_eq!(asked.send().await.unwrap().status(), 401, "tokens are still required");
    server.stop().await;
}

#[tokio::test]
async fn requests_over_the_concurrency_limit_get_503_with_retry_after() {
    let server = Server::with("[limits]\nmax_concurrent_requests = 0\n", &[]).await;
    let shed = server.post("/v1/score", &json!({ "rollouts": [] })).await;
    assert_eq!((shed.status, shed.json()["code"].as_str()), (503, Some("overloaded")));
    assert_eq!(shed.headers["retry-after"], "1");
    server.stop().await;
}

#[tokio::test]
async fn requests_over_the_rate_limit_get_retry_after() {
    let slow = Server::config().replace("[server]\n", "[server]\nrequests_per_second = 1\n");
    let server = Server::from_config(&slow, &[]).await;
    let nothing = json!({ "rollouts": [] });
    let ask = || server.post("/v1/score", &nothing);
    let replies = [ask().await, ask().await, ask().await];
    assert_eq!(replies[0].status, 200);
    let refused =
        replies.iter().find(|reply| reply.status == 429).expect("one of three within a second");
    assert_eq!(refused.json()["code"], "rate_limited");
    assert_eq!(refused.headers["retry-after"], "1");
    // Health and metrics of a busy server must stay readable.
    assert_eq!(server.get("/healthz").await.status, 200);
    server.stop().await;
}
