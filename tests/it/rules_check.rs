//! `POST /v1/rules/check` is bounded in everything that its body can ask for, and leaves scoring,
//! reload and the stop alone.

use std::time::Duration;

use guerdon_tests::Server;
use serde_json::{Value, json};

fn pack(rules: impl Iterator<Item = String>) -> Value {
    let rules: Vec<String> = rules.collect();
    json!({ "name": "p.yaml", "text": format!("pack: p\nabout: One.\nrules:\n{}", rules.join("")) })
}

fn counted_regexes(count: usize) -> Value {
    pack((0..count).map(|index| {
        format!(
            "  - {{ id: r{index}, about: One., points: -1, match: {{ regex: '(?:a{index}|b{index})[^x]{{0,90}}(?:c{index}|d)[^y]{{0,90}}e' }} }}\n"
        )
    }))
}

async fn check(server: &Server, packs: Vec<Value>) -> Value {
    server.post("/v1/rules/check", &json!({ "packs": packs })).await.json()
}

/// The diagnostic that refuses the packs.
fn refusal(reply: &Value) -> String {
    assert_eq!(reply["ok"], false, "{reply}");
    let diagnostics = reply["diagnostics"].as_array().unwrap();
    let refusal = diagnostics.iter().find(|diagnostic| diagnostic["code"] == "R013");
    refusal.unwrap_or(&Value::Null).to_string()
}

#[tokio::test]
async fn packs_beyond_a_bound_are_refused_at_the_rule_that_exceeds_it() {
    let server = Server::new().await;
    let words: Vec<String> = (0..100_001).map(|index| format!("w{index}")).collect();
    let rule = format!(
        "  - {{ id: many-words, points: -1, match: {{ any_of: [{}] }} }}\n",
        words.join(", ")
    );
    let refused = refusal(&check(&server, vec![pack([rule].into_iter())]).await);
    assert!(refused.contains("rule `many-words`") && refused.contains("100000 words"), "{refused}");

    let rules = (0..10_001).map(|index| {
        format!("  - {{ id: r{index}, points: -1, match: {{ any_of: [w{index}] }} }}\n")
    });
    let refused = refusal(&check(&server, vec![pack(rules)]).await);
    assert!(refused.contains("rule `r10000`") && refused.contains("10000 rules"), "{refused}");

    let refused =
        refusal(&check(&server, vec![json!({ "name": "p", "text": "#".repeat(5 << 20) })]).await);
    assert!(refused.contains("4194304 bytes"), "{refused}");
    server.stop().await;
}

#[tokio::test]
async fn limits_of_a_request_hold_for_a_check_too() {
    let config = "[limits]\nmax_rollouts = 2\nmax_message_bytes = 100\nmax_messages = 3\n";
    let server = Server::with(config, &[]).await;
    let checked = async |rollouts: Vec<Value>| {
        server.post("/v1/rules/check", &json!({ "packs": [], "rollouts": rollouts })).await
    };
    let good = || Server::rollout("480 .");
    assert_eq!(checked(vec![good(), good()]).await.status, 200);
    let long = Server::rollout(&"a".repeat(101));
    let many = json!({ "messages": vec![json!({ "role": "assistant", "content": "a" }); 4] });
    for (rollouts, pointer) in [
        (vec![good(), good(), good()], "/rollouts"),
        (vec![good(), long], "/rollouts/1/messages/1/content"),
        (vec![many, good()], "/rollouts/0/messages"),
    ] {
        let reply = checked(rollouts).await;
        assert_eq!(
            (reply.status, &reply.json()["pointer"]),
            (413, &json!(pointer)),
            "{}",
            reply.text
        );
    }
    server.stop().await;
}

/// Longest time that anything but a check may take while checks run.
const SOON: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn forty_dear_checks_leave_scoring_reload_and_the_stop_alone() {
    let server = Server::with("[reload]\nwatch = false\n", &[]).await;
    let body = json!({ "packs": [counted_regexes(400)] }).to_string();
    let url = format!("{}/v1/rules/check", server.url);
    let mut checks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let request = server.http.post(&url).header("content-type", "application/json");
        let sent = request.body(body.clone()).send();
        checks.spawn(async move {
            sent.await.map(|reply| (reply.status().as_u16(), reply.headers().clone()))
        });
    }
    // The queue is full once a check is refused.
    let (status, headers) = checks.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(status, 503);
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=600).contains(&wait), "{wait}");

    let others = async {
        let request = json!({ "rollouts": [Server::rollout("see the work order .")] });
        for _ in 0..20 {
            server.score(&request).await;
        }
        let long = Server::rollout(&"see the work order . ".repeat(2_000));
        let reply = server
            .score(&json!({ "rollouts": [long], "sources": ["rules"],
            "fusion": { "method": "weighted_sum" } }))
            .await;
        assert_eq!(reply["results"][0]["turns"][0]["rules"]["points"], -50.0);
        assert_eq!(server.post("/v1/reload", &json!({})).await.status, 200);
        assert_eq!(server.post("/v1/rollback", &json!({})).await.status, 200);
    };
    tokio::time::timeout(SOON, others).await.expect("checks do not delay other requests");
    // All clients hang up.
    checks.shutdown().await;
    let stopped = tokio::time::timeout(SOON, server.stop()).await;
    assert!(stopped.is_ok(), "checks without a client do not delay the stop");
}
