//! Text of a request returns in errors and logs only in part: a key, name or value of a megabyte is
//! refused with a reply of a few kilobytes.

use guerdon_tests::{Reply, Server};
use serde_json::{Value, json};

/// The largest reply to a refused request, in bytes.
const MAX_REPLY: usize = 8 << 10;

/// Long texts: plain, with the characters that error messages use as quotes, and with characters
/// of several bytes.
fn long_texts() -> Vec<String> {
    let bytes = 1 << 20;
    ["k", "`k`, ", "\"\\", "价", "/~", "expected `rollouts`, "]
        .map(|part| part.repeat(bytes / part.len()))
        .to_vec()
}

/// Every POST route of the OpenAPI document that may be sent anything. (`/verify` repeats its
/// request by contract; administration reads no body.)
fn routes() -> Vec<String> {
    let document: Value =
        serde_json::from_str(include_str!("../../openapi/guerdon.v1.json")).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let exempt = ["/verify", "/v1/reload", "/v1/rollback", "/v1/promote", "/seed_session"];
    let posted = paths
        .iter()
        .filter(|(path, item)| item["post"].is_object() && !exempt.contains(&path.as_str()));
    posted.map(|(path, _)| path.clone()).collect()
}

/// Bodies with `text` in the places that routes read.
fn bodies(text: &str) -> Vec<Value> {
    let rollout = |key: &str, value: Value| {
        let mut rollout = Server::rollout("480 .");
        rollout[key] = value;
        json!({ "rollouts": [rollout] })
    };
    let setting = |key: &str, value: Value| {
        let mut request = json!({ "rollouts": [Server::rollout("480 .")] });
        request[key] = value;
        request
    };
    let foreign = |key: &str| json!({ key: text, "messages": [{ "role": text, "content": "a" }] });
    vec![
        json!(text),
        json!([text]),
        json!({ text: 1 }),
        json!({ text: text }),
        setting(text, json!(1)),
        setting("profile", json!(text)),
        setting("sources", json!([text])),
        setting("sources", json!(vec!["x"; 10_000])),
        setting("fusion", json!({ "method": text })),
        setting("fusion", json!({ text: 1 })),
        setting("advantages", json!({ "estimator": text })),
        setting("deadline_ms", json!(text)),
        setting("expect", json!({ "digest": text })),
        rollout(text, json!(1)),
        rollout("id", json!(text)),
        rollout("group", json!(text)),
        rollout("score", json!(text)),
        rollout("score", json!([text])),
        rollout("context", json!(text)),
        rollout("messages", json!([{ "role": text, "content": "a" }])),
        rollout("messages", json!([{ "role": "user", text: "a" }])),
        json!({ "packs": [{ "name": text, "text": text }] }),
        json!({ "packs": [{ "name": "p", "text": format!("{text}: 1") }] }),
        json!({ "packs": [{ "name": "p", "text": format!("pack: p\nrules: [{{ id: \"{}\" }}]", text.replace(['"', '\\'], "")) }] }),
        foreign("model"),
        foreign("input"),
        foreign("query"),
        foreign("prompt"),
        json!({ "query": [1], "prompts": [text] }),
        json!({ "model": text, "input": [1] }),
        json!({ "model": text, "input": ["a"] }),
        json!({ "model": text, "input": "a", "encoding_format": text }),
        json!({ "model": text, "messages": [["a"]] }),
        json!({ "model": text, "query": "a", "documents": ["b"] }),
        json!({ "model": text, "query": "a", "texts": ["b"] }),
        json!({ "model": text, "text_1": "a", "text_2": "b" }),
        json!({ "model": text, "queries": "a", "documents": "b" }),
        json!({ "model": text, "inputs": "a" }),
        json!({ "model": text, "text": ["a"] }),
        json!({ "model": text, "messages": 3, "text": 3, "query": 3 }),
        json!({ "verify_responses": [{ "_ng_task_index": text }, { "_ng_task_index": text }] }),
    ]
}

/// Notes a reply that is too long, or an internal error.
fn check(reply: &Reply, what: &str, faults: &mut Vec<String>) {
    if reply.status == 500 || reply.text.len() > MAX_REPLY {
        let shown: String = reply.text.chars().take(200).collect();
        faults.push(format!("{what}: {}, {} bytes: {shown}", reply.status, reply.text.len()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reply_repeats_a_long_text() {
    let server = Server::new().await;
    let texts = long_texts();
    let mut faults = Vec::new();
    for route in routes() {
        for (place, body) in bodies(&texts[0]).iter().enumerate() {
            let reply = server.post(&route, body).await;
            check(&reply, &format!("{route}, body {place}"), &mut faults);
        }
    }
    for (kind, text) in texts.iter().enumerate() {
        for (place, body) in bodies(text).iter().enumerate() {
            let reply = server.post("/v1/score", body).await;
            check(&reply, &format!("/v1/score, text {kind}, body {place}"), &mut faults);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    server.stop().await;
}

#[tokio::test]
async fn no_reply_repeats_a_long_path_query_or_header() {
    let server = Server::new().await;
    let long = "k".repeat(30_000);
    let mut faults = Vec::new();
    for target in [
        format!("/{long}"),
        format!("/v1/score/{long}"),
        format!("/profiles/{long}/get_reward"),
        format!("/get_reward?profile={long}"),
        format!("/get_reward?on_failure={long}"),
        format!("/get_reward?score={long}"),
        format!("/get_reward?sources={long}"),
        format!("/get_reward?{long}=1"),
    ] {
        let body = json!({ "query": ["a"], "prompts": [""] });
        let reply = server.post(&target, &body).await;
        check(&reply, &target[..target.len().min(30)], &mut faults);
    }
    for header in ["content-type", "content-encoding", "accept", "authorization", "x-request-id"] {
        let request = server.http.post(format!("{}/v1/score", server.url)).body("{}");
        let request = match header {
            "content-type" => request,
            _ => request.header("content-type", "application/json"),
        };
        let reply = Reply::read(request.header(header, &long).send().await.unwrap()).await;
        check(&reply, header, &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    server.stop().await;
}
