//! Scopes, tokens in URLs, and the brake on guesses.

use guerdon_tests::Server;
use serde_json::json;

use super::{light, other_client};

const TOKENS: &str = r#"
[auth]
tokens = [
  { name = "score", file = "score-token", scopes = ["score"] },
  { name = "read", file = "read-token", scopes = ["read"] },
  { name = "check", file = "check-token", scopes = ["check"] },
  { name = "admin", file = "admin-token", scopes = ["admin"] },
]
"#;

fn secret(name: &str) -> String {
    format!("secret-of-{name}-in-the-tests")
}

async fn server() -> Server {
    let names = ["score", "read", "check", "admin"];
    let files = names.map(|name| (format!("{name}-token"), secret(name)));
    let files = files.each_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    Server::with(TOKENS, &files).await
}

#[tokio::test]
async fn each_scope_opens_its_routes() {
    let server = server().await;
    let routes = [
        ("GET", "/v1/info", json!(null), "score read admin"),
        ("GET", "/metrics", json!(null), "score read admin"),
        ("GET", "/v1/rules", json!(null), "score read admin"),
        ("POST", "/v1/rules/check", json!({ "packs": [] }), "score check"),
        ("POST", "/v1/score", json!({ "rollouts": [] }), "score"),
        ("POST", "/get_reward", json!({ "query": [] }), "score"),
        ("POST", "/v1/reload", json!(null), "admin"),
    ];
    for (method, path, body, opened_by) in routes {
        for name in ["score", "read", "check", "admin"] {
            let url = format!("{}{path}", server.url);
            let request = server.http.request(method.parse().unwrap(), url);
            let request = request.bearer_auth(secret(name));
            let request = if body.is_null() { request } else { request.json(&body) };
            let status = request.send().await.unwrap().status().as_u16();
            let opens = opened_by.split(' ').any(|scope| scope == name);
            assert_eq!(status == 403, !opens, "{name} {method} {path}: {status}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn admin_token_is_refused_in_a_url() {
    let server = server().await;
    for (method, path, name, status) in [
        ("POST", "/v1/reload", "admin", 403),
        ("GET", "/v1/info", "admin", 403),
        ("POST", "/v1/reload", "score", 403),
        ("GET", "/v1/info", "score", 200),
    ] {
        let url = format!("{}{path}?key={}", server.url, secret(name));
        let sent = server.http.request(method.parse().unwrap(), url).send().await.unwrap();
        assert_eq!(sent.status(), status, "{name} {path}");
        assert!(!sent.text().await.unwrap().contains(&secret(name)));
    }
    server.stop().await;
}

#[tokio::test]
async fn guesses_are_slowed_down_and_other_addresses_are_not_affected() {
    let tokens =
        "[auth]\ntokens = [{ name = \"t\", env = \"TEST_TOKEN\", scopes = [\"score\"] }]\n";
    let server = light("", tokens).await;
    let info = async |client: &reqwest::Client, token: &str| {
        let url = format!("{}/v1/info", server.url);
        client.get(url).bearer_auth(token).send().await.unwrap()
    };
    let other = other_client();
    assert_eq!(info(&other, "let-me-in-please").await.status(), 200);
    let mut refused = 0;
    for guess in 0..300 {
        let reply = info(&server.http, &format!("guess number {guess}")).await;
        match reply.status().as_u16() {
            429 => {
                refused += 1;
                let wait = reply.headers()["retry-after"].to_str().unwrap().parse::<u64>();
                assert!((1..=60).contains(&wait.unwrap()));
            }
            status => assert_eq!(status, 401),
        }
    }
    assert!(refused >= 100, "{refused}");
    assert_eq!(info(&server.http, "let-me-in-please").await.status(), 429);
    assert_eq!(info(&other, "let-me-in-please").await.status(), 200);
    assert_eq!(server.get("/healthz").await.status, 200);
    server.stop().await;
}
