//! Rules about tool calls, JSON documents and final states.

#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests may fail a test")]

use guerdon_rules::{RulePacks, SourceText};
use guerdon_types::{Rollout, RulesPart};
use proptest::prelude::*;
use serde_json::{Value, json};

fn packs(rule: &str) -> RulePacks {
    let text = format!("pack: p\nrules:\n  - {{ id: a, points: -1, {rule} }}\n");
    let compiled = RulePacks::compile(&[SourceText::new("p.yaml", text)]);
    compiled.unwrap_or_else(|report| panic!("{report}")).0
}

fn evaluate(rule: &str, rollout: Value) -> RulesPart {
    let rollout: Rollout = serde_json::from_value(rollout).unwrap();
    packs(rule).evaluate(&rollout, rollout.messages.len() - 1)
}

fn call(name: &str, arguments: &Value) -> Value {
    json!({ "type": "function", "function": { "name": name, "arguments": arguments.to_string() } })
}

/// The detail of the hit of a rule on a turn with these calls.
fn detail(rule: &str, calls: &[Value]) -> Option<String> {
    let turn = json!({ "role": "assistant", "content": null, "tool_calls": calls });
    let part = evaluate(rule, json!({ "messages": [turn] }));
    assert!(part.abstained.is_empty(), "{part:?}");
    assert!(part.hits.iter().all(|hit| hit.spans.is_empty()), "{part:?}");
    part.hits.first().map(|hit| hit.detail.clone().unwrap_or_default())
}

#[test]
fn a_call_is_matched_by_its_name_and_arguments() {
    let book = |price: Value| call("book", &json!({ "room": { "price": price }, "city": "Paris" }));
    let hits = |rule: &str, price: Value| detail(rule, &[book(price)]).is_some();
    let named = "match: { tool_call: { name: [book, pay] } }";
    let found = detail(named, &[call("search", &json!({})), book(json!(480))]).unwrap();
    assert!(found.starts_with("book({") && found.contains("480"), "{found}");
    assert_eq!(detail(named, &[call("search", &json!({}))]), None);
    let other = "match: { tool_call: { not_name: [search] } }";
    assert!(hits(other, json!(1)));
    let valued = "match: { tool_call: { name: book, arguments: { room.price: [480, 500] } } }";
    assert!(hits(valued, json!(480.0)) && !hits(valued, json!(481)) && !hits(valued, json!("480")));
    let compared = "match: { tool_call: { name: book } }, where: arguments.room.price > 400";
    assert!(hits(compared, json!(480)) && !hits(compared, json!(400)));
    let twice = "match: { tool_call: {}, count: 2 }";
    assert_eq!(detail(twice, &[book(json!(1))]), None);
    assert!(detail(twice, &[book(json!(1)), book(json!(2))]).is_some());
    // Arguments that are not JSON meet no condition.
    let broken = json!({ "function": { "name": "book", "arguments": "{" } });
    assert_eq!(detail(compared, std::slice::from_ref(&broken)), None);
    assert_eq!(detail(named, &[broken]).unwrap(), "book({)");
    let with_text = "match: { all: [{ tool_call: { name: book } }, { any_of: [booked] }] }";
    assert!(!hits(with_text, json!(1)));
}

#[test]
fn a_missing_fact_abstains_and_a_missing_argument_misses() {
    let rule = "match: { tool_call: { name: book } }, where: arguments.price > context.limit";
    let turn = |arguments: Value, context: Value| {
        let turn =
            json!({ "role": "assistant", "content": "", "tool_calls": [call("book", &arguments)] });
        evaluate(rule, json!({ "messages": [turn], "context": context }))
    };
    assert_eq!(turn(json!({ "price": 5 }), json!({ "limit": 4 })).hits.len(), 1);
    assert_eq!(turn(json!({ "price": 5 }), json!({})).abstained.len(), 1);
    assert_eq!(turn(json!({}), json!({})), RulesPart::default());
}

#[test]
fn calls_of_the_dialogue_are_read_up_to_the_scored_turn() {
    let rule = "on: { turn: dialogue }, check: { tool_calls: { order: [search, quote, book] } }";
    let turn = |names: &[&str]| {
        let calls: Vec<Value> = names.iter().map(|name| call(name, &json!({}))).collect();
        json!({ "role": "assistant", "content": "ok", "tool_calls": calls })
    };
    let hit = |turns: &[&[&str]]| {
        let messages: Vec<Value> = turns.iter().map(|names| turn(names)).collect();
        let part = evaluate(rule, json!({ "messages": messages }));
        part.hits.first().map(|hit| hit.detail.clone().unwrap_or_default())
    };
    assert_eq!(hit(&[&["search"], &["quote"], &["book", "book"], &["search"]]), None);
    let early = hit(&[&["search"], &["book"], &["quote"]]).unwrap();
    assert!(early.contains("book({}) in message 1 without quote before it"), "{early}");
    let none = hit(&[&["quote"]]).unwrap();
    assert_eq!(none, "quote({}) without search before it");
    let messages = [turn(&["search"]), turn(&["quote"]), turn(&["book"])];
    let rollout: Rollout = serde_json::from_value(json!({ "messages": messages })).unwrap();
    assert!(
        packs("on: { turn: dialogue }, check: { tool_calls: { name: book, max: 0 } }")
            .evaluate(&rollout, 1)
            .hits
            .is_empty()
    );
}

#[test]
fn declared_tools_are_read_in_both_forms() {
    let rule = "check: { tool_calls: { declared: true } }";
    let schema = json!({ "type": "object", "required": ["city"], "properties": { "city": { "type": "string" } } });
    let openai =
        json!({ "type": "function", "function": { "name": "search", "parameters": schema } });
    let anthropic = json!({ "name": "search", "input_schema": schema });
    let part = |tools: &[Value], call: Value| {
        let turn = json!({ "role": "assistant", "content": "", "tool_calls": [call] });
        evaluate(rule, json!({ "messages": [turn], "tools": tools }))
    };
    for tool in [openai, anthropic] {
        let tools = [tool];
        assert!(part(&tools, call("search", &json!({ "city": "Paris" }))).hits.is_empty());
        assert_eq!(part(&tools, call("search", &json!({}))).hits.len(), 1);
        assert_eq!(part(&tools, call("serach", &json!({ "city": "Paris" }))).hits.len(), 1);
    }
    // Without declarations, and with one that is wrong, nothing is known.
    assert_eq!(part(&[], call("search", &json!({}))).abstained.len(), 1);
    let wrong = json!({ "name": "search", "input_schema": { "type": "objekt" } });
    assert_eq!(part(&[wrong], call("search", &json!({}))).abstained.len(), 1);
    let outside = json!({ "name": "search", "input_schema": { "$ref": "file:///etc/hostname" } });
    assert_eq!(part(&[outside], call("search", &json!({}))).abstained.len(), 1);
}

proptest! {
    /// The number of calls that a rule counts is that of a plain loop.
    #[test]
    fn calls_are_counted(
        names in prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..8),
        min in 0_usize..4,
        max in 4_usize..7,
    ) {
        let calls: Vec<Value> = names.iter().map(|name| call(name, &json!({}))).collect();
        let count = names.iter().filter(|name| **name != "c").count();
        let rule = format!("check: {{ tool_calls: {{ name: [a, b], min: {min}, max: {max} }} }}");
        let is_outside = count < min || count > max;
        prop_assert_eq!(detail(&rule, &calls).is_some(), is_outside);
        let least = format!("match: {{ tool_call: {{ not_name: c }}, count: {} }}", min + 1);
        prop_assert_eq!(detail(&least, &calls).is_some(), count > min);
    }
}

/// Returns whether a rule is reported because it does not say which turns it reads.
fn is_unselected(rule: &str) -> bool {
    let text = format!("pack: p\nrules:\n  - {{ id: a, points: -1, {rule} }}\n");
    let (_, report) = RulePacks::check(&[SourceText::new("p.yaml", text)])
        .unwrap_or_else(|report| panic!("{report}"));
    report.diagnostics().iter().any(|one| one.code == "R117")
}

#[test]
fn a_rule_about_calls_that_does_not_name_its_turns_is_reported() {
    let tests = [
        ("match: { tool_call: { name: book } }", true),
        ("match: { tool_call: {}, count: 2 }", true),
        ("match: { any: [{ any_of: [booked] }, { tool_call: { name: book } }] }", true),
        ("match: { all: [{ any_of: [booked] }, { not: { tool_call: { name: book } } }] }", true),
        ("check: { tool_calls: { max: 3 } }", true),
        ("check: { tool_calls: { declared: true } }", true),
        ("check: { json_schema: { of: arguments, schema: { type: object } } }", true),
        ("check: { json_schema: { schema: { type: object } } }", false),
        ("match: { any_of: [booked] }", false),
    ];
    for (test, reads_calls) in tests {
        for on in ["", "on: { role: assistant }, "] {
            assert_eq!(is_unselected(&format!("{on}{test}")), reads_calls, "{on}{test}");
        }
        for turn in ["current", "previous", "any", "dialogue"] {
            let on = format!("on: {{ turn: {turn} }}, ");
            assert!(!is_unselected(&format!("{on}{test}")), "{on}{test}");
        }
    }
}
