//! A source that misses the deadline leaves no number behind, in any fusion, plain and streamed.

use guerdon_tests::{JudgeReply, Server, StandInJudge};
use serde_json::{Value, json};

use super::{PROMPT, configured, stream, verdict};

/// Every fusion method with every policy.
fn every_fusion() -> Vec<Value> {
    let mut fusions = Vec::new();
    for on_abstain in ["skip", "null"] {
        for fusion in [
            json!({ "method": "repo" }),
            json!({ "method": "weighted_sum" }),
            json!({ "method": "gated" }),
            json!({ "method": "gated", "inner": "weighted_sum" }),
        ] {
            let mut fusion = fusion;
            fusion["on_abstain"] = json!(on_abstain);
            fusions.push(fusion);
        }
    }
    fusions
}

/// Checks one result: without the reward model there is no reward, and the error says why.
fn check(result: &Value, fusion: &Value) -> bool {
    let turn = &result["turns"][0];
    let is_late = turn["rm"].is_null();
    // The rules may miss the deadline as well.
    let is_incomplete = turn["abstained"] != json!([]);
    let is_void = is_late || (fusion["on_abstain"] == "null" && is_incomplete);
    assert_eq!(result["reward"].is_null(), is_void, "{fusion}: {result}");
    assert_eq!(turn["reward"], result["reward"]);
    if is_late {
        assert_eq!(result["error"]["code"], "unscored", "{result}");
        assert!(result["error"]["detail"].as_str().unwrap().contains("rm abstained (deadline"));
        assert_eq!(turn["abstained"][0]["source"], "rm");
    }
    assert_eq!(result["error"].is_null(), !is_void, "{result}");
    is_late
}

#[tokio::test(flavor = "multi_thread")]
async fn late_reward_model_leaves_the_reward_null_in_every_fusion() {
    let server = Server::new().await;
    let words = "the room with a view of the lake is ours . ".repeat(40);
    for (number, fusion) in every_fusion().into_iter().enumerate() {
        let rollouts: Vec<_> =
            (0..100).map(|n| Server::rollout(&format!("{number} {n} {words}"))).collect();
        let body = json!({ "rollouts": rollouts, "fusion": fusion, "deadline_ms": 1 });
        let reply = server.score(&body).await;
        let results = reply["results"].as_array().unwrap().clone();
        let streamed = stream(&server, &body).await;
        let (summary, lines) = streamed.split_last().unwrap();
        assert_eq!((results.len(), lines.len()), (100, 100), "{summary}");
        let late = results.iter().chain(lines).filter(|result| check(result, &fusion)).count();
        assert!(late > 0, "the deadline did not pass with {fusion}");
    }
    server.stop().await;
}

#[tokio::test]
async fn late_judge_without_a_base_is_skipped_beside_rules_and_void_alone() {
    let judge = StandInJudge::start_gated([JudgeReply::content(verdict("warm"))], 0).await;
    let server = Server::with(&configured(judge.url()), &[("kind.md", PROMPT)]).await;
    let score = async |sources: Value, fusion: &Value| {
        let body = json!({
            "rollouts": [Server::rollout("we guarantee it .")], "sources": sources,
            "fusion": fusion, "deadline_ms": 200,
        });
        server.score(&body).await["results"][0].clone()
    };
    for fusion in every_fusion() {
        if fusion["method"] == "repo" || (fusion["method"] == "gated" && fusion["inner"].is_null())
        {
            continue;
        }
        let alone = score(json!(["judge"]), &fusion).await;
        assert!(alone["reward"].is_null(), "{fusion}: {alone}");
        assert!(alone["error"]["detail"].as_str().unwrap().contains("judge abstained"), "{alone}");
        let both = score(json!(["judge", "rules"]), &fusion).await;
        let rules = score(json!(["rules"]), &fusion).await;
        if fusion["on_abstain"] == "null" {
            assert!(both["reward"].is_null(), "{fusion}: {both}");
        } else {
            assert!(both["reward"].is_number(), "{fusion}: {both}");
            assert_eq!(both["reward"], rules["reward"], "{fusion}");
        }
    }
    judge.release(100);
    server.stop().await;
}
