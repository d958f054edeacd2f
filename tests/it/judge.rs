//! The judge: each question is sent once, and a failed call makes the source abstain with a reason.
//! The endpoint is scripted.

use guerdon_tests::{JudgeReply, Server, StandInJudge};
use serde_json::{Value, json};

/// A judge prompt with one criterion.
pub(crate) const PROMPT: &str = r#"+++
id = "kind"
about = "Whether the reply is kind."
version = 1

[[criteria]]
id = "kind"
kind = "deduct"
about = "The reply is cold to the partner."
fails_empty = true
quote = false
levels = [
  { name = "warm", points = 0, anchor = "It is kind." },
  { name = "cold", points = -20, anchor = "It is not." },
]
+++
# system
You judge one turn. {% for c in criteria %}{{ c.id }}: {{ c.about }} {% endfor %}
# user
{{ dialogue }}
{{ turn }}
"#;

/// The configuration of a judge at `url` with [`PROMPT`].
pub(crate) fn configured(url: &str) -> String {
    format!(
        "judge = \"stand-in\"\nprompts = [\"kind.md\"]\n[judges.stand-in]\nurl = \"{url}\"\nmodel = \"stand-in\"\nretries = 0\n"
    )
}

/// A verdict that puts the one criterion at `level`.
pub(crate) fn verdict(level: &str) -> String {
    json!({ "findings": [{ "id": "kind", "level": level, "evidence": null }] }).to_string()
}

async fn server(judge: &StandInJudge) -> Server {
    Server::with(&configured(judge.url()), &[("kind.md", PROMPT)]).await
}

fn one(reply: &str) -> Value {
    json!({ "rollouts": [Server::rollout(reply)] })
}

#[tokio::test]
async fn judge_points_are_part_of_the_enhancement() {
    let judge = StandInJudge::start([JudgeReply::content(verdict("cold"))]).await;
    let server = server(&judge).await;
    let reply = server.score(&one("480 .")).await;
    let turn = &reply["results"][0]["turns"][0];
    assert!((turn["judge"]["points"].as_f64().unwrap() + 20.0).abs() < 1e-9, "{turn}");
    assert_eq!(turn["judge"]["criteria"][0]["id"], "kind");
    assert_eq!(turn["judge"]["cached"], false);
    assert!((turn["enhancement"].as_f64().unwrap() + 20.0).abs() < 1e-9, "{turn}");
    assert_eq!(reply["usage"]["judge_calls"], 1);
    assert_eq!(reply["usage"]["prompt_tokens"], 100);
    assert!(reply["versions"]["judge"]["kind"].as_str().unwrap().starts_with("sha256:"));
    server.stop().await;
}

#[tokio::test]
async fn identical_questions_cause_one_judge_call() {
    let judge = StandInJudge::start([JudgeReply::content(verdict("warm"))]).await;
    let server = server(&judge).await;
    let same = json!({ "rollouts": vec![Server::rollout("480 ."); 64] });
    let reply = server.score(&same).await;
    assert_eq!(judge.calls(), 1);
    assert_eq!(reply["usage"]["judge_calls"], 1);
    assert_eq!(reply["usage"]["judge_cache_hits"], 63);
    let again = server.score(&one("480 .")).await;
    assert_eq!(again["results"][0]["turns"][0]["judge"]["cached"], true);
    assert_eq!(judge.calls(), 1);
    server.stop().await;
}

#[tokio::test]
async fn unreachable_judge_abstains_and_the_other_sources_are_scored() {
    let server = Server::with(&configured("http://127.0.0.1:9/v1"), &[("kind.md", PROMPT)]).await;
    let reply = server.score(&one("see the work order .")).await;
    let turn = &reply["results"][0]["turns"][0];
    assert!(turn["reward"].is_number(), "{turn}");
    assert!(turn["judge"].is_null());
    assert_eq!(turn["abstained"][0]["source"], "judge");
    assert_eq!(turn["abstained"][0]["why"], "unreachable");
    assert!(
        (turn["enhancement"].as_f64().unwrap() + 50.0).abs() < 1e-9,
        "the rules' points alone: {turn}"
    );
    server.stop().await;
}

#[tokio::test]
async fn abstaining_judge_makes_the_reward_null_with_on_abstain_null() {
    let server = Server::with(&configured("http://127.0.0.1:9/v1"), &[("kind.md", PROMPT)]).await;
    let mut request = one("480 .");
    request["fusion"] = json!({ "on_abstain": "null" });
    let result = server.score(&request).await["results"][0].clone();
    assert!(result["reward"].is_null());
    assert_eq!(result["error"]["code"], "unscored");
    assert!(result["error"]["detail"].as_str().unwrap().contains("judge abstained"), "{result}");
    assert!(result["turns"][0]["rm"].is_object());
    server.stop().await;
}

#[tokio::test]
async fn judge_that_misses_the_deadline_abstains() {
    let judge = StandInJudge::start_gated([JudgeReply::content(verdict("warm"))], 0).await;
    let server = server(&judge).await;
    let mut request = one("480 .");
    request["deadline_ms"] = json!(300);
    let turn = server.score(&request).await["results"][0]["turns"][0].clone();
    assert_eq!(turn["abstained"][0]["why"], "deadline", "{turn}");
    assert!(turn["reward"].is_number());
    // The call was sent and is paid for. The next identical request uses its answer.
    judge.release(1);
    let again = server.score(&one("480 .")).await;
    assert_eq!(again["results"][0]["turns"][0]["judge"]["cached"], true);
    assert_eq!(judge.calls(), 1);
    server.stop().await;
}

#[tokio::test]
async fn answer_without_a_verdict_abstains() {
    let judge = StandInJudge::start([JudgeReply::content("I would say ten out of ten.")]).await;
    let server = server(&judge).await;
    let turn = server.score(&one("480 .")).await["results"][0]["turns"][0].clone();
    assert_eq!(turn["abstained"][0]["why"], "malformed", "{turn}");
    server.stop().await;
}
