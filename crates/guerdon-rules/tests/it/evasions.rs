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
    matching(&format!("any_of: ['{phrase}'], fold: {fold}"))
}

fn matching(test: &str) -> RulePacks {
    let rule = format!("  - {{ id: a, points: -1, match: {{ {test} }} }}");
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
    assert!(cases.len() >= 400, "{}", cases.len());
    let mut caught: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let mut missed = Vec::new();
    for case in &cases {
        // The phrase may also occur undisguised: then there are more spans than in the plain rest.
        let rest = spans(&packs(&case.phrase, false), &case.plain).len() - 1;
        let raw = spans(&packs(&case.phrase, false), &case.text).len() > rest;
        let folded = spans(&packs(&case.phrase, true), &case.text).len() > rest;
        let regex = matching(&format!("regex: '(?:{0}|{0}s)'", case.phrase));
        let by_regex = spans(&regex, &case.text).len() > rest;
        let counts = caught.entry(&case.transform).or_default();
        counts[0] += 1;
        counts[1] += usize::from(raw);
        counts[2] += usize::from(folded);
        counts[3] += usize::from(by_regex);
        if !folded {
            missed.push(format!("{}: {:?} in {}", case.transform, case.phrase, case.text));
        }
    }
    let [all, raw, folded, regex] =
        caught.values().fold([0; 4], |sum, one| [0, 1, 2, 3].map(|i| sum[i] + one[i]));
    println!("{all} evasions: {raw} caught without folding, {folded} with, {regex} by a regex");
    for (transform, [all, raw, folded, regex]) in &caught {
        println!("{transform:>20} {all:>4} {raw:>4} {folded:>4} {regex:>4}");
    }
    assert!(caught.len() >= 25, "{}", caught.len());
    println!("missed:\n{}", missed.join("\n"));
    assert_eq!(raw, 0, "a transform that a plain search sees through is none");
    assert!(regex * 10 >= all * 9, "{regex} of {all} by a regex");
    assert_eq!(folded, all, "missed:\n{}", missed.join("\n"));
}

#[test]
fn spans_cover_the_disguised_words() {
    for case in cases() {
        for [from, to] in spans(&packs(&case.phrase, true), &case.text) {
            let words: String = case.text.chars().skip(from).take(to - from).collect();
            if case.transform.contains("entities") || case.transform.contains("tag") {
                assert!(words.starts_with(|c: char| c == '&' || c.is_alphanumeric()), "{words}");
                assert!(words.ends_with(|c: char| c == ';' || c.is_alphanumeric()), "{words}");
                continue;
            }
            let bare = |text: &str| -> String {
                guerdon_rules::fold(text)
                    .chars()
                    .filter(|c| c.is_alphanumeric() || "@€!$".contains(*c))
                    .collect()
            };
            let (words, phrase) = (bare(&words), bare(&case.phrase));
            assert_eq!(words.chars().count(), phrase.chars().count(), "{words} is not {phrase}");
        }
    }
}
