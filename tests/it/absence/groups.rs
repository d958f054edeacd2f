//! A group whose rollouts were not scored by the same sources is named, and gets no advantages.

use guerdon_client::{Client, UnscoredPolicy};
use guerdon_tests::{JudgeReply, Server, StandInJudge};
use guerdon_types::ScoreRequest;
use serde_json::{Value, json};

use super::{PROMPT, configured, stream, verdict};

fn rollout(id: &str, group: &str, reply: &str) -> Value {
    let mut rollout = Server::rollout(reply);
    rollout["id"] = json!(id);
    rollout["group"] = json!(group);
    rollout
}

/// Two rollouts of `torn` with different replies, of which the judge answers for one in time; two
/// of `whole`, about which no judge is asked, because an empty reply has a fixed verdict.
fn rollouts() -> Vec<Value> {
    vec![
        rollout("a", "torn", "420 ."),
        rollout("b", "torn", "421 ."),
        rollout("c", "whole", ""),
        rollout("d", "whole", ""),
        rollout("e", "alone", "422 ."),
    ]
}

/// A server whose judge answers one call.
async fn server() -> (StandInJudge, Server) {
    let judge = StandInJudge::start_gated([JudgeReply::content(verdict("cold"))], 1).await;
    let server = Server::with(&configured(judge.url()), &[("kind.md", PROMPT)]).await;
    // The answer for rollout `a` is in the cache from here on.
    let first = server.score(&json!({ "rollouts": [rollout("a", "torn", "420 .")] })).await;
    assert!(first["results"][0]["turns"][0]["judge"].is_object(), "{first}");
    (judge, server)
}

fn torn() -> Value {
    json!([{
        "id": "torn", "comparable": false, "missing": [{ "source": "judge", "rollout": "b" }],
    }])
}

#[tokio::test]
async fn group_with_different_sources_is_named_and_gets_no_advantages() {
    for estimator in ["grpo", "dr_grpo", "rloo", "batch_std", "pass_at_k", "gpg"] {
        let (judge, server) = server().await;
        let body = json!({
            "rollouts": rollouts(), "deadline_ms": 300, "advantages": { "estimator": estimator },
        });
        let reply = server.score(&body).await;
        assert_eq!(reply["groups"], torn(), "{estimator}: {reply}");
        for result in reply["results"].as_array().unwrap() {
            assert!(result["reward"].is_number(), "{result}");
            let is_torn = ["a", "b"].contains(&result["id"].as_str().unwrap());
            assert_eq!(result["advantage"].is_null(), is_torn, "{estimator}: {result}");
        }
        let lines = stream(&server, &body).await;
        let (summary, results) = lines.split_last().unwrap();
        assert_eq!(summary["groups"], torn(), "{summary}");
        let without: Vec<_> = results.iter().filter(|line| line["advantage"].is_null()).collect();
        assert_eq!(without.len(), 2, "{without:?}");

        judge.release(100);
        let reply = server.score(&json!({ "rollouts": rollouts() })).await;
        assert!(reply.get("groups").is_none(), "{reply}");
        let body = json!({ "rollouts": rollouts(), "advantages": { "estimator": estimator } });
        let reply = server.score(&body).await;
        assert!(reply.get("groups").is_none(), "{reply}");
        let results = reply["results"].as_array().unwrap();
        assert!(results.iter().all(|result| result["advantage"].is_number()), "{reply}");
        server.stop().await;
    }
}

#[tokio::test]
async fn rollout_without_a_reward_leaves_its_siblings_comparable() {
    let (judge, server) = server().await;
    let mut rollouts = rollouts();
    rollouts.push(rollout("f", "torn", "420 ."));
    rollouts.push(json!({ "id": "g", "group": "torn", "messages": [] }));
    let body = json!({
        "rollouts": rollouts, "deadline_ms": 300, "advantages": { "estimator": "grpo" },
        "fusion": { "on_abstain": "null" },
    });
    let reply = server.score(&body).await;
    assert!(reply.get("groups").is_none(), "{reply}");
    let of = |id: &str| {
        let results = reply["results"].as_array().unwrap();
        results.iter().find(|result| result["id"] == id).unwrap().clone()
    };
    for (id, has_reward) in [("a", true), ("b", false), ("f", true), ("g", false)] {
        assert_eq!(of(id)["reward"].is_number(), has_reward, "{id}");
        assert_eq!(of(id)["advantage"].is_number(), has_reward, "{id}");
    }
    judge.release(100);
    server.stop().await;
}

#[tokio::test]
async fn client_compares_groups_over_its_requests() {
    let (judge, server) = server().await;
    let rollouts = rollouts().into_iter().map(|one| serde_json::from_value(one).unwrap()).collect();
    let request = ScoreRequest { rollouts, deadline_ms: Some(300), ..ScoreRequest::default() };
    let client = Client::builder(&server.url).chunk(1).build().unwrap();
    let scored = client.score(&request).await.unwrap();
    assert_eq!(serde_json::to_value(&scored.groups).unwrap(), torn());
    assert_eq!(scored.comparable(&request), [false, false, true, true, true]);
    let dropped = |policy| scored.feedback::<f64>(&request, policy).unwrap().dropped;
    assert_eq!(dropped(UnscoredPolicy::DropIncomparable), 2);
    assert_eq!(dropped(UnscoredPolicy::Drop), 0);
    judge.release(100);
    server.stop().await;
}
