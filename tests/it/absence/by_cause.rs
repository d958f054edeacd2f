//! `on_abstain` by cause, through the whole server: rubrics of a group, the second question, results
//! that wait only for their own group, and a policy that wants to be unjudgeable.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use guerdon_tests::{JudgeReply, Server, StandInJudge};
use serde_json::{Value, json};

use super::{PROMPT, stream, verdict};

/// The criteria of the two rubrics.
const RUBRICS: [&str; 2] = ["kind", "tact"];

/// The rubric that a call asks about, and the judged turn with its dialogue.
fn asked(request: &Value) -> (&'static str, String) {
    let text = request["messages"].to_string();
    let rubric = if text.contains("tact: ") { "tact" } else { "kind" };
    (rubric, text)
}

fn answer(rubric: &str, text: &str) -> JudgeReply {
    let level = if text.contains("rough") { "cold" } else { "warm" };
    JudgeReply::content(verdict(level).replace("\"kind\"", &format!("\"{rubric}\"")))
}

/// A judge whose answers about `tact` depend on words of the turn.
async fn judge() -> (StandInJudge, Arc<AtomicUsize>) {
    let failures: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let about_tact = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&about_tact);
    let judge = StandInJudge::start_by_content(move |request| {
        let (rubric, text) = asked(request);
        if rubric == "kind" {
            return answer(rubric, &text);
        }
        count.fetch_add(1, Ordering::Relaxed);
        let failed = JudgeReply::status(503, &json!({ "error": { "message": "busy" } }));
        if text.contains("always down") {
            return failed.delay(Duration::from_millis(300));
        }
        if text.contains("down once") {
            let mut failures = failures.lock().unwrap();
            let seen = failures.entry(text.clone()).or_default();
            *seen += 1;
            return if *seen == 1 { failed } else { answer(rubric, &text) };
        }
        if text.contains("garbled") {
            return JudgeReply::content("I would say ten out of ten.");
        }
        if text.contains("refused") {
            return JudgeReply::status(400, &json!({ "error": { "message": "no" } }));
        }
        answer(rubric, &text)
    });
    (judge.await, about_tact)
}

async fn server(judge: &StandInJudge, on_abstain: &str) -> Server {
    let url = judge.url();
    let tables = format!(
        "judge = \"stand-in\"\nprompts = [\"kind.md\", \"tact.md\"]\n\
         fusion = {{ method = \"weighted_sum\", on_abstain = {on_abstain} }}\n\
         [judges.stand-in]\nurl = \"{url}\"\nmodel = \"stand-in\"\nretries = 0\n"
    );
    let tact = PROMPT.replace("\"kind\"", "\"tact\"");
    Server::with(&tables, &[("kind.md", PROMPT), ("tact.md", &tact)]).await
}

const DEFAULTS: &str = "{ infrastructure = \"group\", content = \"null\" }";

fn rollout(id: &str, group: &str, reply: &str) -> Value {
    let mut rollout = Server::rollout(reply);
    rollout["id"] = json!(id);
    rollout["group"] = json!(group);
    rollout
}

fn of<'a>(results: &'a [Value], id: &str) -> &'a Value {
    results.iter().find(|result| result["id"] == id).unwrap()
}

#[tokio::test]
async fn a_rubric_that_one_rollout_lacks_is_dropped_for_its_group_alone() {
    let (judge, about_tact) = judge().await;
    let server = server(&judge, DEFAULTS).await;
    let body = json!({ "rollouts": [
        rollout("a", "torn", "rough 1 ."), rollout("b", "torn", "always down rough 2 ."),
        rollout("c", "torn", "3 ."), rollout("d", "whole", "rough 4 ."), rollout("e", "whole", "5 ."),
        rollout("f", "mended", "down once 6 ."), rollout("g", "mended", "rough 7 ."),
    ], "advantages": { "estimator": "grpo" } });
    let lines = stream(&server, &body).await;
    let (summary, results) = lines.split_last().unwrap();
    assert!(summary.get("groups").is_none(), "every group is comparable: {summary}");
    assert_eq!(about_tact.load(Ordering::Relaxed), 7 + 2, "only what failed is asked again");
    let places: Vec<_> = results.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert!(
        places[4..].iter().all(|id| ["a", "b", "c"].contains(id)),
        "results wait only for their own group: {places:?}"
    );
    for result in results {
        assert!(result["reward"].is_number() && result["advantage"].is_number(), "{result}");
        let turn = &result["turns"][0];
        let is_torn = ["a", "b", "c"].contains(&result["id"].as_str().unwrap());
        let abstained = turn["abstained"].as_array().unwrap();
        assert_eq!(abstained.len(), usize::from(is_torn), "{result}");
        if is_torn {
            let entry = &abstained[0];
            assert_eq!((&entry["prompt"], &entry["effect"]), (&json!("tact"), &json!("dropped")));
            assert_eq!(entry["reason"], "endpoint_failed");
        }
        let criteria = turn["judge"]["criteria"].as_array().unwrap();
        let rubrics: Vec<_> = criteria.iter().map(|one| one["prompt"].as_str().unwrap()).collect();
        let is_rough = ["a", "b", "d", "g"].contains(&result["id"].as_str().unwrap());
        let wanted: &[&str] = match (is_rough, is_torn) {
            (false, _) => &[],
            (true, true) => &RUBRICS[..1],
            (true, false) => &RUBRICS,
        };
        assert_eq!(rubrics, wanted, "{result}");
        let points = turn["judge"]["points"].as_f64().unwrap();
        assert!((points + 20.0 * wanted.len() as f64).abs() < 1e-9, "{result}");
    }
    let dropped = server.metric("guerdon_rubrics_dropped_total", r#"prompt="tact""#).await;
    assert!((dropped - 1.0).abs() < 1e-9, "{dropped}");
    let fusion = &summary["versions"]["fusion"];
    assert_eq!(fusion["on_abstain"], "by_cause", "{summary}");
    assert_eq!(fusion["abstain_causes"], json!({ "infrastructure": "group", "content": "null" }));
    server.stop().await;
}

/// The unjudgeable policy: its reply never gets a positive advantage, and its siblings have the
/// rewards and advantages that they have without it.
#[tokio::test]
async fn being_unjudgeable_does_not_pay() {
    let (judge, _) = judge().await;
    let server = server(&judge, DEFAULTS).await;
    let siblings =
        [rollout("a", "g", "rough 1 ."), rollout("b", "g", "2 ."), rollout("c", "g", "rough 3 .")];
    for estimator in ["grpo", "dr_grpo", "rloo", "batch_std"] {
        let advantages = json!({ "estimator": estimator });
        let alone = json!({ "rollouts": siblings, "advantages": advantages });
        let alone = server.score(&alone).await["results"].as_array().unwrap().clone();
        for words in ["garbled", "refused"] {
            let mut rollouts = siblings.to_vec();
            rollouts.insert(1, rollout("u", "g", &format!("{words} rough 4 .")));
            let reply =
                server.score(&json!({ "rollouts": rollouts, "advantages": advantages })).await;
            assert!(reply.get("groups").is_none(), "{reply}");
            let results = reply["results"].as_array().unwrap();
            let unjudgeable = of(results, "u");
            assert!(unjudgeable["reward"].is_null() && unjudgeable["advantage"].is_null());
            for id in ["a", "b", "c"] {
                for key in ["reward", "advantage"] {
                    assert_eq!(
                        of(results, id)[key],
                        of(&alone, id)[key],
                        "{estimator} {words} {id}"
                    );
                }
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn worst_counts_the_worst_verdict_and_skip_still_pays() {
    let (judge, _) = judge().await;
    let server = server(&judge, DEFAULTS).await;
    let rollouts = [rollout("a", "g", "rough 1 ."), rollout("u", "g", "garbled rough 1 .")];
    for (content, enhancement, comparable) in
        [("worst", Some(-40.0), true), ("group", Some(-20.0), true), ("skip", Some(-20.0), false)]
    {
        let fusion = json!({ "on_abstain": { "content": content } });
        let reply = server.score(&json!({ "rollouts": rollouts, "fusion": fusion })).await;
        let turn = &of(reply["results"].as_array().unwrap(), "u")["turns"][0];
        assert_eq!(turn["enhancement"].as_f64(), enhancement, "{content}: {turn}");
        assert_eq!(reply.get("groups").is_none(), comparable, "{content}: {reply}");
        if content == "worst" {
            assert_eq!(turn["abstained"][0]["effect"], "worst");
            assert!(turn["abstained"][0]["detail"].as_str().unwrap().contains("worst verdict"));
            assert_eq!(turn["judge"]["points"].as_f64(), Some(-20.0), "the part stays honest");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_rollout_that_cannot_be_scored_does_not_hold_its_group() {
    let (judge, _) = judge().await;
    let server = server(&judge, DEFAULTS).await;
    let body = json!({ "rollouts": [
        rollout("a", "g", "rough 1 ."), { "id": "b", "group": "g", "messages": [] },
        rollout("c", "g", "always down 2 ."), Server::rollout("3 ."), { "messages": 7 },
    ] });
    let reply = server.score(&body).await;
    let results = reply["results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    for (result, has_reward) in results.iter().zip([true, false, true, true, false]) {
        assert_eq!(result["reward"].is_number(), has_reward, "{result}");
        assert_eq!(result["error"].is_null(), has_reward, "{result}");
    }
    assert_eq!(of(results, "a")["turns"][0]["abstained"][0]["effect"], "dropped");
    server.stop().await;
}

/// More questions than the judge's queue holds: an admitted request loses none of them, and further
/// requests are refused whole.
#[tokio::test(flavor = "multi_thread")]
async fn an_admitted_request_loses_no_verdict_to_the_queue() {
    let judge = StandInJudge::start_gated([JudgeReply::content(verdict("warm"))], 0).await;
    let url = judge.url();
    let names: Vec<String> = (0..5).map(|number| format!("kind-{number}")).collect();
    let files: Vec<(String, String)> = names
        .iter()
        .map(|name| (format!("{name}.md"), PROMPT.replacen("\"kind\"", &format!("\"{name}\""), 1)))
        .collect();
    let prompts: Vec<_> = files.iter().map(|(file, _)| file.as_str()).collect();
    let tables = format!(
        "judge = \"stand-in\"\nprompts = {}\n[judges.stand-in]\nurl = \"{url}\"\n\
         model = \"stand-in\"\nmax_concurrent = 2\nmax_queued = 3\n",
        json!(prompts)
    );
    let files: Vec<_> = files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    let server = Server::with(&tables, &files).await;
    let rollouts: Vec<Value> =
        (0..64).map(|number| rollout(&number.to_string(), "g", &format!("{number} ."))).collect();
    let body = json!({ "rollouts": rollouts, "fusion": { "on_abstain": "null" } });
    let whole = server.score(&body);
    let meanwhile = async {
        judge.wait_for_calls(2).await;
        let url = format!("{}/v1/score", server.url);
        let one = json!({ "rollouts": [Server::rollout("more .")] });
        // The queue fills while the request's questions are made.
        for _ in 0..100 {
            let refused = server.http.post(&url).json(&one).timeout(Duration::from_secs(1)).send();
            if let Ok(refused) = refused.await {
                assert_eq!(refused.status().as_u16(), 503);
                assert!(refused.headers().contains_key("retry-after"));
                judge.release(100_000);
                return;
            }
        }
        panic!("a full judge refuses new requests");
    };
    let (reply, ()) = tokio::join!(whole, meanwhile);
    for result in reply["results"].as_array().unwrap() {
        assert!(result["reward"].is_number(), "{result}");
        assert_eq!(result["turns"][0]["abstained"], json!([]), "{result}");
    }
    assert!(judge.calls() >= 5 * 64);
    server.stop().await;
}
