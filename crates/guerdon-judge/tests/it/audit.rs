//! Every attempt that was sent leaves a line, with words only where they were asked for.

use std::path::Path;
use std::sync::{Arc, Mutex};

use guerdon_judge::{
    AuditConfig, Endpoint, EndpointConfig, JudgeReply as HeardReply, JudgeSource, Prompts,
    ResponseFormat, Services, SourceText,
};
use guerdon_testing::{JudgeReply, StandInJudge};
use guerdon_types::{Finite, JudgePart, Message, Part, Role, Rollout};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::house::{House, RUBRIC, TURN, part, verdict, verdict_reply};

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

#[tokio::test]
async fn a_level_that_does_not_count_says_why_and_reasons_are_kept_with_texts() {
    let reasoned = RUBRIC
        .replace("version = 1", "version = 1\nreasoning = \"before\"")
        .replace("about = \"It is rude.\"", "about = \"It is rude.\"\nquote = true");
    for texts in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let says =
            verdict("yes", Some("never said")).replacen('{', "{\"reasons\": \"It is curt.\", ", 1);
        let says = says.replacen("{\"reasons\"", "{\"turn\": \"@\", \"reasons\"", 1);
        let answer = move |request: &Value| {
            let asked = request["messages"][1]["content"].as_str().unwrap();
            let name = asked.rsplit_once("beginning with \"turn\": \"").unwrap().1;
            let schema = &request["response_format"]["json_schema"]["schema"];
            assert_eq!(schema["required"], json!(["turn", "reasons", "findings"]), "in this order");
            JudgeReply::content(says.replace('@', name.split('"').next().unwrap()))
        };
        let stand_in = StandInJudge::start_by_content(answer).await;
        let mut config = EndpointConfig::new(stand_in.url(), "m");
        config.audit = Some(AuditConfig { path: path.clone(), texts, max_bytes: 1 << 20, keep: 1 });
        let source = SourceText { name: "manners.md".to_owned(), text: reasoned.clone() };
        let (prompts, _) = Prompts::compile(&[source]).unwrap_or_else(|report| panic!("{report}"));
        let replies = Arc::<Mutex<Vec<HeardReply>>>::default();
        let heard = Arc::clone(&replies);
        let services = Services::new(TaskTracker::new(), |_| {})
            .with_reply_observer(move |reply| heard.lock().unwrap().push(reply));
        let endpoint = Endpoint::build(config, &services).unwrap();
        let source = JudgeSource::new(endpoint, Arc::new(prompts));
        let messages = vec![Message::new(Role::User, "480?"), Message::new(Role::Assistant, TURN)];
        let rollout = Rollout { messages, ..Rollout::default() };
        let explained = source.explain(&rollout, 1).await.unwrap();
        let levels = &explained.ballots[0].criteria;
        let level = |at: usize| (levels[at].level.as_str(), levels[at].struck);
        let struck = Some("its quote does not occur in the turn");
        assert_eq!((level(0), level(1)), (("no", None), ("yes", struck)), "{explained:?}");
        assert_eq!(part(&explained.signal).points, Finite::ZERO);
        let reply = replies.lock().unwrap().remove(0);
        assert!(reply.reply.contains("never said"), "{reply:?}");
        assert_eq!(reply.reasons.as_deref(), Some("It is curt."));
        let again = source.explain(&rollout, 1).await.unwrap();
        assert!(again.ballots[0].cached && again.signal.part == explained.signal.part.map(cached));
        drop(source);
        let line = &lines(&path)[0];
        assert_eq!(line["verdict"][1]["struck"], json!(struck));
        assert_eq!(line["verdict"][0], json!({"id": "ignores", "level": "no"}));
        let reasons = if texts { json!("It is curt.") } else { Value::Null };
        assert_eq!(line["reasons"], reasons);
    }
}

fn cached(part: Part) -> Part {
    match part {
        Part::Judge(part) => Part::Judge(JudgePart { cached: true, ..part }),
        other => other,
    }
}
