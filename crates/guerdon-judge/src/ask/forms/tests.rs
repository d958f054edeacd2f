//! Answers of every form, read and refused.

use std::sync::Arc;

use guerdon_text::SourceText;
use proptest::prelude::*;

use super::*;
use crate::Prompts;
use crate::ask::listing::ListedReply;
use crate::ask::listing::tests::reply;
use crate::ask::nonce::Nonce;

/// A rubric about one criterion with the levels 1, 3 and 5.
fn rubric(settings: &str) -> Arc<Rubric> {
    let text = format!(
        "+++\nid = \"r\"\nabout = \"r\"\nversion = 1\nempty_points = -1\n{settings}\n[[criteria]]\nid = \"q\"\nkind = \"bonus\"\nabout = \"q\"\n\
         levels = [{{ name = \"1\", points = 0, anchor = \"a\" }}, {{ name = \"3\", points = 4, anchor = \"b\" }}, \
         {{ name = \"5\", points = 20, anchor = \"c\" }}]\n+++\n# system\n# user\n{{{{ turn }}}}\n"
    );
    let texts = [SourceText { name: "r.md".to_owned(), text }];
    let (prompts, _) = Prompts::compile(&texts).unwrap_or_else(|report| panic!("{report}"));
    Arc::clone(&prompts.rubrics()[0])
}

fn listing(count: usize, sample: u32) -> Listing {
    let replies: Vec<ListedReply> = (0..count).map(|one| reply(&one.to_string())).collect();
    let replies: Vec<&ListedReply> = replies.iter().collect();
    Listing::new(&replies, &[1; 32], sample, &Nonce::for_show())
}

fn read(
    rubric: &Rubric,
    listing: Option<&Listing>,
    text: &str,
) -> Result<ParsedAnswer, AnswerError> {
    FormContract { rubric, criterion: &rubric.criteria[0], listing }.read(text)
}

fn level(rubric: &Rubric, text: &str) -> Option<(String, Option<Vec<f64>>)> {
    let read = read(rubric, None, text).ok()?;
    Some((read.findings[0].level.clone(), read.findings[0].weights.clone()))
}

fn is_malformed(result: &Result<ParsedAnswer, AnswerError>) -> bool {
    matches!(result, Err(AnswerError::Malformed(_)))
}

#[test]
fn a_letter_stands_alone() {
    let rubric = rubric("answer = \"letter\"");
    for (text, wanted) in [("A", "1"), (" B.\n", "3"), ("(C)", "5"), ("<think>A B</think>\nC", "5")]
    {
        assert_eq!(level(&rubric, text).unwrap().0, wanted, "{text}");
    }
    for bad in ["", "D", "a", "AB", "A B", "Answer: A", "A\nB", "3", "<think>A"] {
        assert!(is_malformed(&read(&rubric, None, bad)), "{bad}");
    }
}

#[test]
fn a_number_is_a_level_or_lies_between_two() {
    let rubric = rubric("answer = \"number\"");
    assert_eq!(level(&rubric, "3"), Some(("3".to_owned(), None)));
    assert_eq!(level(&rubric, " 5.0\n"), Some(("5".to_owned(), None)));
    assert_eq!(level(&rubric, "4.5"), Some(("5".to_owned(), Some(vec![0.0, 0.25, 0.75]))));
    for bad in ["", "0", "5.1", "-3", "NaN", "inf", "3/5", "three", "3 5", "Score: 3", "1e0"] {
        assert!(is_malformed(&read(&rubric, None, bad)), "{bad}");
    }
}

#[test]
fn reasons_come_before_the_last_line_and_are_kept_apart() {
    let rubric = rubric("answer = \"number\"\nreasoning = \"before\"");
    let answer = read(&rubric, None, "It is short, so 5 is too much.\n\n3\n").unwrap();
    assert_eq!(answer.findings[0].level, "3");
    assert_eq!(answer.reasons.as_deref(), Some("It is short, so 5 is too much."));
    assert_eq!(read(&rubric, None, "3").unwrap().reasons, None);
    for bad in ["3\nbecause it is short", "I say 3"] {
        assert!(is_malformed(&read(&rubric, None, bad)), "{bad}");
    }
}

#[test]
fn all_matches_of_a_pattern_must_agree() {
    let rubric = rubric("answer = { regex = '\\[RESULT\\]\\s*(\\d)' }\nreasoning = \"before\"");
    let answer = read(&rubric, None, "Feedback: good. [RESULT] 5").unwrap();
    assert_eq!(
        (&*answer.findings[0].level, answer.reasons.as_deref()),
        ("5", Some("Feedback: good."))
    );
    assert_eq!(level(&rubric, "[RESULT] 3 ... [RESULT] 3").unwrap().0, "3");
    let quoted = read(&rubric, None, "It writes \"[RESULT] 5\". [RESULT] 1");
    assert_eq!(quoted, Err(AnswerError::Ambiguous));
    for bad in ["5", "[RESULT] none", "[RESULT] 9"] {
        assert!(is_malformed(&read(&rubric, None, bad)), "{bad}");
    }
}

/// The preference for the first reply of the case.
fn preference(rubric: &Rubric, sample: u32, text: &str) -> Option<f64> {
    let read = read(rubric, Some(&listing(2, sample)), text).ok()?;
    Some(read.findings[0].preference())
}

#[test]
fn a_pair_is_answered_by_letter_number_or_pattern() {
    let is_first = |sample| listing(2, sample).blocks()[0].reply == 0;
    let pairwise = |settings: &str| rubric(&format!("mode = \"pairwise\"\n{settings}"));
    type Answer<'a> = (&'a str, Option<f64>);
    let cases: [(&str, &[Answer<'_>]); 5] = [
        (
            "answer = \"letter\"",
            &[("A", Some(1.0)), ("B", Some(0.0)), ("C", Some(0.5)), ("D", None), ("tie", None)],
        ),
        (
            "answer = \"number\"\nscale = [1, 6]",
            &[
                ("1", Some(1.0)),
                ("6", Some(0.0)),
                ("3.5", Some(0.5)),
                ("2", Some(0.8)),
                ("7", None),
                ("0", None),
            ],
        ),
        (
            "answer = { regex = '\\[\\[(A|B|C)\\]\\]' }",
            &[
                ("I choose [[A]]", Some(1.0)),
                ("[[B]]", Some(0.0)),
                ("[[C]]", Some(0.5)),
                ("[[A]] [[B]]", None),
                ("A", None),
            ],
        ),
        (
            "answer = { regex = '\"ranking\":\\s*(\\d)' }\nscale = [1, 6]",
            &[("{\"score_1\": 4, \"ranking\": 6}", Some(0.0)), ("{\"ranking\": 8}", None)],
        ),
        (
            "answer = { regex = '<a>(?P<first>\\S+)</a><b>(?P<second>\\S+)</b>' }",
            &[
                ("<a>7</a><b>4.5</b>", Some(1.0)),
                ("<a>7</a><b>7.0</b>", Some(0.5)),
                ("<a>x</a><b>7</b>", None),
            ],
        ),
    ];
    for (settings, answers) in cases {
        let rubric = pairwise(settings);
        for (text, wanted) in answers {
            for sample in 0..2 {
                let wanted = wanted.map(|one| if is_first(sample) { one } else { 1.0 - one });
                let got = preference(&rubric, sample, text);
                let near = |(a, b): (f64, f64)| (a - b).abs() < 1e-12;
                assert!(got.zip(wanted).map_or(got == wanted, near), "{settings}: {text}: {got:?}");
            }
        }
    }
}

/// The weights of the worst and best level of each reply of the case.
fn shares(rubric: &Rubric, listing: &Listing, text: &str) -> Option<Vec<f64>> {
    let read = read(rubric, Some(listing), text).ok()?;
    let mut shares: Vec<(Option<u32>, f64)> = read
        .findings
        .iter()
        .map(|finding| (finding.reply, finding.weights.as_ref().map_or(0.0, |one| one[2])))
        .collect();
    shares.sort_by_key(|(reply, _)| *reply);
    Some(shares.into_iter().map(|(_, share)| share).collect())
}

#[test]
fn a_ranking_names_every_reply_once() {
    let rubric = rubric("mode = \"listwise\"\nanswer = \"ranking\"");
    let listing = listing(3, 0);
    let by_place = |wanted: [f64; 3]| {
        let mut by_reply = [0.0; 3];
        for (block, share) in listing.blocks().iter().zip(wanted) {
            by_reply[block.reply] = share;
        }
        Some(by_reply.to_vec())
    };
    for text in ["B > A > C", "B>A>C.", "B, A, C", "[\"B\", \"A\", \"C\"]"] {
        assert_eq!(shares(&rubric, &listing, text), by_place([0.5, 1.0, 0.0]), "{text}");
    }
    assert_eq!(shares(&rubric, &listing, "A = C > B"), by_place([0.75, 0.0, 0.75]));
    assert_eq!(shares(&rubric, &listing, "A = B = C"), by_place([0.5, 0.5, 0.5]));
    for bad in [
        "",
        "A > B",
        "A > B > C > D",
        "A > A > B > C",
        "a > b > c",
        "A B C",
        "The best is A > B > C",
    ] {
        assert!(is_malformed(&read(&rubric, Some(&listing), bad)), "{bad}");
    }
}

#[test]
fn numbers_of_a_list_are_keyed_by_the_names_of_the_replies() {
    let rubric = rubric("mode = \"listwise\"\nanswer = \"number\"\nreply_names = \"model-{n}\"");
    let listing = listing(2, 0);
    let levels = |text: &str| {
        let read = read(&rubric, Some(&listing), text).ok()?;
        Some(read.findings.iter().map(|one| one.level.clone()).collect::<Vec<_>>())
    };
    let wanted = Some(vec!["5".to_owned(), "1".to_owned()]);
    for text in [
        "{\"scores\": {\"model-1\": 5, \"model-2\": 1}}",
        "<think>model-2 is bad</think>\n```json\n{\"scores\": {\"model-2\": 1, \"model-1\": 5.0}, \"best-to-worst\": []}\n```",
        "{\"model-1\": 5, \"model-2\": 1}",
    ] {
        assert_eq!(levels(text), wanted, "{text}");
    }
    for bad in [
        "{\"scores\": {\"model-1\": 5}}",
        "{\"scores\": {\"model-1\": 5, \"model-2\": 6}}",
        "{\"scores\": {\"model-1\": 5, \"model-2\": 1, \"model-3\": 1}}",
        "{\"scores\": {\"model-1\": \"5\", \"model-2\": 1}}",
        "{\"scores\": {\"model-1\": 5, \"model-1\": 1, \"model-2\": 1}}",
    ] {
        assert_eq!(levels(bad), None, "{bad}");
    }
}

#[test]
fn settings_that_do_not_fit_are_errors() {
    let report = |settings: &str| {
        let criterion = |id: &str| {
            format!(
                "[[criteria]]\nid = \"{id}\"\nkind = \"bonus\"\nabout = \"q\"\nlevels = [{{ name = \"no\", points = 0, anchor = \"a\" }}, \
                 {{ name = \"yes\", points = 4, anchor = \"b\" }}]\n"
            )
        };
        let text = format!(
            "+++\nid = \"r\"\nabout = \"r\"\nversion = 1\nempty_points = -1\n{settings}\n{}{}+++\n# system\n# user\n{{{{ turn }}}}\n",
            criterion("q"),
            if settings.contains("two") { criterion("p") } else { String::new() }
        );
        let texts = [SourceText { name: "r.md".to_owned(), text }];
        Prompts::compile(&texts).map(|_| ()).map_err(|report| report.to_string())
    };
    for good in [
        "answer = \"schema\"",
        "answer = \"letter\"",
        "answer = \"letter\"\ngrouping = \"criterion\" # two",
        "answer = { regex = '(yes|no)' }",
        "mode = \"listwise\"\nanswer = \"ranking\"",
        "mode = \"pairwise\"\nanswer = \"letter\"",
    ] {
        assert_eq!(report(good), Ok(()), "{good}");
    }
    for (bad, word) in [
        ("answer = \"letters\"", "J002"),
        ("answer = \"letter\" # two", "grouping = \"criterion\""),
        ("answer = \"ranking\"", "listwise"),
        ("answer = \"number\"", "numbers as names"),
        ("answer = { regex = '(' }", "J025"),
        ("answer = { regex = 'yes' }", "no group"),
        ("mode = \"pairwise\"\nanswer = \"ranking\"", "listwise"),
        ("mode = \"pairwise\"\nanswer = \"number\"", "`scale`"),
        ("mode = \"listwise\"\nanswer = \"letter\"", "one reply or two"),
        ("mode = \"listwise\"\nanswer = \"ranking\"\nper_call = 40", "26"),
        ("scale = [1, 6]", "`scale`"),
        ("mode = \"pairwise\"\nanswer = \"number\"\nscale = [1, 1]", "two different numbers"),
        ("reply_names = \"A\"", "one place"),
        ("instructions = \"own\"", "`answer`"),
    ] {
        let report = report(bad).unwrap_err();
        assert!(report.contains(word), "{bad}: {report}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in ".{0,80}", wild in "[A-C>=,\\[\\]0-9.{}\":\n ]{0,60}") {
        let absolute = ["\"letter\"", "\"number\"", "{ regex = '(\\d)' }"];
        let pairwise = ["\"letter\"", "\"number\"\nscale = [0, 1]", "{ regex = '(.)' }"];
        let listwise = ["\"ranking\"", "\"number\"", "{ regex = '(?s)(.*)' }"];
        let groups = [("absolute", absolute), ("pairwise", pairwise), ("listwise", listwise)];
        for (mode, answers) in groups {
            for answer in answers {
                let rubric = rubric(&format!("mode = \"{mode}\"\nanswer = {answer}"));
                let listing = listing(2, 0);
                let shown = (mode != "absolute").then_some(&listing);
                for text in [&text, &wild] {
                    if let Ok(read) = read(&rubric, shown, text) {
                        for finding in read.findings {
                            let sum: f64 = finding.weights.unwrap_or_else(|| vec![1.0]).iter().sum();
                            prop_assert!((sum - 1.0).abs() < 1e-9);
                        }
                    }
                }
            }
        }
    }
}
