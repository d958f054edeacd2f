//! A profile for each rollout of a request.

use guerdon_tests::Server;
use guerdon_types::ConfigDigest;
use serde_json::{Value, json};

const PROFILES: &str = r#"
[profiles.kind]
rules = ["tone.yaml"]
[profiles.kind.fusion]
method = "weighted_sum"
[profiles.cheap.sources.price]
kind = "rules"
rules = ["price.yaml"]
[profiles.cheap.fusion]
method = "weighted_sum"
"#;

fn rollout(profile: Option<&str>, group: &str, reply: &str) -> Value {
    let mut rollout = Server::rollout(reply);
    rollout["group"] = group.into();
    if let Some(profile) = profile {
        rollout["profile"] = profile.into();
    }
    rollout
}

/// A server with the default profile `kind`.
async fn start() -> Server {
    let toml = format!("default_profile = \"kind\"\n{}{PROFILES}", super::HEAD);
    let packs = [("price.yaml", "price", "480", -40), ("tone.yaml", "tone", "whatever", -30)]
        .map(|(file, id, word, points)| (file, super::pack(id, word, points, false)));
    let files: Vec<(&str, &str)> =
        packs.iter().map(|(file, text)| (*file, text.as_str())).collect();
    Server::from_config(&toml, &files).await
}

fn rewards(reply: &Value) -> Vec<Option<f64>> {
    let results = reply["results"].as_array().unwrap();
    results.iter().map(|result| result["reward"].as_f64()).collect()
}

#[tokio::test]
async fn every_rollout_is_scored_by_its_profile_and_an_unknown_one_fails_alone() {
    let server = start().await;
    let reply = server
        .score(&json!({ "rollouts": [
            rollout(None, "a", "480, whatever ."),
            rollout(Some("cheap"), "a", "480, whatever ."),
            rollout(Some("chaep"), "a", "480, whatever ."),
            rollout(Some("kind"), "a", "480 ."),
        ]}))
        .await;
    assert_eq!(rewards(&reply), [Some(-0.3), Some(-0.4), None, Some(0.0)]);
    let error = &reply["results"][2]["error"];
    assert_eq!(
        (&error["code"], &error["pointer"]),
        (&json!("unknown_profile"), &json!("/rollouts/2/profile"))
    );
    assert!(error["detail"].as_str().unwrap().contains("`cheap`"), "{error}");
    assert_eq!(reply["versions"]["profile"], "kind");
    assert_eq!(reply["profiles"]["cheap"]["profile"], "cheap");
    assert!(reply["profiles"]["cheap"]["rules"]["price"].is_string());
    assert_eq!(reply["profiles"].as_object().unwrap().len(), 1);
    let turns = |index: usize| &reply["results"][index]["turns"][0];
    assert!(turns(0)["rules"].is_object() && turns(0).get("parts").is_none());
    assert!(turns(1)["parts"]["price"].is_object() && turns(1).get("rules").is_none());
    server.stop().await;
}

#[tokio::test]
async fn advantages_compare_rollouts_of_one_profile() {
    let server = start().await;
    let body = |estimator: &str| {
        json!({ "advantages": { "estimator": estimator }, "rollouts": [
            rollout(None, "g", "whatever ."),
            rollout(Some("cheap"), "g", "480 ."),
            rollout(None, "g", "ok ."),
            rollout(Some("cheap"), "g", "ok ."),
        ]})
    };
    let reply = server.score(&body("dr_grpo")).await;
    let advantage = |index: usize| reply["results"][index]["advantage"].as_f64().unwrap();
    for (index, wanted) in [(0, -0.15), (1, -0.2), (2, 0.15), (3, 0.2)] {
        assert!((advantage(index) - wanted).abs() < 1e-9, "{index}: {reply}");
    }
    // The standard deviation of a whole batch is that of one profile.
    let whole = server.score(&body("batch_std")).await;
    for profile in [None, Some("cheap")] {
        let mut alone = body("batch_std");
        let rollouts = alone["rollouts"].as_array_mut().unwrap();
        rollouts.retain(|one| one.get("profile").and_then(Value::as_str) == profile);
        let alone = server.score(&alone).await;
        let results = whole["results"].as_array().unwrap();
        let of_profile = results.iter().skip(usize::from(profile.is_some())).step_by(2);
        for (one, other) in of_profile.zip(alone["results"].as_array().unwrap()) {
            assert_eq!(one["advantage"], other["advantage"]);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn request_whose_rollouts_all_name_a_profile_needs_no_other() {
    let server = start().await;
    let reply = server
        .score(&json!({ "sources": ["price"], "rollouts": [
            rollout(Some("nowhere"), "g", "480 ."),
            rollout(Some("cheap"), "g", "480 ."),
            rollout(Some("cheap"), "g", "ok ."),
        ]}))
        .await;
    assert_eq!(rewards(&reply), [None, Some(-0.4), Some(0.0)], "{reply}");
    let mixed = server
        .score(&json!({ "sources": ["rules"], "rollouts": [
            rollout(None, "g", "whatever ."),
            rollout(Some("cheap"), "g", "480 ."),
        ]}))
        .await;
    assert_eq!(rewards(&mixed), [Some(-0.3), None]);
    let error = &mixed["results"][1]["error"];
    assert_eq!(
        (&error["code"], &error["pointer"]),
        (&json!("unknown_source"), &json!("/rollouts/1/profile"))
    );
    server.stop().await;
}

#[tokio::test]
async fn streamed_reply_has_the_versions_of_every_profile() {
    let server = start().await;
    let body = json!({ "rollouts": [
        rollout(None, "g", "whatever ."),
        rollout(Some("cheap"), "g", "480 ."),
    ]});
    let request = server.http.post(format!("{}/v1/score", server.url)).json(&body);
    let reply = request.header("accept", "application/x-ndjson").send().await.unwrap();
    let text = reply.text().await.unwrap();
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["versions"]["profile"], "kind");
    assert_eq!(summary["profiles"]["cheap"]["profile"], "cheap");
    server.stop().await;
}

#[tokio::test]
async fn a_request_expects_the_digest_of_every_profile_of_its_rollouts() {
    let server = start().await;
    let info = server.get("/v1/info").await.json();
    let digest = |profile: &str| info["profiles"][profile]["versions"]["digest"].clone();
    let other = json!(ConfigDigest::of("another configuration"));
    let ask = |own: &Value, profiles: Value, names: [&str; 2]| {
        json!({
            "rollouts": names.map(|name| rollout(Some(name), "a", "480 .")),
            "expect": { "digest": own, "profiles": profiles },
        })
    };
    let (kind, cheap) = (digest("kind"), digest("cheap"));
    for (own, profiles, names, pointer) in [
        (&kind, json!({}), ["kind", "cheap"], None),
        (&kind, json!({ "cheap": cheap, "kind": kind }), ["kind", "cheap"], None),
        // Without a profile of its own, the request's is that of its first rollout.
        (&cheap, json!({ "kind": kind }), ["cheap", "kind"], None),
        (&kind, json!({}), ["cheap", "kind"], Some("/expect/digest")),
        (&kind, json!({ "cheap": other }), ["kind", "cheap"], Some("/expect/profiles/cheap")),
        (&kind, json!({ "cheap": kind }), ["kind", "kind"], Some("/expect/profiles/cheap")),
    ] {
        let body = ask(own, profiles, names);
        let reply = server.post("/v1/score", &body).await;
        assert_eq!(
            reply.status,
            if pointer.is_some() { 409 } else { 200 },
            "{body}: {}",
            reply.text
        );
        assert_eq!(reply.json()["pointer"].as_str(), pointer, "{body}");
    }
    let unknown =
        server.post("/v1/score", &ask(&kind, json!({ "chaep": kind }), ["kind"; 2])).await;
    assert_eq!(unknown.json()["code"], "unknown_profile", "{}", unknown.text);
    assert_eq!(unknown.json()["pointer"], "/expect/profiles/chaep");
    server.stop().await;
}
