//! From a completion to an answer, or to the reason why it is none.

use guerdon_types::AbstainWhy;
use serde_json::json;

use super::{Bench, ScriptedAddress, answers, config, question};
use crate::EndpointConfig;
use crate::ask::answer::Failure;
use crate::ask::reply::ParsedAnswer;
use crate::call::wire::Completion;

fn read(config: EndpointConfig, completion: &Completion) -> Result<ParsedAnswer, Failure> {
    let bench = Bench::one(config, &ScriptedAddress::that(|_| answers(1)));
    let features = bench.client.address(0).capabilities.now(false);
    bench.client.read(&question(), completion, features)
}

fn sealed(level: &str) -> String {
    json!({ "turn": "turn-1", "findings": { "rude": { "level": level, "evidence": null } } })
        .to_string()
}

fn completion(text: &str, finish_reason: &str) -> Completion {
    let (text, finish_reason) = (text.to_owned(), finish_reason.to_owned());
    Completion { text, finish_reason, ..Completion::default() }
}

#[test]
fn each_kind_of_reply_has_its_reason() {
    let refusal =
        Completion { refusal: Some("no".to_owned()), ..completion(&sealed("no"), "stop") };
    for (completion, why) in [
        (completion(&sealed("no"), "stop"), None),
        (refusal, Some(AbstainWhy::Refused)),
        (completion(&sealed("no"), "content_filter"), Some(AbstainWhy::Refused)),
        (completion(&sealed("no"), "length"), Some(AbstainWhy::Truncated)),
        (completion("", "stop"), Some(AbstainWhy::Malformed)),
        (completion(&sealed("very"), "stop"), Some(AbstainWhy::Malformed)),
        (
            completion(&sealed("no").replace("turn-1", "turn-2"), "stop"),
            Some(AbstainWhy::Malformed),
        ),
        (
            completion(&format!("{} {}", sealed("no"), sealed("yes")), "stop"),
            Some(AbstainWhy::Ambiguous),
        ),
    ] {
        let text = completion.text.clone();
        let found = read(config(), &completion);
        assert_eq!(found.as_ref().err().map(|failure| failure.why), why, "{text}");
        if let Ok(answer) = found {
            assert_eq!(answer.findings[0].level, "no");
        }
    }
}

#[test]
fn the_reasoning_is_read_only_where_it_is_configured_and_nothing_else_is_there() {
    let hidden = || Completion { reasoning: sealed("yes"), ..completion(" ", "stop") };
    assert_eq!(read(config(), &hidden()).unwrap_err().why, AbstainWhy::Malformed);
    let reads = EndpointConfig { read_reasoning: true, ..config() };
    assert_eq!(read(reads.clone(), &hidden()).unwrap().findings[0].level, "yes");
    let both = Completion { reasoning: sealed("yes"), ..completion(&sealed("no"), "stop") };
    assert_eq!(read(reads, &both).unwrap().findings[0].level, "no");
}
