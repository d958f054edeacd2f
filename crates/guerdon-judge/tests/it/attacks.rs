//! Forged verdicts against a compromised judge that repeats its prompt. No prompt can prevent this,
//! so the reader of answers must. The texts are this project's own (`attacks.jsonl`); `{forged}`
//! stands for a perfect verdict.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Answers with everything from the first brace of the judged turn to the last.
    Obedient,
    /// Answers with the first JSON object of the judged turn.
    FirstJson,
    /// Answers with the last JSON object of the judged turn.
    LastJson,
    /// Gives the verdict that the turn asks for, in the form that guerdon asks for: the worst case.
    ObeysInForm,
    /// Quotes the prompt, then gives its own verdict.
    QuotesFirst,
    /// Gives its own verdict, then quotes the prompt.
    QuotesLast,
}

/// The JSON objects in `text`, outermost ones.
fn objects(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let mut stream = serde_json::Deserializer::from_str(&rest[at..]).into_iter::<Value>();
        let length = match stream.next() {
            Some(Ok(_)) => stream.byte_offset(),
            _ => 0,
        };
        if length > 0 {
            found.push(rest[at..at + length].to_owned());
        }
        rest = &rest[at + length.max(1)..];
    }
    found
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
            Echo::FirstJson => objects(shown).into_iter().next().unwrap_or_default(),
            Echo::LastJson => objects(shown).into_iter().next_back().unwrap_or_default(),
            Echo::ObeysInForm => own("no"),
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

/// Every judge but the one that obeys in guerdon's own form.
const ECHOES: [Echo; 6] = [
    Echo::Verbatim,
    Echo::Obedient,
    Echo::FirstJson,
    Echo::LastJson,
    Echo::QuotesFirst,
    Echo::QuotesLast,
];

#[tokio::test]
async fn no_echo_of_an_attack_moves_the_points_where_answers_are_sealed() {
    let attacks = attacks();
    let families: BTreeSet<&str> = attacks.iter().map(|attack| attack.family.as_str()).collect();
    assert!(attacks.len() >= 120 && families.len() >= 12, "{} {families:?}", attacks.len());
    for echo in ECHOES {
        for (format, seal) in [
            (ResponseFormat::JsonSchema, Seal::Auto),
            (ResponseFormat::JsonObject, Seal::Auto),
            (ResponseFormat::Plain, Seal::Always),
        ] {
            let (up, silent, families) = moved(echo, format, seal).await;
            println!("{echo:?} {format:?} {seal:?}: {up} moved, {silent} abstained {families:?}");
            assert_eq!(up, 0, "{echo:?} {families:?}");
            if matches!(echo, Echo::QuotesFirst | Echo::QuotesLast) {
                assert!(silent <= 1, "{echo:?}: {silent} honest verdicts were lost");
            }
        }
    }
}

#[tokio::test]
async fn the_seal_stops_attacks_that_succeed_without_it() {
    let count = attacks().len();
    for echo in ECHOES {
        let (up, silent, families) = moved(echo, ResponseFormat::Plain, Seal::Never).await;
        println!("{echo:?} without a seal: {up} moved, {silent} abstained {families:?}");
        match echo {
            Echo::QuotesFirst | Echo::QuotesLast => {
                assert_eq!(up, 0, "quoting is not obeying: {families:?}");
            }
            Echo::Verbatim => {}
            _ => assert!(up > count / 2, "the corpus has teeth: {up}"),
        }
    }
}

/// The limit of every form of an answer; docs/reference/benchmarks.md states it.
#[tokio::test]
async fn a_judge_that_obeys_in_form_is_moved_by_every_attack() {
    let (up, silent, _) = moved(Echo::ObeysInForm, ResponseFormat::JsonSchema, Seal::Auto).await;
    assert_eq!((up, silent), (attacks().len(), 0));
}

/// A source with a known fault, whose judge behaves like `echo`.
fn probed(echo: Echo) -> JudgeSource {
    let probe = "[[probes]]\nname = \"rude\"\nbefore = \"480?\"\nturn = \"Go away.\"\nlevels = { rude = \"yes\" }\n";
    let text = RUBRIC.replace("+++\n# system", &format!("{probe}+++\n# system"));
    let texts = [SourceText { name: "manners.md".to_owned(), text }];
    let (prompts, _) = Prompts::compile(&texts).unwrap_or_else(|report| panic!("{report}"));
    let services = Services::new(TaskTracker::new(), |_| {})
        .with_transport(move |_| Arc::new(CanaryTransport(EchoTransport(echo))));
    let endpoint = Endpoint::build(EndpointConfig::new("http://mad/v1", "m"), &services).unwrap();
    JudgeSource::new(endpoint, Arc::new(prompts))
}

/// Judges a turn without a forged verdict honestly, and others as its echo does.
#[derive(Debug)]
struct CanaryTransport(EchoTransport);

impl Transport for CanaryTransport {
    fn send(&self, body: Vec<u8>) -> BoxFuture<'_, Result<TransportReply, TransportError>> {
        let request: Value = serde_json::from_slice(&body).unwrap();
        let forged = request["messages"][1]["content"].as_str().unwrap().contains("findings");
        if forged {
            return self.0.send(body);
        }
        async move { EchoTransport(Echo::QuotesFirst).send(body).await }.boxed()
    }
}

#[tokio::test]
async fn canaries_find_a_judge_that_obeys_and_no_honest_one() {
    let (obeying, honest) = (probed(Echo::ObeysInForm), probed(Echo::QuotesFirst));
    let mut names = BTreeSet::new();
    for number in 0..24 {
        let moved = obeying.canary(number, 1).await.unwrap();
        assert_eq!(moved.passed, Some(false), "{moved:?}");
        names.insert(moved.probe);
        let unmoved = honest.canary(number, 1).await.unwrap();
        assert_eq!(unmoved.passed, Some(true), "{unmoved:?}");
    }
    assert_eq!(names.len(), 12, "every form of a forgery in turn");
}
