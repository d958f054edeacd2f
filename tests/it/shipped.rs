//! The shipped configuration, model, packs and dialogues, with the request of the README.

use std::collections::BTreeMap;
use std::sync::Arc;

use guerdon_server::config::{ConfigSource, Override};
use guerdon_server::{Engine, start};
use guerdon_tests::{Reply, http_client, repository};
use serde_json::Value;

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test reads the shipped request")]
async fn shipped_request_returns_fused_rewards_with_every_part() {
    let source = ConfigSource {
        file: Some(repository().join("guerdon.toml")),
        environment: Arc::new(BTreeMap::new()),
        overrides: vec![Override::new("--listen", &["server", "listen"], "127.0.0.1:0")],
    };
    let engine = tokio::task::spawn_blocking(move || Engine::load(source)).await.unwrap().unwrap();
    let running = start(engine).await.unwrap();
    let request = std::fs::read(repository().join("examples/data/request.json")).unwrap();
    let wanted: Value = serde_json::from_slice(&request).unwrap();
    let sent = http_client()
        .post(format!("http://{}/v1/score", running.address))
        .header("content-type", "application/json")
        .body(request);
    let reply = Reply::read(sent.send().await.unwrap()).await.json();
    let results = reply["results"].as_array().unwrap();
    assert_eq!(results.len(), wanted["rollouts"].as_array().unwrap().len());
    for result in results {
        assert!(result["reward"].is_number(), "{result}");
        let turn = result["turns"].as_array().unwrap().last().unwrap();
        assert!(turn["rm"]["score"].is_number() && turn["rules"]["points"].is_number(), "{turn}");
        assert_eq!(turn["abstained"], serde_json::json!([]), "{turn}");
    }
    let hits = results
        .iter()
        .flat_map(|result| result["turns"].as_array().unwrap())
        .map(|turn| &turn["rules"]["hits"]);
    assert!(
        hits.flat_map(|hits| hits.as_array().unwrap()).any(|hit| hit["rule"] == "internal-words"),
        "{reply}"
    );
    assert_eq!(reply["versions"]["calibration"]["kind"], "standardised");
    assert_eq!(reply["versions"]["rules"].as_object().unwrap().len(), 8);
    assert!(running.stop().await);
}
