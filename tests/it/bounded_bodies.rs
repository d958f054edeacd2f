//! A body costs memory and time in proportion to its size, whatever its form.

use guerdon_tests::Server;
use serde_json::{Value, json};

/// Routes with a list of items, with a body of `count` items.
fn lists(count: usize) -> Vec<(&'static str, Value)> {
    let texts = vec!["a"; count];
    vec![
        ("/get_reward", json!({ "query": texts, "prompts": vec![""; count] })),
        ("/classify", json!({ "model": "m", "input": texts })),
        ("/classify", json!({ "text": texts })),
        ("/pooling", json!({ "model": "m", "input": texts })),
        ("/v1/embeddings", json!({ "model": "m", "input": texts })),
        ("/v1/score/evaluation", json!({ "model": "m", "messages": texts })),
        ("/rerank", json!({ "query": "q", "documents": texts })),
        ("/rerank", json!({ "query": "q", "texts": texts })),
        ("/score", json!({ "queries": "q", "documents": texts })),
        ("/predict", json!({ "inputs": texts.iter().map(|text| [text]).collect::<Vec<_>>() })),
    ]
}

#[tokio::test]
async fn list_of_too_many_items_is_refused_on_every_route() {
    let server = Server::with("[limits]\nmax_rollouts = 10\n", &[]).await;
    for (route, body) in lists(10) {
        let reply = server.post(route, &body).await;
        assert_eq!(reply.status, 200, "{route}: {}", reply.text);
    }
    for (route, body) in lists(11) {
        let reply = server.post(route, &body).await;
        assert_eq!(reply.json()["code"], "too_large", "{route}: {}", reply.text);
        assert!(reply.text.contains("11 rollouts exceed"), "{route}: {}", reply.text);
    }
    server.stop().await;
}

#[tokio::test]
async fn query_that_is_paired_with_many_documents_does_not_multiply_its_memory() {
    let server = Server::with("[limits]\nmax_body_bytes = 100000\n", &[]).await;
    let (query, many, few) = ("q".repeat(50_000), vec!["d"; 9], vec!["d"; 7]);
    for (route, key, list) in [
        ("/rerank", "query", "documents"),
        ("/rerank", "query", "texts"),
        ("/score", "queries", "documents"),
    ] {
        let reply = server.post(route, &json!({ key: query, list: few })).await;
        assert_eq!(reply.status, 200, "{route}: {}", reply.text);
        let reply = server.post(route, &json!({ key: query, list: many })).await;
        assert_eq!(reply.json()["code"], "too_large", "{route}: {}", reply.text);
    }
    server.stop().await;
}

#[tokio::test]
async fn verified_row_that_has_the_fields_of_a_reply_gets_each_once() {
    let server = Server::new().await;
    let row = json!({
        "responses_create_params": { "input": "480?" },
        "response": { "output": [{ "role": "assistant", "content": "480 ." }] },
        "reward": 17.0, "reward_components": { "old": 17.0 }, "rm": 17.0,
    });
    let reply = server.post("/verify", &row).await;
    for field in ["\"reward\":", "\"reward_components\":", "\"rm\":17"] {
        assert_eq!(reply.text.matches(field).count(), 1, "{field}: {}", reply.text);
    }
    assert!(reply.json()["reward"].as_f64().unwrap() < 17.0, "{}", reply.text);
    server.stop().await;
}

#[tokio::test]
async fn context_of_empty_lists_or_with_a_key_twice_fails_its_rollout_alone() {
    let server = Server::new().await;
    let good = Server::rollout("480 .");
    let message = r#""messages": [{"role": "assistant", "content": "480 ."}]"#;
    let lists = vec!["[]"; 4 << 20].join(",");
    for (context, pointer) in [
        (format!(r#"{{"a": [{lists}]}}"#), "/rollouts/1/context/a"),
        (r#"{"price": {"x": 1, "x": 2}}"#.to_owned(), "/rollouts/1/context/price/x"),
    ] {
        let body = format!(r#"{{"rollouts": [{good}, {{{message}, "context": {context}}}]}}"#);
        let request = server.http.post(format!("{}/v1/score", server.url)).body(body);
        let sent = request.header("content-type", "application/json").send().await.unwrap();
        let reply: Value = sent.json().await.unwrap();
        assert!(reply["results"][0]["reward"].is_number(), "{reply}");
        let at = reply["results"][1]["error"]["pointer"].as_str().unwrap();
        assert!(at.starts_with(pointer), "{at}");
    }
    server.stop().await;
}
