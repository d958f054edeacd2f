//! The evasion corpus: the share of disguised phrases that is caught with and without folding, and
//! their spans.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

use std::collections::BTreeMap;
use std::path::Path;

use guerdon_rules::{RulePacks, SourceText};
use guerdon_types::{Message, Role, Rollout};
use serde_json::Value;

struct Case {
    phrase: String,
    text: String,
    plain: String,
    transform: String,
}

#[expect(clippy::disallowed_methods, reason = "a test reads its own fixtures")]
fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/evasions/evasions.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let read = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let of = |key: &str| row[key].as_str().unwrap().to_owned();
        Case {
            phrase: of("phrase"),
            text: of("text"),
            plain: of("plain"),
            transform: of("transform"),
        }
    };
    text.lines().map(read).collect()
}

fn packs(phrase: &str, fold: bool) -> RulePacks {
    let rule =
        format!("  - {{ id: a, points: -1, match: {{ any_of: ['{phrase}'], fold: {fold} }} }}");
    let text = format!("pack: p\nrules:\n{rule}\n");
    RulePacks::compile(&[SourceText { name: "p.yaml".into(), text }]).unwrap().0
}

fn spans(packs: &RulePacks, text: &str) -> Vec<[usize; 2]> {
    let messages = vec![Message::new(Role::Assistant, text)];
    let part = packs.evaluate(&Rollout { messages, ..Rollout::default() }, 0);
    part.hits.into_iter().flat_map(|hit| hit.spans).collect()
}

#[test]
fn folding_catches_what_a_plain_search_misses() {
    let cases = cases();
    assert!(cases.len() >= 200, "{}", cases.len());
    let mut caught: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut missed = Vec::new();
    for case in &cases {
        // The phrase may also occur undisguised: then there are more spans than in the plain rest.
        let rest = spans(&packs(&case.phrase, false), &case.plain).len() - 1;
        let raw = spans(&packs(&case.phrase, false), &case.text).len() > rest;
        let folded = spans(&packs(&case.phrase, true), &case.text).len() > rest;
        let counts = caught.entry(&case.transform).or_default();
        counts[0] += 1;
        counts[1] += usize::from(raw);
        counts[2] += usize::from(folded);
        if !folded {
            missed.push(format!("{}: {:?} in {}", case.transform, case.phrase, case.text));
        }
    }
    let [all, raw, folded] =
        caught.values().fold([0; 3], |sum, one| [0, 1, 2].map(|i| sum[i] + one[i]));
    println!("{all} evasions: {raw} caught without folding, {folded} with");
    for (transform, [all, raw, folded]) in &caught {
        println!("{transform:>20} {all:>4} {raw:>4} {folded:>4}");
    }
    println!("missed:\n{}", missed.join("\n"));
    assert_eq!(raw, 0, "a transform that a plain search sees through is none");
    assert_eq!(folded, all, "missed:\n{}", missed.join("\n"));
}

#[test]
fn spans_cover_the_disguised_words() {
    for case in cases() {
        for [from, to] in spans(&packs(&case.phrase, true), &case.text) {
            let words: String = case.text.chars().skip(from).take(to - from).collect();
            let bare = |text: &str| -> String {
                guerdon_rules::fold(text).chars().filter(|c| c.is_alphanumeric()).collect()
            };
            let (words, phrase) = (bare(&words), bare(&case.phrase));
            assert_eq!(words.chars().count(), phrase.chars().count(), "{words} is not {phrase}");
        }
    }
}
