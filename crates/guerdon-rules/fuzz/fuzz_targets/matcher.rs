//! The engine and the naive engine report the same hits and spans for any turn.
#![no_main]

use std::sync::LazyLock;

use guerdon_rules::reference::Reference;
use guerdon_rules::{SourceText, RulePacks};
use guerdon_types::{Message, Role, Rollout};
use libfuzzer_sys::fuzz_target;

const PACK: &str = include_str!("matcher.yaml");

static COMPILED: LazyLock<(Reference, RulePacks)> = LazyLock::new(|| {
    let pack = [SourceText { name: "fuzz.yaml".into(), text: PACK.into() }];
    let (packs, _) = RulePacks::compile(&pack).expect("the fuzzer's own pack");
    (Reference::new(&pack), packs)
});

fuzz_target!(|text: &str| {
    let (reference, packs) = &*COMPILED;
    let rollout = Rollout { messages: vec![Message::new(Role::Assistant, text)], ..Rollout::default() };
    let hits = packs.evaluate(&rollout, 0).hits;
    let mut fast: Vec<_> = hits.into_iter().map(|hit| (hit.rule, hit.spans)).collect();
    fast.sort();
    let naive = reference.evaluate(&rollout, 0).into_iter().map(|(rule, _, mut spans)| {
        spans.truncate(64);
        (rule, spans)
    });
    assert_eq!(fast, naive.collect::<Vec<_>>());
});
