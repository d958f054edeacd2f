//! Every attempt that was sent leaves a line, with words only where they were asked for.

use std::path::Path;

use guerdon_judge::{AuditConfig, EndpointConfig, ResponseFormat};
use guerdon_testing::{JudgeReply, StandInJudge};
use serde_json::{Value, json};

use crate::house::{House, TURN, part, verdict, verdict_reply};

#[expect(clippy::disallowed_methods, reason = "a test reads the written file")]
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines about one question that is answered at the third attempt.
async fn audited(texts: bool, script: [JudgeReply; 3]) -> (Vec<Value>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let stand_in = StandInJudge::start(script).await;
    let mut config = EndpointConfig::new(stand_in.url(), "m");
    config.audit = Some(AuditConfig { path: path.clone(), texts, max_bytes: 1 << 20, keep: 1 });
    let house = House::configured(config, &["manners"]);
    part(&house.judge(TURN).await);
    part(&house.judge(TURN).await);
    assert_eq!(stand_in.calls(), 3);
    // Flushes the remaining lines.
    drop(house);
    (lines(&path), stand_in.url().to_owned())
}

fn script() -> [JudgeReply; 3] {
    let failed = JudgeReply::status(500, &json!({"error": {"message": "oops"}}));
    [failed, JudgeReply::content("fine"), verdict_reply("yes", Some("Take it"))]
}

#[tokio::test]
async fn each_attempt_is_a_line_and_a_cached_answer_none() {
    let (lines, url) = audited(false, script()).await;
    let column = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("outcome"), ["transient", "malformed", "ok"]);
    assert_eq!(column("attempt"), [1, 2, 3]);
    assert_eq!(
        column("flags"),
        [json!(["sealed"]), json!(["sealed"]), json!(["reasked", "sealed"])]
    );
    assert_eq!(column("prompt_tokens"), [0, 100, 100]);
    assert!(lines.windows(2).all(|pair| pair[0]["key"] == pair[1]["key"]));
    let last = &lines[2];
    assert_eq!(
        (&last["model"], &last["address"], &last["version"]),
        (&json!("m"), &json!(url), &json!(1))
    );
    assert_eq!(last["verdict"][1], json!({"id": "rude", "level": "yes"}));
    // What holds digits by chance, a port, times and hashes, may hold a 480.
    let mut said = last.clone();
    for by_chance in ["address", "at", "latency_ms", "waited_ms", "hash", "key"] {
        assert!(said.as_object_mut().unwrap().remove(by_chance).is_some(), "{by_chance}");
    }
    let text = said.to_string();
    assert!(!text.contains("Take it") && !text.contains("480"), "no word of a dialogue: {text}");
}

#[tokio::test]
async fn words_are_written_where_they_are_asked_for() {
    let (lines, _) = audited(true, script()).await;
    assert_eq!(lines[2]["verdict"][1]["evidence"], "Take it");
    assert!(lines[0]["messages"][1]["content"].as_str().unwrap().contains(TURN));
    assert_eq!((lines[0].get("reply"), &lines[1]["reply"]), (None, &json!("fine")));
    let (lines, _) = audited(false, script()).await;
    assert!(lines.iter().all(|line| line.get("reply").is_none() && line.get("messages").is_none()));
}

#[tokio::test]
async fn an_answer_among_other_words_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let stand_in =
        StandInJudge::start([JudgeReply::content(format!("Well: {}", verdict("no", None)))]).await;
    let mut config = EndpointConfig::new(stand_in.url(), "m");
    config.response_format = ResponseFormat::Plain;
    config.seal = guerdon_judge::Seal::Never;
    config.audit =
        Some(AuditConfig { path: path.clone(), texts: false, max_bytes: 1 << 20, keep: 1 });
    let house = House::configured(config, &["manners"]);
    part(&house.judge(TURN).await);
    drop(house);
    assert_eq!(lines(&path)[0]["flags"], json!(["unwrapped"]));
}
