//! Metrics count requests, rollouts, hits and batches.

use guerdon_tests::Server;
use serde_json::json;

#[tokio::test]
async fn requests_rollouts_hits_and_batches_are_counted() {
    let server = Server::new().await;
    server
        .score(&json!({ "rollouts": [Server::rollout("see the work order ."), Server::rollout("480 .")] }))
        .await;
    for (metric, label, expected) in [
        ("guerdon_http_requests_total", r#"route="/v1/score""#, 1.0),
        ("guerdon_rollouts_total", r#"outcome="scored""#, 2.0),
        ("guerdon_rule_hits_total", r#"rule="internal""#, 1.0),
        ("guerdon_source_duration_seconds_count", r#"source="rm""#, 2.0),
        ("guerdon_model_batch_items_sum", r#"model="tiny""#, 2.0),
        ("guerdon_generation", "", 1.0),
    ] {
        let value = server.metric(metric, label).await;
        assert!((value - expected).abs() < 1e-9, "{metric} {label}: {value}");
    }
    server.stop().await;
}
