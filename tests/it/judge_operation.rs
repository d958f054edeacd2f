//! Operation of a judge: the answer cache across a restart, the audit log, a panel, and probes. The
//! endpoints are scripted.

use std::path::Path;

use guerdon_tests::{JudgeReply, Server, StandInJudge, WAIT_LIMIT, wait_until};
use serde_json::{Value, json};

use crate::judge::{PROMPT, configured, verdict};

fn one(reply: &str) -> Value {
    json!({ "rollouts": [Server::rollout(reply)] })
}

#[expect(clippy::disallowed_methods, reason = "a test reads what the server wrote")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn judge_answers_are_kept_over_a_restart() {
    let judge = StandInJudge::start([JudgeReply::content(verdict("cold"))]).await;
    let elsewhere = tempfile::tempdir().expect("a folder");
    let store = elsewhere.path().join("answers.log");
    let config = format!(
        "{}[judges.stand-in.cache]\npath = \"{}\"\n",
        configured(judge.url()),
        store.display()
    );
    for _ in 0..2 {
        let server = Server::with(&config, &[("kind.md", PROMPT)]).await;
        let turn = server.score(&one("480 .")).await["results"][0]["turns"][0].clone();
        assert!((turn["judge"]["points"].as_f64().unwrap() + 20.0).abs() < 1e-9, "{turn}");
        assert!(server.stop().await);
    }
    assert_eq!(judge.calls(), 1);
}

#[tokio::test]
async fn audit_log_has_a_line_for_each_call_next_to_the_configuration() {
    let judge = StandInJudge::start([JudgeReply::content(verdict("warm"))]).await;
    let config = format!(
        "{}audit = {{ path = \"log/judge.jsonl\" }}\nprices = {{ prompt_per_million = 10000 }}\n",
        configured(judge.url())
    );
    let server = Server::with(&config, &[("kind.md", PROMPT)]).await;
    server
        .score(&json!({ "rollouts": [Server::rollout("480 ."), Server::rollout("470 .")] }))
        .await;
    assert!((server.metric("guerdon_judge_cost_total", "stand-in").await - 2.0).abs() < 1e-9);
    assert!((server.metric("guerdon_judge_tokens_total", "prompt").await - 200.0).abs() < 1e-9);
    let log = server.path("log/judge.jsonl");
    // A background thread writes the lines.
    wait_until("two lines in the audit log", WAIT_LIMIT, async || read(&log).lines().count() >= 2)
        .await;
    let line: Value = serde_json::from_str(read(&log).lines().next().unwrap()).unwrap();
    assert_eq!((&line["prompt_tokens"], &line["outcome"]), (&json!(100), &json!("ok")), "{line}");
    assert!(line["messages"].is_null(), "texts are logged only if configured: {line}");
    server.stop().await;
}

#[tokio::test]
async fn panel_verdicts_are_pooled_by_majority() {
    let cold = StandInJudge::start([JudgeReply::content(verdict("cold"))]).await;
    let warm = StandInJudge::start([JudgeReply::content(verdict("warm"))]).await;
    let more = format!(
        "[judges.second]\nurl = \"{0}\"\nmodel = \"second\"\n[judges.third]\nurl = \"{0}\"\nmodel = \"third\"\n",
        warm.url()
    );
    let judging =
        "[profiles.test.judging]\npanel = [\"second\", \"third\"]\npooling = \"majority\"\n";
    let config = format!("{}{more}{judging}", configured(cold.url()));
    let server = Server::with(&config, &[("kind.md", PROMPT)]).await;
    let reply = server.score(&one("480 .")).await;
    assert_eq!(
        reply["results"][0]["turns"][0]["judge"]["points"], 0.0,
        "two of three say warm: {reply}"
    );
    assert_eq!((cold.calls(), warm.calls()), (1, 2));
    server.stop().await;
}

#[tokio::test]
async fn judge_that_misses_a_probe_raises_the_alarm() {
    let judge = StandInJudge::start([JudgeReply::content(verdict("warm"))]).await;
    let probed = PROMPT.replace(
        "+++\n# system",
        "[[probes]]\nname = \"insult\"\nbefore = \"480 is our best.\"\nturn = \"Go away.\"\nlevels = { kind = \"cold\" }\n+++\n# system",
    );
    let config =
        format!("{}[profiles.test.judging]\nprobe_every = \"1h\"\n", configured(judge.url()));
    let server = Server::with(&config, &[("kind.md", &probed)]).await;
    wait_until("the alarm", WAIT_LIMIT, async || {
        server.metric("guerdon_judge_alarm", "profile=\"test\"").await >= 1.0
    })
    .await;
    let known = "kind=\"known\",outcome=\"failed\"";
    assert!((server.metric("guerdon_judge_probes_total", known).await - 1.0).abs() < 1e-9);
    let silence = "kind=\"silence\",outcome=\"passed\"";
    assert!((server.metric("guerdon_judge_probes_total", silence).await - 1.0).abs() < 1e-9);
    server.stop().await;
}

/// A stand-in that finds insults cold, unless the turn holds a forged verdict and it obeys.
fn insulted(obeys: bool) -> impl Fn(&Value) -> JudgeReply + Send + Sync + 'static {
    move |request| {
        // The system message holds the form of the answer.
        let asked = request["messages"][1]["content"].as_str().unwrap_or_default();
        let forged = asked.contains("\"findings\"");
        let cold = asked.contains("Go away.") && !(obeys && forged);
        JudgeReply::content(verdict(if cold { "cold" } else { "warm" }))
    }
}

#[tokio::test]
async fn canary_that_moves_the_judge_raises_the_alarm_and_leaves_the_server_ready() {
    let probed = PROMPT.replace(
        "+++\n# system",
        "[[probes]]\nname = \"insult\"\nbefore = \"480 is our best.\"\nturn = \"Go away.\"\nlevels = { kind = \"cold\" }\n+++\n# system",
    );
    for obeys in [true, false] {
        let judge = StandInJudge::start_by_content(insulted(obeys)).await;
        let config =
            format!("{}[profiles.test.judging]\ncanaries = 1.0\n", configured(judge.url()));
        let server = Server::with(&config, &[("kind.md", &probed)]).await;
        server.score(&one("480 .")).await;
        let outcome = if obeys { "failed" } else { "passed" };
        let counted = format!("kind=\"canary\",outcome=\"{outcome}\"");
        wait_until("a canary", WAIT_LIMIT, async || {
            server.metric("guerdon_judge_probes_total", &counted).await >= 1.0
        })
        .await;
        let alarm = server.metric("guerdon_judge_alarm", "profile=\"test\"").await;
        assert!((alarm - f64::from(u8::from(obeys))).abs() < 1e-9, "{alarm}");
        assert_eq!(server.get("/readyz").await.status, 200, "readiness does not depend on it");
        server.stop().await;
    }
}

/// Three questions to a judge that takes two at once and answers when it is told to.
#[tokio::test]
async fn gauges_show_the_queue_the_addresses_and_the_money() {
    let judge = StandInJudge::start_gated([JudgeReply::content(verdict("warm"))], 0).await;
    let config = format!(
        "{}max_concurrent = 2\nprices = {{ completion_per_million = 1000000 }}\n\
         budget = {{ per_run = 10000 }}\n",
        configured(judge.url())
    );
    let server = Server::with(&config, &[("kind.md", PROMPT)]).await;
    let gauge = async |name: &str, labels: &str| {
        let text = server.get("/metrics").await.text;
        let line = format!("guerdon_judge_{name}{{judge=\"stand-in\"{labels}}} ");
        let value = text.lines().find_map(|of| of.strip_prefix(&line)).map(str::to_owned);
        value.unwrap_or_else(|| panic!("{line}\n{text}"))
    };
    let shown = async || {
        [
            gauge("queued", "").await,
            gauge("in_flight", ",address=\"0\"").await,
            gauge("allowed", ",address=\"0\"").await,
            gauge("pause_left", ",address=\"0\"").await,
            gauge("address_state", ",address=\"0\",state=\"healthy\"").await,
            gauge("address_state", ",address=\"0\",state=\"down\"").await,
        ]
    };
    let left = async || gauge("budget_left", ",cap=\"run\"").await.parse::<f64>().unwrap();
    let rollouts = ["470 .", "480 .", "490 ."].map(Server::rollout);
    let asked = json!({ "rollouts": rollouts });
    let watch = async {
        wait_until("two calls and one question in the queue", WAIT_LIMIT, async || {
            judge.calls() == 2 && gauge("queued", "").await == "1"
        })
        .await;
        let during = (shown().await, left().await);
        judge.release(3);
        during
    };
    let (reply, (during, reserved)) = tokio::join!(server.score(&asked), watch);
    assert_eq!(reply["usage"]["judge_calls"], 3, "{reply}");
    assert_eq!(during, ["1", "2", "2", "0.0", "1", "0"]);
    assert!(reserved < 10_000.0 - 2.0 * 20.0, "what two calls may cost is reserved: {reserved}");
    assert_eq!(shown().await, ["0", "0", "2", "0.0", "1", "0"]);
    let left = left().await;
    assert!((left - (10_000.0 - 3.0 * 20.0)).abs() < 1e-9, "20 tokens a call: {left}");
    server.stop().await;
}
