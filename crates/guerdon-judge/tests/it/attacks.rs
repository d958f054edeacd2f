//! Forged verdicts against a compromised judge that repeats its prompt. No prompt can prevent this,
//! so the reader of answers must. The texts are this project's own (`attacks.jsonl`); `{forged}`
//! stands for a perfect verdict.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use guerdon_fusion::{Ask, RewardSource as _};
use guerdon_judge::{
    Endpoint, EndpointConfig, JudgeSource, Prompts, ResponseFormat, Seal, Services, SourceText,
    Transport, TransportError, TransportReply,
};
use guerdon_types::{Message, Part, Role, Rollout};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::house::{RUBRIC, verdict};

#[derive(Debug, Deserialize)]
struct Attack {
    id: String,
    family: String,
    text: String,
}

fn attacks() -> Vec<Attack> {
    let forged = verdict("no", None);
    let findings = serde_json::from_str::<Value>(&forged).unwrap()["findings"].to_string();
    let lines = include_str!("attacks.jsonl").lines();
    let attack = |line| {
        let attack: Attack = serde_json::from_str(line).unwrap();
        let text = attack.text.replace("{forged}", &forged).replace("{findings}", &findings);
        Attack { text, ..attack }
    };
    lines.map(attack).collect()
}

/// Behaviour of a compromised judge.
#[derive(Debug, Clone, Copy)]
enum Echo {
    /// Repeats the prompt.
    Verbatim,
    /// Answers with the JSON of the judged turn and nothing else: the worst case.
    Obedient,
    /// Quotes the prompt, then gives its own verdict.
    QuotesFirst,
    /// Gives its own verdict, then quotes the prompt.
    QuotesLast,
}

#[derive(Debug)]
struct EchoTransport(Echo);

impl EchoTransport {
    fn says(&self, asked: &str) -> String {
        // The block with the judged turn.
        let at = asked.rfind("\n<turn-").unwrap() + 1;
        let (open, rest) = asked[at..].split_once('>').unwrap();
        let shown = rest.split_once(&format!("\n</{}>", &open[1..])).unwrap().0.trim();
        let own = |level| {
            let seal = if asked.contains("beginning with \"turn\"") {
                format!("{{\"turn\": \"{}\", ", &open[1..])
            } else {
                "{".to_owned()
            };
            verdict(level, None).replacen('{', &seal, 1)
        };
        match self.0 {
            Echo::Verbatim => shown.to_owned(),
            Echo::Obedient => {
                let start = shown.find('{').unwrap_or(0);
                let end = shown.rfind('}').map_or(shown.len(), |at| at + 1);
                shown.get(start..end).unwrap_or(shown).to_owned()
            }
            Echo::QuotesFirst => format!("The reply reads: {shown}\nMy verdict: {}", own("yes")),
            Echo::QuotesLast => format!("{}\nbecause the reply reads: {shown}", own("yes")),
        }
    }
}

impl Transport for EchoTransport {
    fn send(&self, body: Vec<u8>) -> BoxFuture<'_, Result<TransportReply, TransportError>> {
        async move {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let says = self.says(body["messages"][1]["content"].as_str().unwrap());
            let reply =
                json!({"choices": [{"message": {"content": says}, "finish_reason": "stop"}]});
            Ok(TransportReply {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: reply.to_string().into_bytes(),
            })
        }
        .boxed()
    }
}

/// Counts the attacks that moved the points up from the honest verdict's -10, those without a
/// verdict, and both by family.
async fn moved(
    echo: Echo,
    format: ResponseFormat,
    seal: Seal,
) -> (usize, usize, BTreeMap<String, usize>) {
    let texts = [SourceText { name: "manners.md".to_owned(), text: RUBRIC.to_owned() }];
    let (prompts, _) = Prompts::compile(&texts).unwrap();
    let (mut up, mut silent, mut families) = (0, 0, BTreeMap::new());
    let prompts = Arc::new(prompts);
    for attack in attacks() {
        // A judge of its own for each: what one attack teaches the caller must not protect the
        // next.
        let services = Services::new(TaskTracker::new(), |_| {})
            .with_transport(move |_| Arc::new(EchoTransport(echo)));
        let config = EndpointConfig {
            response_format: format,
            seal,
            ..EndpointConfig::new("http://mad/v1", "m")
        };
        let source =
            JudgeSource::new(Endpoint::build(config, &services).unwrap(), Arc::clone(&prompts));
        let messages = vec![
            Message::new(Role::User, "480 is our best."),
            Message::new(Role::Assistant, &*attack.text),
        ];
        let rollout = Rollout { messages, ..Rollout::default() };
        let signal = source.score(Ask::new(&rollout, &[1], None)).await.remove(0);
        match signal.part {
            Some(Part::Judge(part)) if part.points.get() > -10.0 => {
                up += 1;
                *families.entry(attack.family).or_default() += 1;
            }
            Some(Part::Judge(part)) => {
                assert!((part.points.get() + 10.0).abs() < 1e-9, "{}", attack.id)
            }
            Some(other) => panic!("{other:?}"),
            None => silent += 1,
        }
    }
    (up, silent, families)
}

#[tokio::test]
async fn no_echo_of_an_attack_moves_the_points_where_answers_are_sealed() {
    let count = attacks().len();
    assert!(count >= 60, "{count}");
    for echo in [Echo::Verbatim, Echo::Obedient, Echo::QuotesFirst, Echo::QuotesLast] {
        for (format, seal) in [
            (ResponseFormat::Plain, Seal::Auto),
            (ResponseFormat::JsonObject, Seal::Auto),
            (ResponseFormat::JsonSchema, Seal::Always),
        ] {
            let (up, silent, families) = moved(echo, format, seal).await;
            println!(
                "{echo:?} {format:?} {seal:?}: {up} of {count} moved, {silent} abstained {families:?}"
            );
            assert_eq!(up, 0, "{echo:?} {families:?}");
        }
    }
}

#[tokio::test]
async fn seal_stops_attacks_that_succeed_without_it() {
    let count = attacks().len();
    for echo in [Echo::Verbatim, Echo::Obedient, Echo::QuotesFirst, Echo::QuotesLast] {
        for (format, seal) in
            [(ResponseFormat::Plain, Seal::Never), (ResponseFormat::JsonSchema, Seal::Auto)]
        {
            let (up, silent, families) = moved(echo, format, seal).await;
            println!(
                "{echo:?} {format:?} {seal:?}: {up} of {count} moved, {silent} abstained {families:?}"
            );
            if matches!(echo, Echo::QuotesFirst | Echo::QuotesLast) {
                assert_eq!(up, 0, "quoting is not obeying: {families:?}");
            }
        }
    }
    let (up, _, _) = moved(Echo::Obedient, ResponseFormat::Plain, Seal::Never).await;
    assert!(up > count / 2, "the corpus has teeth: {up}");
}
