//! Groups that are judged together: what shares `group` and `attempt` in one request.

use guerdon_testing::{listed_replies, listed_verdict};
use guerdon_tests::{JudgeReply, Server, StandInJudge};
use serde_json::{Value, json};

use crate::judge::{PROMPT, configured};

/// The listwise form of the judge prompt, which shows the prompt of the group.
pub(crate) fn listwise(settings: &str) -> String {
    PROMPT.replace("version = 1", &format!("version = 1\nmode = \"listwise\"\n{settings}"))
}

/// A judge for which a reply with `!` is cold.
pub(crate) async fn judge() -> StandInJudge {
    StandInJudge::start_by_content(|request| {
        let level = |text: &str| if text.contains('!') { "cold" } else { "warm" };
        JudgeReply::content(listed_verdict(request, |_, text| json!({ "kind": level(text) })))
    })
    .await
}

async fn server(judge: &StandInJudge) -> Server {
    let prompt = listwise("");
    Server::with(&configured(judge.url()), &[("kind.md", prompt.as_str())]).await
}

fn rollout(group: &str, attempt: u64, reply: &str) -> Value {
    json!({ "group": group, "attempt": attempt, "messages": [
        { "role": "user", "content": format!("prompt {group}") },
        { "role": "assistant", "content": reply } ] })
}

fn points(result: &Value) -> Option<f64> {
    result["turns"][0]["judge"]["points"].as_f64()
}

#[tokio::test]
async fn two_attempts_that_are_interleaved_are_two_groups() {
    let judge = judge().await;
    let server = server(&judge).await;
    let rollouts = [
        rollout("g", 0, "480 a"),
        rollout("g", 1, "480 b!"),
        rollout("g", 0, "480 c!"),
        rollout("g", 1, "480 d"),
        rollout("g", 1, "480 e"),
    ];
    let request = json!({ "rollouts": rollouts, "advantages": { "estimator": "grpo" } });
    let reply = server.score(&request).await;
    let results = reply["results"].as_array().unwrap();
    let judged: Vec<_> = results.iter().map(points).collect();
    assert_eq!(judged, [Some(0.0), Some(-20.0), Some(-20.0), Some(0.0), Some(0.0)]);
    let mut sizes: Vec<usize> =
        judge.requests().iter().map(|request| listed_replies(request).len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 3], "one call for each attempt");
    let advantage = |index: usize| results[index]["advantage"].as_f64().unwrap();
    assert!((advantage(0) + advantage(2)).abs() < 1e-9, "{results:?}");
    assert!((advantage(1) + advantage(3) + advantage(4)).abs() < 1e-9, "{results:?}");
    assert_eq!(reply["usage"]["judge_calls"], 2);
    server.stop().await;
}

#[tokio::test]
async fn a_stream_waits_only_for_the_group_of_a_result() {
    let judge = judge().await;
    let server = server(&judge).await;
    let rollouts: Vec<Value> = (0..3)
        .flat_map(|group| {
            let group = format!("g{group}");
            ["480 a", "480 b!"].map(|reply| rollout(&group, 0, reply))
        })
        .collect();
    let body = json!({ "rollouts": rollouts });
    let response = server
        .http
        .post(format!("{}/v1/score", server.url))
        .header("accept", "application/x-ndjson")
        .json(&body)
        .send()
        .await
        .unwrap();
    let text = response.text().await.unwrap();
    let results: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let scored = results.iter().filter(|line| line.to_string().contains("\"judge\""));
    assert!(scored.count() >= 6, "{text}");
    assert_eq!(judge.calls(), 3);
    server.stop().await;
}

#[tokio::test]
async fn rollouts_without_a_group_and_members_that_cannot_be_scored_abstain_by_name() {
    let judge = judge().await;
    let server = server(&judge).await;
    let mut alone = rollout("g", 0, "480 a");
    alone.as_object_mut().unwrap().retain(|key, _| key == "messages");
    let broken =
        json!({ "group": "h", "attempt": 0, "messages": [{ "role": "robot", "content": "x" }] });
    let whole = [rollout("h", 0, "480 b"), rollout("h", 0, "480 c")];
    let [first, second] = whole;
    let reply = server.score(&json!({ "rollouts": [alone, first, second, broken] })).await;
    for (index, word) in [(0, "this group has one"), (1, "it has 3"), (2, "it has 3")] {
        let abstained = &reply["results"][index]["turns"][0]["abstained"][0];
        assert_eq!(abstained["reason"], "group_incomplete", "{reply}");
        assert_eq!(abstained["why"], "missing_context", "{reply}");
        assert!(abstained["detail"].as_str().unwrap().contains(word), "{abstained}");
    }
    assert_eq!(judge.calls(), 0);
    for (mut bad, pointer) in [
        (json!({ "sample": 8, "samples": 8 }), "/rollouts/0/sample"),
        (json!({ "samples": 0 }), "/rollouts/0/samples"),
    ] {
        bad["messages"] = rollout("g", 0, "480 a")["messages"].clone();
        bad["group"] = json!("g");
        let reply = server.score(&json!({ "rollouts": [bad] })).await;
        assert_eq!(reply["results"][0]["error"]["pointer"], pointer, "{reply}");
    }
    server.stop().await;
}
