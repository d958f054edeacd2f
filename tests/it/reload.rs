//! An edited file is reloaded without a restart; a broken file changes nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use guerdon_tests::{Server, WAIT_LIMIT, wait_until};
use serde_json::{Value, json};

async fn points(server: &Server, text: &str) -> Value {
    let request = json!({ "rollouts": [Server::rollout(text)] });
    let reply = server.score(&request).await;
    json!([reply["results"][0]["turns"][0]["rules"]["points"], reply["versions"]["generation"]])
}

/// Waits until the generation is `wanted`.
async fn generation(server: &Server, wanted: u64) {
    wait_until("the new generation", WAIT_LIMIT, async || {
        server.get("/v1/info").await.json()["generation"] == wanted
    })
    .await;
}

#[tokio::test]
async fn edited_pack_is_reloaded_without_a_restart() {
    let server = Server::with("[reload]\ndebounce = \"20ms\"\n", &[]).await;
    assert_eq!(points(&server, "see the work order .").await, json!([-50.0, 1]));
    server.replace("rules.yaml", &Server::pack().replace("points: -50", "points: -70"));
    generation(&server, 2).await;
    assert_eq!(points(&server, "see the work order .").await, json!([-70.0, 2]));
    server.stop().await;
}

#[tokio::test]
async fn broken_pack_keeps_the_last_good_version_and_is_reported() {
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
async fn added_broken_pack_is_loaded_once_corrected() {
    let config =
        "[reload]\ndebounce = \"20ms\"\n[profiles.more]\nmodel = \"tiny\"\nrules = [\".\"]\n";
    let config = format!("default_profile = \"test\"\n{}{config}", Server::config());
    let server = Server::from_config(&config, &[]).await;
    let added = Server::pack().replace("pack: words", "pack: more");
    server.replace("more.yaml", &added.replace("points: -50", "pionts: -50"));
    wait_until("the refusal of the new file", WAIT_LIMIT, async || {
        server.get("/v1/info").await.json()["last_reload_error"].is_string()
    })
    .await;
    server.replace("more.yaml", &added);
    generation(&server, 2).await;
    let rules = server.get("/v1/rules").await.json();
    assert_eq!(rules["profiles"]["more"].as_array().unwrap().len(), 2, "{rules}");
    server.stop().await;
}

#[tokio::test]
async fn every_request_during_reloads_uses_one_generation() {
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

#[tokio::test]
async fn rollback_returns_to_the_previous_generation_until_a_file_changes() {
    let server = Server::with("[reload]\nwatch = false\n", &[]).await;
    let nothing = server.post("/v1/rollback", &json!({})).await;
    assert_eq!((nothing.status, nothing.json()["code"].as_str()), (422, Some("reload_failed")));

    server.replace("rules.yaml", &Server::pack().replace("points: -50", "points: -5"));
    assert_eq!(server.post("/v1/reload", &json!({})).await.status, 200);
    assert_eq!(points(&server, "see the work order .").await, json!([-5.0, 2]));
    let back = server.post("/v1/rollback", &json!({})).await.json();
    assert_eq!(back, json!({ "generation": 3, "repeats": 1 }));
    assert_eq!(points(&server, "see the work order .").await, json!([-50.0, 3]));
    // A second rollback returns to the newer generation.
    assert_eq!(
        server.post("/v1/rollback", &json!({})).await.json(),
        json!({ "generation": 4, "repeats": 2 })
    );
    assert_eq!(points(&server, "see the work order .").await, json!([-5.0, 4]));
    server.stop().await;
}

/// Sends the head of a request, runs `meanwhile`, sends the body, and returns the reply's body. The
/// server has read the head before `meanwhile` runs, because it answered `100 Continue`.
async fn interrupted(
    server: &Server,
    (path, body): (&str, &Value),
    meanwhile: impl Future<Output = ()>,
) -> Value {
    let (address, body) = (server.url.trim_start_matches("http://"), body.to_string());
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    socket.read_exact(&mut go_on).unwrap();
    meanwhile.await;
    socket.write_all(body.as_bytes()).unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn request_is_scored_on_the_snapshot_of_its_arrival_despite_a_reload() {
    let config = format!("{}[reload]\nwatch = false\n", Server::config());
    let without_rules = config.replace("rules = [\"rules.yaml\"]", "rules = []");
    let server = Server::from_config(&config, &[]).await;
    let reload = async |config: &str| {
        server.replace("guerdon.toml", &Server::resolved(config));
        assert_eq!(server.post("/v1/reload", &json!({})).await.status, 200);
    };
    let text = "see the work order .";

    let request = json!({ "rollouts": [Server::rollout(text)] });
    let reply = interrupted(&server, ("/v1/score", &request), reload(&without_rules)).await;
    assert_eq!(reply["versions"]["generation"], 1, "{reply}");
    assert_eq!(reply["results"][0]["turns"][0]["rules"]["points"], -50.0, "{reply}");

    // A trainer's reply has the names of sources and their numbers. Both come from the generation
    // without rules.
    let request = json!({ "query": [format!("user: hello\nassistant: {text}")], "prompts": [""] });
    let reply = interrupted(&server, ("/get_reward", &request), reload(&config)).await;
    let logs = reply["extra_logs"].as_object().unwrap();
    assert!(logs.contains_key("rm") && !logs.contains_key("rules"), "{reply}");
    let reply = interrupted(&server, ("/get_reward", &request), reload(&without_rules)).await;
    let logs = reply["extra_logs"].as_object().unwrap();
    assert!(logs["rules"][0].is_number(), "{reply}");
    server.stop().await;
}

#[tokio::test]
async fn model_is_replaced_under_load_without_a_failed_request() {
    let config = format!("{}[reload]\nwatch = false\n", Server::config());
    let server = Server::from_config(&config, &[]).await;
    let version = async |server: &Server| {
        let reply = server.score(&json!({ "rollouts": [Server::rollout("420 .")] })).await;
        assert!(reply["results"][0]["reward"].is_number(), "{reply}");
        reply["versions"]["rm"].as_str().unwrap().to_owned()
    };
    let before = version(&server).await;
    let swaps = async {
        for max_tokens in [12, 16, 20] {
            let swapped = config
                .replace("[profiles.test]", &format!("max_tokens = {max_tokens}\n[profiles.test]"));
            server.replace("guerdon.toml", &Server::resolved(&swapped));
            assert_eq!(server.post("/v1/reload", &json!({})).await.status, 200);
        }
    };
    let requests = async {
        for _ in 0..60 {
            version(&server).await;
        }
    };
    tokio::join!(swaps, requests);
    assert_ne!(version(&server).await, before, "the reply has the hash of the model that serves");
    server.stop().await;
}

#[tokio::test]
async fn candidate_serves_its_share_and_replies_compare_both_generations() {
    let staged =
        |share: &str| format!("{}[reload]\nwatch = false\nshare = {share}\n", Server::config());
    let server = Server::from_config(&staged("0.5"), &[]).await;
    server.replace("rules.yaml", &Server::pack().replace("points: -50", "points: -5"));
    assert_eq!(server.post("/v1/reload", &json!({})).await.json()["generation"], 2);
    let info = server.get("/v1/info").await.json();
    assert_eq!(
        (&info["generation"], &info["candidate"]),
        (&json!(1), &json!({ "generation": 2, "share": 0.5 }))
    );

    let mut served = [0, 0];
    for _ in 0..20 {
        let reply =
            server.score(&json!({ "rollouts": [Server::rollout("see the work order .")] })).await;
        let turn = &reply["results"][0]["turns"][0];
        let (own, other) = match reply["versions"]["generation"].as_u64() {
            Some(1) => (-50.0, json!([2, -5.0])),
            _ => (-5.0, json!([1, -50.0])),
        };
        served[usize::from(own > -50.0)] += 1;
        assert_eq!(turn["rules"]["points"], own, "{turn}");
        assert_eq!(json!([turn["beside"]["generation"], turn["beside"]["rules"]["points"]]), other);
        assert!(
            turn["beside"]["reward"].is_number() && turn["beside"]["reward"] != turn["reward"],
            "{turn}"
        );
    }
    assert!(served.iter().all(|count| *count >= 8), "{served:?}");
    assert!(
        (server.metric("guerdon_beside_turns_total", "changed=\"yes\"").await - 20.0).abs() < 1e-9
    );

    // Samples of one group in separate requests are all served by the same generation.
    let mut sides = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let mut rollout = Server::rollout("420 .");
        rollout["group"] = json!("prompt-3");
        let reply = server.score(&json!({ "rollouts": [rollout] })).await;
        sides.insert(reply["versions"]["generation"].as_u64());
    }
    assert_eq!(sides.len(), 1, "{sides:?}");

    assert_eq!(server.post("/v1/promote", &json!({})).await.json(), json!({ "generation": 2 }));
    assert_eq!(points(&server, "see the work order .").await, json!([-5.0, 2]));
    assert_eq!(server.post("/v1/promote", &json!({})).await.status, 422);
    server.stop().await;
}

#[tokio::test]
async fn candidate_with_share_zero_serves_no_request_and_can_be_dropped() {
    let config = format!("{}[reload]\nwatch = false\nshare = 0.0\n", Server::config());
    let server = Server::from_config(&config, &[]).await;
    server.replace("rules.yaml", &Server::pack().replace("points: -50", "points: -5"));
    assert_eq!(server.post("/v1/reload", &json!({})).await.status, 200);
    for _ in 0..10 {
        assert_eq!(points(&server, "see the work order .").await, json!([-50.0, 1]));
    }
    assert_eq!(
        server.post("/v1/rollback", &json!({})).await.json(),
        json!({ "generation": 1, "repeats": 1 })
    );
    assert!(server.get("/v1/info").await.json()["candidate"].is_null());
    let reply = server.score(&json!({ "rollouts": [Server::rollout("420 .")] })).await;
    assert!(reply["results"][0]["turns"][0]["beside"].is_null(), "{reply}");
    server.stop().await;
}
