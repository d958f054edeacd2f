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

const MISSING_FACTS: &str = "
pack: facts
about: Rules that need facts.
facts: { target_price: number, stage: [quote, close] }
rules:
  - id: above
    about: Nothing above the target.
    points: -10
    match: { number: { unit: [USD] } }
    where: value > context.target_price
    examples:
      hits: [{ text: 480 USD, context: { target_price: 420 } }]
      misses: [{ text: 400 USD, context: { target_price: 420 } }]
  - id: early
    about: No deal while quoting.
    points: -10
    shadow: true
    when: { context.stage: quote }
    match: { any_of: [deal] }
    examples:
      hits: [{ text: deal, context: { stage: quote } }]
      misses: [{ text: deal, context: { stage: close } }]
";

#[tokio::test]
async fn rules_that_lack_a_fact_are_counted_each() {
    let server = Server::with("", &[("rules.yaml", MISSING_FACTS)]).await;
    let turn = |reply: &str, context: serde_json::Value| json!({ "messages": [{ "role": "assistant", "content": reply }], "context": context });
    let rollouts = [
        // The words that a rule needs do not occur: no fact is missing.
        turn("hello .", json!({})),
        turn("480 USD , deal .", json!({})),
        turn("480 USD .", json!({ "stage": "quote" })),
        turn("480 USD , deal .", json!({ "target_price": 420, "stage": null })),
        turn("480 USD , deal .", json!({ "target_price": 420, "stage": "close" })),
    ];
    server.score(&json!({ "rollouts": rollouts })).await;
    for (rule, expected) in [("above", 2.0), ("early", 2.0)] {
        let label = format!(r#"pack="facts",rule="{rule}""#);
        let value = server.metric("guerdon_rule_missing_facts_total", &label).await;
        assert!((value - expected).abs() < 1e-9, "{rule}: {value}");
    }
    server.stop().await;
}
