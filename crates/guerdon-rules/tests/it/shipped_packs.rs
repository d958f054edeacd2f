//! The shipped packs load without a lint, and the committed JSON Schema is up to date.

#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests may fail a test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use guerdon_fusion::{Ask, RewardSource, SourceVersion};
use guerdon_rules::{RulePacks, RulesSource, SourceText, format, json_schema};
use guerdon_types::{Message, Part, Role, Rollout, SourceKind};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules")
}

#[expect(clippy::disallowed_methods, reason = "a test reads the files that ship")]
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

pub(crate) fn shipped() -> Vec<SourceText> {
    let mut paths: Vec<PathBuf> =
        folder().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    paths.sort();
    let name = |path: &Path| format!("rules/{}", path.file_name().unwrap().display());
    paths.iter().map(|path| SourceText { name: name(path), text: read(path) }).collect()
}

/// The pack of another domain that the documentation walks through.
fn telecom() -> SourceText {
    let path = folder().join("../examples/rules/telecom-retention.yaml");
    SourceText { name: "examples/rules/telecom-retention.yaml".into(), text: read(&path) }
}

/// The pack for agents that call tools.
fn booking() -> SourceText {
    let path = folder().join("../examples/rules/booking-agent.yaml");
    SourceText { name: "examples/rules/booking-agent.yaml".into(), text: read(&path) }
}

fn loaded() -> RulePacks {
    let (packs, report) =
        RulePacks::compile(&shipped()).unwrap_or_else(|report| panic!("{report}"));
    assert!(report.is_empty(), "{report}");
    packs
}

#[test]
fn the_example_packs_load_without_a_warning() {
    for (pack, rules) in [(telecom(), 8), (booking(), 7)] {
        let (packs, report) =
            RulePacks::compile(&[pack]).unwrap_or_else(|report| panic!("{report}"));
        assert!(report.is_empty(), "{report}");
        assert!(packs.summaries()[0].rules.len() >= rules);
    }
}

#[test]
fn the_shipped_packs_are_formatted() {
    for pack in shipped().into_iter().chain([telecom(), booking()]) {
        assert_eq!(format(&pack).unwrap(), pack.text, "guerdon rules fmt {}", pack.name);
    }
}

#[test]
fn the_shipped_packs_load_without_a_warning() {
    let packs = loaded();
    let ids: Vec<String> = packs.summaries().into_iter().map(|pack| pack.id).collect();
    let shipped = [
        "contact-details",
        "format",
        "guardrails",
        "language",
        "numerics",
        "prompt-residue",
        "repetition",
        "sop-stages",
    ];
    assert_eq!(ids, shipped);
    assert!(packs.versions().values().all(|hash| hash.starts_with("sha256:") && hash.len() == 71));
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    assert!(
        read(&folder().join("schema.json")) == json_schema(),
        "rules/schema.json is not what json_schema() says"
    );
}

#[test]
fn the_source_scores_every_asked_turn_and_names_its_versions() {
    let source = RulesSource::new(Arc::new(loaded()));
    let facts =
        r#"{"target_price": 420, "sop_stage": "close", "language": "zh", "currency": "CNY"}"#;
    let rollout = Rollout {
        messages: vec![
            Message::new(Role::Assistant, "按工单，我们的目标价是420"),
            Message::new(Role::User, "不行"),
            Message::new(Role::Assistant, "好的，那就480元成交"),
        ],
        context: serde_json::from_str(facts).unwrap(),
        ..Rollout::default()
    };
    let mut future = source.score(Ask::new(&rollout, &[0, 2], None));
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(signals) = future.as_mut().poll(&mut task) else {
        panic!("rules never wait")
    };
    let rules: Vec<Vec<String>> = signals
        .iter()
        .map(|signal| match &signal.part {
            Some(Part::Rules(part)) => part.hits.iter().map(|hit| hit.rule.clone()).collect(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(rules, [vec!["internal-words"], vec!["accepts-above-target"]]);
    assert_eq!(source.kind(), SourceKind::Rules);
    assert!(matches!(source.version(), SourceVersion::Texts(texts) if texts.len() == 8));
}
