//! Scoring of dialogues: fused rewards with their parts and versions.

use guerdon_tests::Server;
use serde_json::json;

fn near(value: &serde_json::Value, expected: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - expected).abs() < 1e-9)
}

#[tokio::test]
async fn every_reward_has_its_parts_and_versions() {
    let server = Server::new().await;
    let reply =
        server.score(&json!({ "rollouts": [Server::rollout("see the work order .")] })).await;
    let (result, versions) = (&reply["results"][0], &reply["versions"]);
    let turn = &result["turns"][0];
    assert_eq!(result["id"], "0");
    assert_eq!(turn["index"], 1);
    assert_eq!(turn["rules"]["hits"][0]["rule"], "internal");
    assert_eq!(turn["rules"]["hits"][0]["spans"], json!([[8, 18]]));
    assert!(near(&turn["enhancement"], -50.0), "{turn}");
    // The paper's formula, applied to the parts in the reply.
    let rm = turn["rm"]["score"].as_f64().unwrap();
    assert!(near(&turn["reward"], rm - rm.abs() * 0.5), "{turn}");
    assert_eq!(result["reward"], turn["reward"]);
    assert!(turn["rm"]["tokens"].as_u64().unwrap() > 0);
    assert!(versions["rm"].as_str().unwrap().starts_with("sha256:"));
    assert!(versions["rules"]["words"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(versions["fusion"]["method"], "repo");
    assert_eq!(versions["calibration"]["kind"], "raw");
    assert_eq!(versions["generation"], 1);
    assert!(!reply["request_id"].as_str().unwrap().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn empty_batch_returns_an_empty_list() {
    let server = Server::new().await;
    let reply = server.score(&json!({ "rollouts": [] })).await;
    assert_eq!(reply["results"], json!([]));
    assert_eq!(reply["versions"]["generation"], 1);
    server.stop().await;
}

#[tokio::test]
async fn turn_is_scored_by_the_messages_before_it() {
    let server = Server::new().await;
    let messages = json!([
        { "role": "assistant", "content": "we guarantee it ." },
        { "role": "user", "content": "and the price ?" },
        { "role": "assistant", "content": "480 ." },
    ]);
    let reply = server
        .score(&json!({ "rollouts": [
            { "id": "all", "messages": messages, "score": "all" },
            { "id": "first", "messages": messages, "score": [0] },
            { "id": "last", "messages": messages },
        ]}))
        .await;
    let turns = |index: usize| reply["results"][index]["turns"].as_array().unwrap().clone();
    assert_eq!(turns(0).len(), 2);
    for (one, other) in [(&turns(0)[0], &turns(1)[0]), (&turns(0)[1], &turns(2)[0])] {
        assert_eq!((&one["index"], &one["rules"]), (&other["index"], &other["rules"]));
        let raw = |turn: &serde_json::Value| turn["rm"]["raw"].as_f64().unwrap();
        assert!((raw(one) - raw(other)).abs() <= 1e-6);
    }
    assert_eq!(turns(0)[0]["rules"]["hits"][0]["veto"], true);
    assert_eq!(
        reply["results"][0]["reward"],
        turns(0)[1]["reward"],
        "the rollout's reward is its last turn's"
    );
    server.stop().await;
}

#[tokio::test]
async fn turn_rewards_are_aggregated_by_the_requested_method() {
    let server = Server::new().await;
    let rollout = json!({ "score": "all", "messages": [
        { "role": "assistant", "content": "see the work order ." },
        { "role": "assistant", "content": "480 ." },
    ]});
    for (how, expected) in [("last", 0.0), ("mean", -0.25), ("sum", -0.5), ("min", -0.5)] {
        let fusion = json!({ "method": "weighted_sum", "aggregate": how });
        let request = json!({ "rollouts": [rollout], "sources": ["rules"], "fusion": fusion });
        let reward = server.score(&request).await["results"][0]["reward"].clone();
        assert!(near(&reward, expected), "{how}: {reward}");
    }
    server.stop().await;
}

#[tokio::test]
async fn veto_caps_a_gated_reward_at_the_floor() {
    let server = Server::new().await;
    let request = |reply: &str| {
        json!({ "rollouts": [Server::rollout(reply)],
                "fusion": { "method": "gated", "inner": "weighted_sum", "floor": -9.5 } })
    };
    let vetoed = server.score(&request("we guarantee it .")).await;
    assert!(vetoed["results"][0]["reward"].as_f64().unwrap() <= -9.5);
    let free = server.score(&request("480 .")).await;
    assert!(free["results"][0]["reward"].as_f64().unwrap() > -9.5);
    server.stop().await;
}

#[tokio::test]
async fn reply_has_the_group_advantages() {
    let server = Server::new().await;
    let sample = |id: &str, reply: &str| {
        let mut rollout = Server::rollout(reply);
        rollout["id"] = json!(id);
        rollout["group"] = json!("prompt-3");
        rollout
    };
    let request = json!({
        "rollouts": [sample("bad", "see the work order ."), sample("good", "480 .")],
        "sources": ["rules"], "fusion": { "method": "weighted_sum" },
        "advantages": { "estimator": "dr_grpo" },
    });
    let results = server.score(&request).await["results"].clone();
    assert!(near(&results[0]["advantage"], -0.25), "{results}");
    assert!(near(&results[1]["advantage"], 0.25), "{results}");
    server.stop().await;
}

#[tokio::test]
async fn info_has_sources_versions_and_limits() {
    let server = Server::new().await;
    let info = server.get("/v1/info").await.json();
    assert_eq!(info["default_profile"], "test");
    let sources = info["profiles"]["test"]["sources"].as_array().unwrap();
    assert_eq!(
        sources.iter().map(|s| s["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["rm", "rules"]
    );
    assert_eq!(info["limits"]["max_rollouts"], 4096);
    let rules = server.get("/v1/rules").await.json();
    assert_eq!(rules["profiles"]["test"][0]["id"], "words");
    assert_eq!(server.get("/healthz").await.text, "ok\n");
    assert_eq!(server.get("/readyz").await.status, 200);
    assert!(server.get("/docs/").await.text.contains("swagger"));
    assert!(server.get("/openapi.json").await.json()["paths"]["/v1/score"]["post"].is_object());
    server.stop().await;
}
