//! Results stream as they become final; bodies may be compressed.

use guerdon_client::Client;
use guerdon_tests::Server;
use guerdon_types::ScoreRequest;
use serde_json::{Value, json};

#[tokio::test]
async fn stream_has_one_line_per_result_and_then_the_summary() {
    let server = Server::new().await;
    let rollouts: Vec<Value> = (0..70).map(|n| Server::rollout(&format!("{n} ."))).collect();
    let reply = server
        .http
        .post(format!("{}/v1/score", server.url))
        .header("accept", "application/x-ndjson")
        .json(&json!({ "rollouts": rollouts }))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.headers()["content-type"], "application/x-ndjson");
    let lines: Vec<Value> =
        reply.text().await.unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let (summary, results) = lines.split_last().unwrap();
    let mut indices: Vec<_> = results.iter().map(|line| line["index"].as_u64().unwrap()).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..70).collect::<Vec<_>>());
    assert_eq!(summary["results"], 70);
    assert_eq!(summary["versions"]["generation"], 1);
    server.stop().await;
}

#[tokio::test]
async fn compressed_bodies_are_accepted_and_replies_compressed() {
    let server = Server::new().await;
    // The output of `printf '{"rollouts":[]}' | gzip -n` and `| zstd`, so that the server is tested
    // against independent compressors.
    let gzip: &[u8] = &[
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0x56, 0x2a, 0xca, 0xcf, 0xc9, 0xc9, 0x2f, 0x2d,
        0x29, 0x56, 0xb2, 0x8a, 0x8e, 0xad, 5, 0, 0xc9, 0xc8, 0x2e, 0xa5, 0x0f, 0, 0, 0,
    ];
    let post = |encoding: &'static str, body: Vec<u8>| {
        server
            .http
            .post(format!("{}/v1/score", server.url))
            .header("content-type", "application/json")
            .header("content-encoding", encoding)
            .body(body)
            .send()
    };
    assert_eq!(post("gzip", gzip.to_vec()).await.unwrap().status(), 200);
    let document =
        server.http.get(format!("{}/openapi.json", server.url)).header("accept-encoding", "zstd");
    assert_eq!(document.send().await.unwrap().headers()["content-encoding"], "zstd");
    server.stop().await;
}

#[tokio::test]
async fn client_crate_keeps_the_order_over_several_requests() {
    let server = Server::new().await;
    let rollouts = (0..50)
        .map(|n| serde_json::from_value(Server::rollout(&format!("{n} ."))).unwrap())
        .collect();
    let request = ScoreRequest { rollouts, ..ScoreRequest::default() };
    let client = Client::builder(&server.url).chunk(16).build().unwrap();
    let scored = client.score(&request).await.unwrap();
    assert_eq!(scored.results.len(), 50);
    assert!(
        scored.results.iter().enumerate().all(|(n, result)| result.id.as_str() == n.to_string())
    );
    assert!(scored.rewards().iter().all(Option::is_some));
    assert_eq!(scored.one_version().unwrap().generation, 1);
    server.stop().await;
}

#[tokio::test]
async fn every_reply_has_the_servers_version() {
    let server = Server::new().await;
    for path in ["/healthz", "/v1/info", "/nowhere"] {
        let reply = server.get(path).await;
        assert_eq!(reply.headers["guerdon-version"], env!("CARGO_PKG_VERSION"), "{path}");
    }
    server.stop().await;
}
