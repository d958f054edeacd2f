//! The numbers of any text are finite, in order and within the text.
#![no_main]

use std::sync::LazyLock;

use guerdon_rules::{SourceText, RulePacks};
use guerdon_types::{Message, Role, Rollout};
use libfuzzer_sys::fuzz_target;

static PACKS: LazyLock<RulePacks> = LazyLock::new(|| {
    let text = "pack: n\nrules:\n  - { id: any, points: -1, match: { number: {} } }\n  - { id: priced, points: -1, match: { number: { unit: [元, '¥', '%', 折, usd] } }, where: low <= value and value <= high }\n  - { id: odd, points: -1, match: { number: { unit: [元, '¥', '%', 折, usd] } }, where: low > value or value > high or value < 0 }\n";
    RulePacks::compile(&[SourceText { name: "n.yaml".into(), text: text.into() }]).expect("the fuzzer's own pack").0
});

fuzz_target!(|text: &str| {
    let rollout = Rollout { messages: vec![Message::new(Role::Assistant, text)], ..Rollout::default() };
    let part = PACKS.evaluate(&rollout, 0);
    let chars = text.chars().count();
    for hit in &part.hits {
        assert_ne!(hit.rule, "odd", "{hit:?}");
        assert!(hit.spans.is_sorted());
        assert!(hit.spans.iter().all(|[start, end]| start < end && *end <= chars), "{hit:?}");
    }
});
