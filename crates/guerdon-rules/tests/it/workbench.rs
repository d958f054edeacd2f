//! The workbench: examples as tests, the effect of an edit, formatting, drafts.

#![expect(clippy::panic, reason = "helpers of tests may fail a test")]

use guerdon_rules::{DraftInput, RulePacks, SourceText, draft, format, format_pack, junit, tap};
use guerdon_types::{Message, Role, Rollout};
use proptest::prelude::*;

fn pack(text: &str) -> [SourceText; 1] {
    [SourceText { name: "p.yaml".into(), text: text.into() }]
}

fn packs(rules: &str) -> RulePacks {
    RulePacks::compile(&pack(&format!("pack: p\nrules:\n{rules}")))
        .unwrap_or_else(|report| panic!("{report}"))
        .0
}

fn rollout(messages: &[(Role, &str)]) -> Rollout {
    let messages = messages.iter().map(|(role, content)| Message::new(*role, *content)).collect();
    Rollout { messages, ..Rollout::default() }
}

const EXAMPLES: &str = "pack: p
rules:
  - id: a
    points: -1
    match: { any_of: [工单] }
    examples:
      hits: [按工单说, '<no> \"such\" # word']
      misses: [好的]
";

#[test]
fn a_failing_example_does_not_stop_the_others() {
    let results = RulePacks::test(&pack(EXAMPLES)).unwrap();
    let failed: Vec<bool> = results.iter().map(|result| result.failure.is_some()).collect();
    assert_eq!(failed, [false, true, false]);
    assert_eq!((results[1].line, results[1].rule.as_str()), (7, "a"));
    let tap = tap(&results);
    assert!(
        tap.starts_with("TAP version 13\n1..3\nok 1 - p/a hits \"按工单说\"\nnot ok 2 - p/a"),
        "{tap}"
    );
    assert!(tap.contains("\\# word") && tap.contains("at: \"p.yaml:7\""), "{tap}");
    let junit = junit(&results);
    assert!(junit.contains("<testsuite name=\"p\" tests=\"3\" failures=\"1\">"), "{junit}");
    assert!(junit.contains("&lt;no&gt;") && !junit.contains("<no>"), "{junit}");
    assert!(RulePacks::test(&pack("pack: p\nrule: []\n")).is_err());
}

#[test]
fn an_expired_rule_is_an_error_for_authors_and_a_warning_for_servers() {
    let text = "pack: p\nabout: P.\nrules:\n  - { id: a, about: A., points: -1, expires: 2020-01-01, match: { any_of: [b] }, examples: { hits: [b], misses: [c] } }\n";
    assert_eq!(RulePacks::check(&pack(text)).unwrap_err().diagnostics()[0].code, "R014");
    let (_, report) = RulePacks::compile(&pack(text)).unwrap();
    assert_eq!(report.diagnostics()[0].code, "R103");
}

#[test]
fn a_diff_lists_gained_and_lost_hits_of_each_rule() {
    let old = packs(
        "  - { id: a, points: -1, match: { any_of: [工单] } }\n  - { id: b, points: -2, match: { any_of: [x] } }\n",
    );
    let new = packs(
        "  - { id: a, points: -5, match: { any_of: [工单] } }\n  - { id: c, points: -3, match: { any_of: [x] } }\n",
    );
    let rollouts = [
        rollout(&[(Role::Assistant, "工单")]),
        rollout(&[(Role::Assistant, "好")]),
        rollout(&[(Role::Assistant, "x")]),
    ];
    let diff = old.diff(&new, &rollouts);
    assert_eq!((diff.turns, diff.changed), (3, 2));
    assert_eq!([diff.before, diff.after].map(f64::to_bits), [-3.0_f64, -8.0].map(f64::to_bits));
    let changes: Vec<(&str, [usize; 3])> = diff
        .rules
        .iter()
        .map(|rule| (rule.rule.as_str(), [rule.gained, rule.lost, rule.repriced]))
        .collect();
    assert_eq!(changes, [("p/a", [0, 0, 1]), ("p/c", [1, 0, 0]), ("p/b", [0, 1, 0])]);
    assert_eq!((diff.examples[0].rollout, diff.examples[1].rollout), (0, 2));
    assert!(old.diff(&old, &rollouts).rules.is_empty());
}

#[test]
fn costs_name_the_rules_that_ran_and_hit() {
    let packs = packs(
        "  - { id: a, points: -1, match: { any_of: [x] } }\n  - { id: b, points: -1, match: { any_of: [y] } }\n",
    );
    let (turns, costs) =
        packs.costs(&[rollout(&[(Role::Assistant, "x")]), rollout(&[(Role::Assistant, "z")])]);
    assert_eq!(turns, 2);
    let a = costs.iter().find(|cost| cost.rule == "a").unwrap();
    let b = costs.iter().find(|cost| cost.rule == "b").unwrap();
    assert_eq!((a.candidates, a.hits, b.candidates, b.hits), (1, 1, 0, 0));
}

#[test]
fn formatting_keeps_meaning_and_comments() {
    let text = "# head\npack: p\nrules:\n\n\n  # about a\n  - id: a   \n    match: { any_of: [b] } # why\n    # worth\n    points: -1\n  - id: c\n    points: -2\n    match:\n      regex: 'x  '\n\n\n# end\n";
    let tidy = format(&pack(text)[0]).unwrap();
    let wanted = "# head\npack: p\nrules:\n  # about a\n  - id: a\n    # worth\n    points: -1\n    match: { any_of: [b] } # why\n\n  - id: c\n    points: -2\n    match:\n      regex: 'x  '\n\n\n# end\n";
    assert_eq!(tidy, wanted);
    assert_eq!(format(&pack(&tidy)[0]).unwrap(), tidy);
    assert!(format(&pack("pack: [")[0]).is_err());
}

#[test]
fn formatting_sorts_keys_around_comments_and_says_so() {
    let text = "# head\n\n# of the rules\nrules:\n  # of a\n  - match: { any_of: [b] } # why\n\n    # of the points\n    # twice\n    points: -1\n    id: a\n  - # of c\n    points: -2\n    match: { any_of: [d] }\n    id: c\n\n# of the pack\npack: p\nabout: P.\n\n# end\n";
    let wanted = "# head\n\n# of the pack\npack: p\nabout: P.\n# of the rules\nrules:\n  # of a\n  - id: a\n    # of the points\n    # twice\n    points: -1\n    match: { any_of: [b] } # why\n\n  - # of c\n    id: c\n    points: -2\n    match: { any_of: [d] }\n\n# end\n";
    let tidy = format_pack(&pack(text)[0]).unwrap();
    assert_eq!(tidy.text, wanted);
    let changes = tidy.changes.unwrap().to_string();
    let said = "sorted the keys of the pack and of rules a, c; corrected spaces and empty lines";
    assert_eq!(changes, said);
    assert_eq!(format_pack(&pack(wanted)[0]).unwrap().changes, None);
    let merged = "pack: p\nrules:\n  - &base\n    points: -1\n    id: a\n    match: { any_of: [b] }\n\n  - <<: *base\n    match: { any_of: [c] }\n    id: b\n";
    let tidy = format(&pack(merged)[0]).unwrap();
    assert!(tidy.contains("- &base\n    id: a\n    points: -1\n"), "{tidy}");
    assert!(tidy.contains("- id: b\n    <<: *base\n    match"), "{tidy}");
    // An alias stays below its anchor.
    let alias =
        "pack: p\nrules:\n  - match: { any_of: &w [b] }\n    tags: *w\n    id: a\n    points: -1\n";
    assert_eq!(format(&pack(alias)[0]).unwrap(), alias);
}

proptest! {
    /// Keys in any order, with comments and empty lines anywhere between them.
    #[test]
    fn formatting_sorts_any_pack_and_keeps_every_comment(
        order in Just(vec![
            "id: ID", "points: -1", "match: { any_of: [x] }", "tags:\n      - a\n      - b",
            "about: |-\n      # no comment\n      b", "veto: true",
        ]).prop_shuffle(),
        head in Just(vec!["pack: p", "about: P.", "version: 3", "rules:"]).prop_shuffle(),
        between in prop::collection::vec(0_u8..4, 24),
    ) {
        let mut between = between.into_iter();
        let mut comments = 0;
        let mut gap = |indent: &str| match between.next() {
            Some(0) => {
                comments += 1;
                format!("{indent}# c{comments}\n")
            }
            Some(1) => {
                comments += 1;
                format!("\n{indent}# c{comments}\n")
            }
            Some(2) => "\n".to_owned(),
            _ => String::new(),
        };
        let mut text = String::new();
        for key in head {
            text += &format!("{}{key}\n", gap(""));
            for id in ["a", "b"].into_iter().filter(|_| key == "rules:") {
                for (index, line) in order.iter().enumerate() {
                    let line = line.replace("ID", id);
                    if index == 0 {
                        text += &format!("{}  - {line}\n", gap("  "));
                    } else {
                        text += &format!("{}    {line}\n", gap("    "));
                    }
                }
            }
        }
        text += &gap("");
        let tidy = format(&pack(&text)[0]).unwrap_or_else(|report| panic!("{report}\n{text}"));
        let kept = |number: &usize| tidy.matches(&format!("# c{number}\n")).count() == 1;
        prop_assert!((1..=comments).all(|number| kept(&number)), "{}\n{}", text, tidy);
        let place = |key: &str| tidy.find(key).unwrap();
        let keys = ["pack: p", "about: P.", "version: 3", "rules:", "- id: a", "about: |-",
            "points: -1", "veto: true", "tags:", "match:"];
        prop_assert!(keys.is_sorted_by_key(|key| place(key)), "{}\n{}", text, tidy);
        prop_assert_eq!(&format(&pack(&tidy)[0]).unwrap(), &tidy, "{}", text);
    }
}

#[test]
fn formatting_keeps_line_breaks_and_texts_over_several_lines() {
    let text =
        "pack: p\r\nrules:\r\n\r\n  - id: a  \r\n    match: { any_of: [b] }\r\n    points: -1\r\n";
    let wanted =
        "pack: p\r\nrules:\r\n  - id: a\r\n    points: -1\r\n    match: { any_of: [b] }\r\n";
    assert_eq!(format(&pack(text)[0]).unwrap(), wanted);
    for block in [
        "|\n      x  ",
        "|-\n      x  ",
        "|\n      x  \n      y",
        "|-\n      x \n\n      y  ",
        ">\n      x  \n      y",
        "'x \n      y'",
    ] {
        let text = format!(
            "pack: p\nrules:\n  - id: a  \n    match:\n     regex: {block}\n    points: -1 \n"
        );
        let tidy = format(&pack(&text)[0]).unwrap_or_else(|report| panic!("{block:?}: {report}"));
        assert!(
            tidy.starts_with("pack: p\nrules:\n  - id: a\n    points: -1\n    match:\n"),
            "{tidy}"
        );
        assert_eq!(format(&pack(&tidy)[0]).unwrap(), tidy);
    }
}

#[test]
fn a_file_that_cannot_be_formatted_is_reported() {
    let text =
        "pack: p\nrules:\n  - id: a\n    points: -1\n    match:\n      regex: |+\n        x\n\n\n";
    let report = format(&pack(text)[0]).unwrap_err();
    assert!(report.to_string().contains("cannot be formatted"), "{report}");
}

#[test]
fn a_drafted_rule_hits_its_bad_case() {
    let mut bad = rollout(&[
        (Role::Assistant, "好的"),
        (Role::User, "嗯"),
        (Role::Assistant, "it's 工单:\n 'now'"),
    ]);
    bad.context = serde_json::from_str(r#"{"sop_stage": "close", "list": [1]}"#).unwrap();
    let rule = draft(DraftInput { rollout: &bad, turn: 2, phrase: "工单", id: None }).unwrap();
    let (packs, report) = RulePacks::compile(&pack(&format!("pack: p\nabout: P.\nrules:\n{rule}")))
        .unwrap_or_else(|report| panic!("{report}\n{rule}"));
    assert!(report.is_empty(), "{report}");
    assert_eq!(packs.evaluate(&bad, 2).shadow.len(), 1);
    assert!(draft(DraftInput { rollout: &bad, turn: 2, phrase: "没说", id: None }).is_err());
    assert!(draft(DraftInput { rollout: &bad, turn: 9, phrase: "工单", id: None }).is_err());
}

#[test]
fn a_phrase_that_is_too_short_is_refused_with_a_longer_one() {
    for (reply, phrase, longer) in [
        ("我们的价格给到450元", "价", Some("我们的价格给到")),
        ("好，行！", "行", None),
        ("OK, so be it.", "so", Some("so be")),
        ("It is a go", "go", Some("a go")),
        ("priced at 4", "4", Some("at 4")),
        ("we guarantee it", "ar", Some("guarantee")),
    ] {
        let rollout = rollout(&[(Role::Assistant, reply)]);
        let case = |phrase| DraftInput { rollout: &rollout, turn: 0, phrase, id: None };
        let why = draft(case(phrase)).unwrap_err();
        assert!(why.contains("too short"), "{why}");
        match longer {
            Some(longer) => {
                assert!(why.contains(&format!("{longer:?}")), "{why}");
                draft(case(longer)).unwrap();
            }
            None => assert!(why.contains("choose a phrase"), "{why}"),
        }
    }
}
