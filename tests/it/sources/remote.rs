//! A user's function behind HTTP, live in a reward.

use guerdon_testing::{ServerReply, StandInServer};
use guerdon_tests::Server;
use serde_json::json;

use super::{HEAD, near, pack};

async fn server(function: &str, more: &str) -> Server {
    let toml = format!(
        "{HEAD}[profiles.test.sources.rm]\nkind = \"model\"\nmodel = \"tiny\"\n\
         [profiles.test.sources.pricing]\nkind = \"http\"\nurl = \"{function}/score\"\nscale = 100\n{more}"
    );
    Server::from_config(&toml, &[("a.yaml", &pack("a", "a", -1, false))]).await
}

fn answer(version: &str, result: &serde_json::Value) -> ServerReply {
    ServerReply::body(200, json!({ "version": version, "results": [result] }).to_string())
}

#[tokio::test]
async fn number_of_a_function_is_scaled_fused_and_explained() {
    let result = json!({ "value": -0.25, "components": { "margin": 3 }, "spans": [[0, 3]],
                         "detail": { "price": 480 } });
    let function = StandInServer::start([answer("v7", &result)]).await;
    let server = server(function.url(), "").await;
    let reply = server.score(&json!({ "rollouts": [Server::rollout("480 .")] })).await;
    let turn = &reply["results"][0]["turns"][0];
    let (rm, part) = (turn["rm"]["score"].as_f64().unwrap(), &turn["parts"]["pricing"]);
    assert!(near(&turn["reward"], rm - rm.abs() * 0.25), "{turn}");
    assert_eq!(
        (&part["kind"], &part["value"], &part["weight"]),
        (&json!("http"), &json!(-0.25), &json!(100.0))
    );
    assert_eq!(part["components"], json!({ "margin": 3.0 }));
    assert_eq!(part["evidence"], json!([{ "spans": [[0, 3]] }]));
    assert_eq!((&part["detail"], &part["version"]), (&json!({ "price": 480 }), &json!("v7")));
    assert_eq!(reply["versions"]["other"]["pricing"], "v7", "{}", reply["versions"]);
    server.stop().await;
}

#[tokio::test]
async fn silent_function_abstains_by_its_name() {
    let function = StandInServer::start([answer("v7", &json!({ "abstain": "no price" }))]).await;
    let server = server(function.url(), "on_abstain = \"skip\"\n").await;
    let reply = server.score(&json!({ "rollouts": [Server::rollout("480 .")] })).await;
    let turn = &reply["results"][0]["turns"][0];
    assert_eq!(turn["abstained"][0]["source"], "pricing");
    assert!(turn["abstained"][0]["detail"].as_str().unwrap().contains("no price"));
    assert_eq!(turn["reward"], turn["rm"]["score"]);
    server.stop().await;
}
