//! The shipped packs on labelled turns: precision with Wilson's interval, and recall.

#![expect(clippy::panic, reason = "helpers of tests may fail a test")]

use std::path::Path;

use guerdon_rules::{LabelledRollout, RuleMeasure, RulePacks};

use crate::shipped_packs::{read, shipped};

/// Fewer labelled hits measure nothing.
const MIN_HITS: usize = 20;

fn labelled(name: &str) -> Vec<LabelledRollout> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/labelled").join(name);
    let parse = |(number, line): (usize, &str)| {
        LabelledRollout::parse(line).unwrap_or_else(|error| panic!("{name} line {number}: {error}"))
    };
    read(&path).lines().enumerate().map(parse).collect()
}

fn row(rule: &RuleMeasure) -> String {
    let counts = &rule.counts;
    let share = |share: Option<guerdon_rules::ShareEstimate>| match share {
        Some(share) => format!("{:.2} [{:.2}, {:.2}]", share.value, share.low, share.high),
        None => "-".to_owned(),
    };
    let measured = if counts.hits() < MIN_HITS { "not measured" } else { "" };
    format!(
        "{:<45} hits {:>3}  precision {:<18} recall {:<18} {measured}",
        format!("{}/{}", rule.pack, rule.rule),
        counts.hits(),
        share(counts.precision),
        share(counts.recall)
    )
}

/// The wrong verdicts of rules on labelled turns, for the output of the test.
fn differences(packs: &RulePacks, rules: &[RuleMeasure], labelled: &LabelledRollout) -> String {
    let mut found = String::new();
    for (turn, labels) in &labelled.turns {
        let part = packs.evaluate(&labelled.rollout, *turn);
        let text = &labelled.rollout.messages[*turn].content;
        for RuleMeasure { pack, rule, .. } in rules {
            let hit = part.hits.iter().any(|hit| hit.pack == *pack && hit.rule == *rule);
            let wrong = match (labels.verdict(pack, rule), hit) {
                (Some(true), false) => "missed",
                (Some(false), true) => "wrong",
                _ => continue,
            };
            found += &format!("{wrong}: {pack}/{rule}: {text}\n");
        }
    }
    found
}

#[test]
fn shipped_rules_are_precise_on_labelled_turns() {
    let packs = RulePacks::compile(&shipped()).unwrap_or_else(|report| panic!("{report}")).0;
    let natural = labelled("natural.jsonl");
    let mut all = natural.clone();
    all.extend(labelled("planted.jsonl"));
    let on_natural = packs.measure(&natural);
    assert!(on_natural.labelled >= 600, "{}", on_natural.labelled);
    let measures = packs.measure(&all);
    let mut wrong = Vec::new();
    for rule in &measures.rules {
        println!("{}", row(rule));
        let Some(precision) = rule.counts.precision else { continue };
        let least = if rule.is_grave() { 0.95 } else { 0.9 };
        if rule.counts.hits() >= MIN_HITS && precision.value < least {
            wrong.push(row(rule));
        }
    }
    for labelled in &all {
        print!("{}", differences(&packs, &measures.rules, labelled));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
