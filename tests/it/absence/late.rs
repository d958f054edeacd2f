//! A source that fails or misses the deadline leaves no number behind, in any fusion, plain and
//! streamed.

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

/// Judges that fail in different ways, each with the reason of its abstention.
async fn failing_judges() -> Vec<(&'static str, StandInJudge)> {
    let mut judges = Vec::new();
    for (why, reply) in [
        ("malformed", JudgeReply::content("I would say ten out of ten.")),
        ("endpoint_error", JudgeReply::status(400, &json!({ "error": { "message": "no" } }))),
    ] {
        judges.push((why, StandInJudge::start([reply]).await));
    }
    let late = StandInJudge::start_gated([JudgeReply::content(verdict("warm"))], 0).await;
    judges.push(("deadline", late));
    judges
}

/// A judge that fails is skipped or voids the turn, as `on_abstain` says, and is never a number: the
/// reward equals that of a request without the judge, or is null. Alone it is always null.
#[tokio::test(flavor = "multi_thread")]
async fn failing_judge_is_never_a_number() {
    for (why, judge) in failing_judges().await {
        let server = Server::with(&configured(judge.url()), &[("kind.md", PROMPT)]).await;
        let score = async |sources: &[&str], fusion: &Value| {
            let body = json!({
                "rollouts": [Server::rollout("we guarantee it .")], "sources": sources,
                "fusion": fusion, "deadline_ms": if why == "deadline" { 150 } else { 10_000 },
            });
            server.score(&body).await["results"][0].clone()
        };
        for fusion in every_fusion() {
            let needs_rm = fusion["method"] == "repo"
                || (fusion["method"] == "gated" && fusion["inner"].is_null());
            let others: &[&[&str]] =
                if needs_rm { &[&["rm"], &["rm", "rules"]] } else { &[&[], &["rules"], &["rm"]] };
            for rest in others {
                let found = score(&[*rest, &["judge"]].concat(), &fusion).await;
                let turn = &found["turns"][0];
                assert_eq!(turn["abstained"][0]["source"], "judge", "{why}, {fusion}: {found}");
                assert_eq!(turn["abstained"][0]["why"], why, "{found}");
                if rest.is_empty() || fusion["on_abstain"] == "null" {
                    assert!(found["reward"].is_null(), "{why}, {fusion}: {found}");
                    let detail = found["error"]["detail"].as_str().unwrap();
                    assert!(detail.contains("judge abstained"), "{detail}");
                } else {
                    assert!(found["reward"].is_number(), "{why}, {fusion}: {found}");
                    assert_eq!(found["reward"], score(rest, &fusion).await["reward"], "{fusion}");
                }
            }
        }
        if why == "deadline" {
            judge.release(100);
        }
        server.stop().await;
    }
}
