//! Replies of real servers, case by case (`servers.json`), and the judge's reading of them.
//! `recorded` bodies were taken from a running server; `documented` ones follow its documentation
//! or a report about it.

use guerdon_judge::{EndpointConfig, Seal};
use guerdon_testing::{JudgeReply, StandInJudge};
use serde::Deserialize;
use serde_json::Value;

use crate::house::{House, TURN, verdict, verdict_reply};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    server: String,
    case: String,
    provenance: Provenance,
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// As text, or as JSON; `{verdict}` stands for a verdict on this test's rubric.
    body: Value,
    /// Read the verdict from the reasoning.
    #[serde(default)]
    read_reasoning: bool,
    /// The outcome of the first attempt.
    outcome: String,
    /// The outcome of the second, which the stand-in answers with a verdict; nothing if there is
    /// none.
    #[serde(default)]
    then: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Provenance {
    Recorded,
    Documented,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("servers.json")).unwrap()
}

fn with_verdict(body: &Value) -> String {
    let said = serde_json::to_string(&verdict("yes", None)).unwrap();
    match body {
        Value::String(text) => text.replace("\"{verdict}\"", &said),
        other => other.to_string().replace("\"{verdict}\"", &said),
    }
}

#[tokio::test]
async fn every_server_is_understood() {
    for case in cases() {
        let mut first = JudgeReply::raw(case.status, with_verdict(&case.body));
        for (name, value) in &case.headers {
            first = first.header(name, value.clone());
        }
        let stand_in = StandInJudge::start([first, verdict_reply("yes", None)]).await;
        let config = EndpointConfig {
            read_reasoning: case.read_reasoning,
            retries: 1,
            // The recorded verdicts have none.
            seal: Seal::Never,
            ..EndpointConfig::new(stand_in.url(), "m")
        };
        let house = House::configured(config, &["manners"]);
        let signal = house.judge(TURN).await;
        let mut outcomes = house.outcomes();
        outcomes.retain(|outcome| *outcome != "checked");
        let named = format!("{}: {} ({:?})", case.server, case.case, case.provenance);
        assert_eq!(outcomes.first().copied(), Some(case.outcome.as_str()), "{named}: {signal:?}");
        match case.then.as_deref() {
            None => assert_eq!(outcomes.len(), 1, "{named}: {outcomes:?}"),
            Some(then) => assert_eq!(outcomes.get(1).copied(), Some(then), "{named}"),
        }
        assert_eq!(signal.part.is_some(), outcomes.last() == Some(&"ok"), "{named}: {signal:?}");
    }
}

#[test]
fn the_whole_table_is_there() {
    let cases = cases();
    for server in [
        "OpenAI",
        "vLLM",
        "SGLang",
        "llama.cpp",
        "llama-cpp-python",
        "LiteLLM",
        "Azure OpenAI",
        "Anthropic",
        "Gemini",
        "DeepSeek",
        "OpenRouter",
    ] {
        assert!(cases.iter().any(|case| case.server == server), "{server}");
    }
    assert!(cases.iter().any(|case| case.provenance == Provenance::Recorded));
}
