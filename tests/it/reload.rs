//! An edited file is live within a moment; a broken one changes nothing.

use std::time::Duration;

use guerdon_tests::Server;
use serde_json::{Value, json};

async fn points(server: &Server, text: &str) -> Value {
    let request = json!({ "rollouts": [Server::rollout(text)] });
    let reply = server.score(&request).await;
    json!([reply["results"][0]["turns"][0]["rules"]["points"], reply["versions"]["generation"]])
}

/// Asks until the generation is `wanted`; the watcher's own pace is not ours to know.
async fn generation(server: &Server, wanted: u64) {
    let reached = async { while server.get("/v1/info").await.json()["generation"] != wanted {} };
    tokio::time::timeout(Duration::from_secs(30), reached).await.expect("the watcher saw the change");
}

#[tokio::test]
async fn an_edited_pack_is_live_without_a_restart() {
    let server = Server::with("[reload]\ndebounce = \"20ms\"\n", &[]).await;
    assert_eq!(points(&server, "see the work order .").await, json!([-50.0, 1]));
    server.replace("rules.yaml", &Server::pack().replace("points: -50", "points: -70"));
    generation(&server, 2).await;
    assert_eq!(points(&server, "see the work order .").await, json!([-70.0, 2]));
    server.stop().await;
}

#[tokio::test]
async fn a_broken_pack_keeps_the_last_good_version_and_says_why() {
    let server = Server::with("[reload]\nwatch = false\n", &[]).await;
    server.replace("rules.yaml", &Server::pack().replace("points: -50", "pionts: -50"));
    let refused = server.post("/v1/reload", &json!({})).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (422, Some("reload_failed")));
    assert!(refused.json()["detail"].as_str().unwrap().contains("rules.yaml:"), "{}", refused.text);
    assert_eq!(points(&server, "see the work order .").await, json!([-50.0, 1]));
    assert!(server.get("/v1/info").await.json()["last_reload_error"].is_string());
    assert!((server.metric("guerdon_reload_broken", "").await - 1.0).abs() < 1e-9);

    server.replace("rules.yaml", &Server::pack().replace("points: -50", "points: -5"));
    assert_eq!(server.post("/v1/reload", &json!({})).await.json()["generation"], 2);
    assert_eq!(points(&server, "see the work order .").await, json!([-5.0, 2]));
    assert!(server.get("/v1/info").await.json()["last_reload_error"].is_null());
    server.stop().await;
}

#[tokio::test]
async fn a_pack_that_is_added_broken_is_live_as_soon_as_it_is_mended() {
    let config = "[reload]\ndebounce = \"20ms\"\n[profiles.more]\nmodel = \"tiny\"\nrules = [\".\"]\n";
    let config = format!("default_profile = \"test\"\n{}{config}", Server::config());
    let server = Server::from_config(&config, &[]).await;
    let added = Server::pack().replace("pack: words", "pack: more");
    server.replace("more.yaml", &added.replace("points: -50", "pionts: -50"));
    let refused = async { while server.get("/v1/info").await.json()["last_reload_error"].is_null() {} };
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("the watcher saw the new file");
    server.replace("more.yaml", &added);
    generation(&server, 2).await;
    let rules = server.get("/v1/rules").await.json();
    assert_eq!(rules["profiles"]["more"].as_array().unwrap().len(), 2, "{rules}");
    server.stop().await;
}

#[tokio::test]
async fn no_request_fails_or_sees_a_mix_while_packs_are_swapped() {
    let server = Server::with("[reload]\nwatch = false\n", &[]).await;
    let edits = async {
        for version in 2..12 {
            let pack = Server::pack().replace("points: -50", &format!("points: -{version}"));
            server.replace("rules.yaml", &pack);
            assert_eq!(server.post("/v1/reload", &json!({})).await.status, 200);
        }
    };
    let requests = async {
        for _ in 0..60 {
            let seen = points(&server, "see the work order .").await;
            let (points, generation) = (seen[0].as_f64().unwrap(), seen[1].as_f64().unwrap());
            let expected = if generation < 1.5 { -50.0 } else { -generation };
            assert!((points - expected).abs() < 1e-9, "{seen}");
        }
    };
    tokio::join!(edits, requests);
    server.stop().await;
}
