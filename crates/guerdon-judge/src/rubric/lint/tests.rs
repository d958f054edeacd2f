//! Tests of the checks for authors, on sentences that are put together from lists.

use guerdon_text::SourceText;

use crate::Prompts;

/// A rubric with one criterion.
fn rubric(id: &str, about: &str, levels: &str, kind: &str) -> String {
    format!(
        "+++\nid = \"r\"\nabout = \"r\"\nversion = 1\nempty_points = -9\n[[criteria]]\nid = {id:?}\nkind = \
         {kind:?}\nabout = {about:?}\nlevels = [{levels}]\n+++\n# system\n{{% for c in criteria %}}{{{{ c.id }}}}: \
         {{{{ c.about }}}}{{% endfor %}}\n# user\n{{{{ dialogue }}}}\n{{{{ turn }}}}\n"
    )
}

const YES_COSTS: &str = "{ name = \"no\", points = 0, anchor = \"a\" }, { name = \"yes\", points = -9, anchor = \"b\" }";
const NO_COSTS: &str = "{ name = \"yes\", points = 0, anchor = \"a\" }, { name = \"no\", points = -9, anchor = \"b\" }";
const YES_GAINS: &str =
    "{ name = \"no\", points = 0, anchor = \"a\" }, { name = \"yes\", points = 9, anchor = \"b\" }";

/// The codes of what is found about a text.
fn codes(text: String) -> Vec<String> {
    let texts = [SourceText { name: "r.md".to_owned(), text }];
    let report = match Prompts::check(&texts) {
        Ok((_, report)) | Err(report) => report,
    };
    report.diagnostics().iter().map(|found| found.code.clone()).collect()
}

fn about(about: &str, levels: &str) -> Vec<String> {
    let kind = if levels == YES_GAINS { "bonus" } else { "deduct" };
    codes(rubric("c", about, levels, kind))
}

const FAULTS: [&str; 9] = [
    "interrupts the partner",
    "mocks the partner",
    "ignores the question",
    "repeats the price",
    "gives the discount away",
    "invents a price",
    "goes back on an offer",
    "is rude",
    "sounds dismissive",
];
const VIRTUES: [&str; 8] = [
    "answers the question",
    "thanks the partner",
    "acknowledges the loss",
    "takes the reason up",
    "stands by the offer",
    "explains the price",
    "is polite",
    "sounds patient",
];
/// The same in the base form.
const BASE: [(&str, bool); 8] = [
    ("interrupt the partner", true),
    ("mock the partner", true),
    ("give the discount away", true),
    ("be rude", true),
    ("answer the question", false),
    ("acknowledge the loss", false),
    ("take the reason up", false),
    ("be polite", false),
];
const FRAMES: [&str; 4] = [
    "The reply {}.",
    "It {}.",
    "The partner asked for time, and the reply {}.",
    "When the partner is angry, the reply openly {}.",
];

#[test]
fn a_yes_that_means_the_opposite_is_found_and_no_other() {
    let inverted = ["J103".to_owned()];
    for frame in FRAMES {
        for fault in FAULTS {
            let sentence = frame.replace("{}", fault);
            assert!(about(&sentence, YES_COSTS).is_empty(), "{sentence}");
            assert_eq!(about(&sentence, NO_COSTS), inverted, "{sentence}");
            assert_eq!(about(&sentence, YES_GAINS), inverted, "{sentence}");
        }
        for virtue in VIRTUES {
            let sentence = frame.replace("{}", virtue);
            assert_eq!(about(&sentence, YES_COSTS), inverted, "{sentence}");
            assert!(about(&sentence, NO_COSTS).is_empty(), "{sentence}");
            assert!(about(&sentence, YES_GAINS).is_empty(), "{sentence}");
        }
        for negation in ["does not", "never once did", "doesn't", "does no longer"] {
            for (base, is_fault) in BASE {
                // "does not be" is no English.
                if base.starts_with("be ") {
                    continue;
                }
                let negation = negation.replace("never once did", "never did");
                let sentence = frame.replace("{}", &format!("{negation} {base}"));
                let wrong = about(&sentence, YES_COSTS);
                assert_eq!(wrong.is_empty(), !is_fault, "{sentence}: {wrong:?}");
                let wrong = about(&sentence, NO_COSTS);
                assert_eq!(wrong.is_empty(), is_fault, "{sentence}: {wrong:?}");
            }
        }
        for norm in ["should", "should not", "must never", "has to"] {
            for (base, _) in BASE {
                let sentence = frame.replace("{}", &format!("{norm} {base}"));
                assert_eq!(about(&sentence, YES_COSTS), inverted, "{sentence}");
                assert!(about(&sentence, NO_COSTS).is_empty(), "{sentence}");
            }
        }
        for negating in ["fails to", "forgets to"] {
            let sentence = frame.replace("{}", &format!("{negating} answer the question"));
            assert!(about(&sentence, YES_COSTS).is_empty(), "{sentence}");
            assert_eq!(about(&sentence, NO_COSTS), inverted, "{sentence}");
        }
        let sentence = frame.replace("{}", "avoids interrupting the partner");
        assert_eq!(about(&sentence, YES_COSTS), inverted, "{sentence}");
    }
}

#[test]
fn the_inverted_criteria_of_the_first_rubrics_are_found() {
    for (id, sentence) in [
        ("gives_away", "The reply gives nothing away without getting or asking for something."),
        ("goes_back", "The reply stands by what was already agreed or offered."),
        (
            "repeats",
            "The reply does not ask again for what the partner has already given or confirmed.",
        ),
        ("drops_matter", "When several matters are open, the reply handles or parks each of them."),
        (
            "overpromises",
            "The reply promises no outcome that the agent does not control, such as ranking, traffic or revenue.",
        ),
        (
            "invents_commitment",
            "The reply invents no commitment: no price, refund, compensation or contract term that stands neither in \
             the dialogue nor in the facts.",
        ),
        (
            "ignores_reason",
            "The partner gave a reason; the reply takes it up before it goes on about price.",
        ),
        (
            "takes_as_yes",
            "Silence, a vague word, a question or a subject changed is not agreement, and the reply does not treat it \
             as such.",
        ),
        (
            "takes_as_no",
            "Silence or hesitation is not refusal, and the reply does not give up because of it.",
        ),
        ("gives_away", "没有换取就不让步。"),
        ("goes_back", "守住已经约定或提出的内容。"),
        ("repeats", "不再索要对方已经给出或确认过的内容。"),
        ("drops_matter", "有几件事未决时，每一件都处理了或说明稍后处理。"),
        ("overpromises", "不承诺自己控制不了的结果，如排名、流量、收入。"),
        ("invents_commitment", "不编造承诺：对话和事实中都没有的价格、退款、赔偿或合同条款。"),
        ("ignores_reason", "对方说了理由，回复先回应理由再谈价格。"),
        ("takes_as_yes", "沉默、含糊、反问或岔开话题都不是同意。"),
        ("takes_as_no", "沉默或犹豫不是拒绝，不因此放弃。"),
    ] {
        assert_eq!(codes(rubric(id, sentence, YES_COSTS, "deduct")), ["J103"], "{sentence}");
    }
}

#[test]
fn levels_that_are_named_by_what_is_seen_mislead_nobody() {
    let seen = "{ name = \"answers\", points = 0, anchor = \"a\" }, { name = \"passes_over\", points = -9, anchor = \"b\" }";
    for fault in FAULTS {
        assert!(about(&format!("The reply {fault}."), seen).is_empty(), "{fault}");
    }
}

#[test]
fn a_sentence_that_contradicts_the_kind_is_found() {
    let takes = "{ name = \"answers\", points = 0, anchor = \"a\" }, { name = \"passes_over\", points = -9, anchor = \"b\" }";
    let gives = "{ name = \"plain\", points = 0, anchor = \"a\" }, { name = \"seen\", points = 9, anchor = \"b\" }";
    for frame in FRAMES {
        for (sentences, is_fault) in [(&FAULTS[..], true), (&VIRTUES[..], false)] {
            for sentence in sentences {
                let about = frame.replace("{}", sentence);
                for kind in ["deduct", "gate", "veto"] {
                    let found = codes(rubric("c", &about, takes, kind));
                    assert_eq!(found == ["J104"], !is_fault, "{kind} {about}: {found:?}");
                    assert_eq!(found.is_empty(), is_fault, "{kind} {about}: {found:?}");
                }
                let found = codes(rubric("c", &about, gives, "bonus"));
                assert_eq!(found == ["J104"], is_fault, "{about}: {found:?}");
                assert_eq!(found.is_empty(), !is_fault, "{about}: {found:?}");
            }
        }
    }
    for (sentence, is_fault) in [("回复打断对方。", true), ("回复回应了理由。", false)]
    {
        assert_eq!(codes(rubric("c", sentence, takes, "deduct")).is_empty(), is_fault);
        assert_eq!(codes(rubric("c", sentence, gives, "bonus")).is_empty(), !is_fault);
    }
}

#[test]
fn levels_whose_names_and_points_are_swapped_are_found() {
    for (virtue, fault) in [
        ("polite", "rude"),
        ("patient", "dismissive"),
        ("answers", "ignores"),
        ("not_rude", "not_polite"),
    ] {
        let levels = |first: &str, second: &str| {
            format!(
                "{{ name = {first:?}, points = 0, anchor = \"a\" }}, \
                 {{ name = {second:?}, points = -9, anchor = \"b\" }}"
            )
        };
        assert_eq!(about("Manners.", &levels(fault, virtue)), ["J103"], "{virtue} {fault}");
        assert!(about("Manners.", &levels(virtue, fault)).is_empty(), "{virtue} {fault}");
        assert!(about("Manners.", &levels("other", virtue)).is_empty(), "{virtue}");
    }
}

#[test]
fn texts_that_say_nothing_are_refused() {
    let levels = |a: &str, b: &str| {
        format!(
            "{{ name = \"fine\", points = 0, anchor = {a:?} }}, {{ name = \"seen\", points = -9, anchor = {b:?} }}"
        )
    };
    assert!(about("Manners.", &levels("a", "b")).is_empty());
    for (sentence, a, b) in [
        ("", "a", "b"),
        (" \t", "a", "b"),
        ("Manners.", "", "b"),
        ("Manners.", "a", " "),
        ("Manners.", "a", " a "),
    ] {
        assert_eq!(about(sentence, &levels(a, b)), ["J023"], "{sentence:?} {a:?} {b:?}");
    }
}

#[test]
fn numbers_that_no_rubric_means_are_refused() {
    let with = |points: &str, front: &str| {
        let levels = format!(
            "{{ name = \"fine\", points = 0, anchor = \"a\" }}, \
             {{ name = \"seen\", points = {points}, anchor = \"b\" }}"
        );
        let text = rubric("c", "Manners.", &levels, "deduct");
        codes(text.replace("empty_points = -9\n", front))
    };
    let empty = "empty_points = -9\n";
    for points in ["-1e300", "-1001", "-1e-300", "-0.001"] {
        assert_eq!(with(points, empty), ["J007"], "{points}");
        assert_eq!(with("-9", &format!("empty_points = {points}\n")), ["J007"], "{points}");
    }
    for points in ["-1000", "-0.5", "-0.01", "-30"] {
        assert!(with(points, empty).is_empty(), "{points}");
    }
    for (tokens, is_refused) in [
        ("0", true),
        ("1", true),
        ("5", true),
        ("60", false),
        ("4000", false),
        ("4294967295", true),
    ] {
        let found = with("-9", &format!("{empty}max_tokens = {tokens}\n"));
        assert_eq!(found, vec!["J007".to_owned(); usize::from(is_refused)], "{tokens}");
    }
    let letters =
        format!("{empty}grouping = \"criterion\"\nscoring = \"expected\"\nmax_tokens = 1\n");
    assert!(with("-9", &letters).is_empty(), "one letter is one token");
}

#[test]
fn an_error_in_the_front_matter_hides_nothing_in_the_body() {
    let wrong = [
        ("empty_points = -9\n", ""),
        ("empty_points = -9\n", "empty_points = 9\n"),
        ("empty_points = -9\n", "empty_points = -9\nmax_tokens = 1\n"),
        ("empty_points = -9\n", "empty_points = -9\nhash = \"sha256:0\"\n"),
        ("empty_points = -9\n", "empty_points = -9\nsamples = 0\n"),
        ("id = \"r\"", "id = \"q\""),
        ("points = -9", "points = 9"),
    ];
    let body = [
        ("{{ dialogue }}", "", "J018"),
        ("{{ turn }}", "{{ turn }}{{ turn }}", "J017"),
        ("{{ dialogue }}", "{{ dialog }}", "J015"),
        ("# system", "words\n# system", "J022"),
        ("Manners.", "The reply is rude and cold.", "J102"),
    ];
    let levels = "{ name = \"fine\", points = 0, anchor = \"a\" }, { name = \"seen\", points = -9, anchor = \"b\" }";
    let text = rubric("c", "Manners.", levels, "deduct");
    assert!(codes(text.clone()).is_empty());
    for (from, to) in wrong {
        let one = text.replacen(from, to, 1);
        let first = codes(one.clone());
        assert!(!first.is_empty(), "{to}");
        for (from, to, code) in body {
            let found = codes(one.replacen(from, to, 1));
            assert!(found.contains(&code.to_owned()), "{to}: {found:?}");
            assert!(first.iter().all(|code| found.contains(code)), "{to}: {found:?} {first:?}");
        }
    }
}

#[test]
fn one_text_hides_nothing_in_another() {
    let levels = "{ name = \"fine\", points = 0, anchor = \"a\" }, { name = \"seen\", points = -9, anchor = \"b\" }";
    let text = rubric("c", "Manners.", levels, "deduct").replace("{{ dialogue }}", "");
    let texts = [SourceText::new("q.md", "no rubric"), SourceText::new("r.md", text)];
    let report = Prompts::check(&texts).unwrap_err();
    let found: Vec<_> = report.diagnostics().iter().map(|one| one.code.as_str()).collect();
    assert_eq!(found, ["J001", "J018"]);
}

#[test]
fn chinese_sentences_are_read_with_their_negations() {
    let faults = ["打断对方", "指责对方", "编造价格", "忽略对方的问题", "催促对方", "让步"];
    let virtues = ["回答了问题", "感谢对方", "尊重对方", "回应了理由", "解释价格"];
    for (phrases, is_fault) in [(&faults[..], true), (&virtues[..], false)] {
        for phrase in phrases {
            for frame in ["回复{}。", "对方不满时，回复{}。", "{}。"] {
                let sentence = frame.replace("{}", phrase);
                let negated = frame.replace("{}", &format!("没有{phrase}"));
                let norm = frame.replace("{}", &format!("不应{phrase}"));
                assert_eq!(about(&sentence, YES_COSTS).is_empty(), is_fault, "{sentence}");
                assert_eq!(about(&sentence, NO_COSTS).is_empty(), !is_fault, "{sentence}");
                assert_eq!(about(&negated, YES_COSTS).is_empty(), !is_fault, "{negated}");
                assert_eq!(about(&norm, YES_COSTS), ["J103"], "{norm}");
            }
        }
    }
}

#[test]
fn two_faults_in_one_criterion_are_found() {
    for (at, first) in FAULTS.iter().enumerate() {
        for second in FAULTS.iter().skip(at + 1) {
            for joint in [" and ", ", and it ", " and also ", ". It also "] {
                let sentence = format!("The reply {first}{joint}{second}.");
                assert_eq!(about(&sentence, YES_COSTS), ["J102"], "{sentence}");
            }
            // Alternatives may be two looks of one fault, and a contrast is one fault.
            let sentence = format!("The reply {first} or {second}.");
            assert!(about(&sentence, YES_COSTS).is_empty(), "{sentence}");
        }
    }
    let named = "{ name = \"fine\", points = 0, anchor = \"a\" }, { name = \"seen\", points = -9, anchor = \"b\" }";
    for sentence in [
        "The reply is cold and pushy.",
        "The reply is vague and long.",
        "The reply is rude, cold and pushy.",
        "回复冷漠并且催促对方。",
        "回复既含糊又敷衍。",
        "回复打断对方，而且嘲讽对方。",
    ] {
        let found = about(sentence, named);
        assert!(found == ["J102"] || sentence.contains("，而且"), "{sentence} {found:?}");
    }
    assert_eq!(codes(rubric("cold_and_pushy", "Manners.", named, "deduct")), ["J102"]);
}

#[test]
fn one_fault_with_several_words_is_no_compound() {
    let named = "{ name = \"fine\", points = 0, anchor = \"a\" }, { name = \"seen\", points = -9, anchor = \"b\" }";
    for sentence in [
        "The reply blames, mocks or threatens the partner.",
        "The reply repeats the price and the date.",
        "The reply ignores what the partner asked and offered.",
        "The reply ignores the reason that the partner gives and repeats.",
        "The partner is angry and complains; the reply ignores it.",
        "The partner interrupts and shouts, and the reply mocks it.",
        "The reply answers but ignores the reason.",
        "The reply is clear about price and quantity.",
        "The reply jumps between price and date.",
        "The reply is between Monday and Friday.",
        "The reply presses for a yes and a signature.",
        "回复指责、嘲讽或威胁对方。",
        "回复并没有编造价格。",
        "回复重复价格和日期。",
        "对方催促并且抱怨，回复打断对方。",
    ] {
        let found = about(sentence, named);
        assert!(!found.contains(&"J102".to_owned()), "{sentence} {found:?}");
    }
}

/// A rubric with two criteria and an example, and a body.
fn with_body(system: &str, user: &str) -> Vec<String> {
    let levels = YES_COSTS;
    codes(format!(
        "+++\nid = \"r\"\nabout = \"r\"\nversion = 1\nempty_points = -9\n[[criteria]]\nid = \"rude\"\nkind = \
         \"deduct\"\nabout = \"It is rude.\"\nlevels = [{levels}]\n[[criteria]]\nid = \"late\"\nkind = \"deduct\"\n\
         about = \"It is late.\"\nlevels = [{levels}]\n[[examples]]\nturn = \"No.\"\nlevels = {{ rude = \"yes\" }}\n\
         +++\n# system\n{system}\n# user\n{user}\n"
    ))
}

#[test]
fn parts_that_are_never_shown_are_refused_in_every_form_of_a_body() {
    let criteria = [
        "{% for c in criteria %}{{ c.id }} {{ c.about }}{% endfor %}",
        "{% for c in criteria %}{% for l in c.levels %}{{ l.anchor | upper }}{% endfor %}{% endfor %}",
        "{{ criteria }}",
        "Judge rude and late, each with no or yes.",
    ];
    let examples = [
        "{% for e in examples %}{{ e.turn }}{% endfor %}",
        "{% if examples %}{{ examples[0].turn | lower }}{% endif %}",
        "{{ examples }}",
    ];
    let dialogues = [
        "{{ dialogue }}",
        "{% if context.x is defined %}{{ context.x }}{% else %}{{ dialogue | replace('a', 'b') }}{% endif %}",
    ];
    for shows_criteria in criteria {
        for shows_examples in examples {
            for shows_dialogue in dialogues {
                let found = |system: &str, user: &str| {
                    with_body(system, &format!("{user}\n{{{{ turn }}}}"))
                };
                let system = format!("{shows_criteria}\n{shows_examples}");
                assert!(found(&system, shows_dialogue).is_empty(), "{system} {shows_dialogue}");
                assert_eq!(found(&system, ""), ["J018"], "{system}");
                assert_eq!(found(shows_criteria, shows_dialogue), ["J020"], "{shows_criteria}");
                assert_eq!(found(shows_examples, shows_dialogue), ["J019", "J019"]);
            }
        }
    }
    let shown = format!("{}\n{}", criteria[0], examples[0]);
    for counted in [
        "{{ dialogue|length }}",
        "{{ dialogue|wordcount }}",
        "{{ dialogue|first }}",
        "{{ dialogue[:20] }}",
        "{{ dialogue[-20:] }}",
        "{{ dialogue|truncate(30) }}",
        "{{ dialogue is defined }}",
        "{% if dialogue %}x{% endif %}",
    ] {
        let found = with_body(&shown, &format!("{counted}\n{{{{ turn }}}}"));
        // A part without the block's end may change nothing else.
        assert!(found == ["J018"] || found == ["J015"] || found == ["J016"], "{counted} {found:?}");
    }
    for whole in ["{{ dialogue[-4000:] }}", "{{ dialogue|upper }}", "{% set d = dialogue %}{{ d }}"]
    {
        let found = with_body(&shown, &format!("{whole}\n{{{{ turn }}}}"));
        assert!(found.is_empty(), "{whole} {found:?}");
    }
    for counted in
        ["{{ criteria|length }}", "{% for c in criteria %}{{ c.about|length }}{% endfor %}"]
    {
        let found = with_body(&format!("{counted}{}", examples[0]), "{{ dialogue }}{{ turn }}");
        assert_eq!(found, ["J019", "J019"], "{counted}");
    }
    for counted in
        ["{{ examples|length }}", "{% for e in examples %}{{ e.turn|length }}{% endfor %}"]
    {
        let found = with_body(&format!("{counted}{}", criteria[0]), "{{ dialogue }}{{ turn }}");
        assert_eq!(found, ["J020"], "{counted}");
    }
    assert_eq!(with_body("", "{{ turn }}"), ["J018", "J019", "J019", "J020"]);
    let first = "{{ criteria[0].about }}{{ examples }}";
    assert_eq!(with_body(first, "{{ dialogue }}{{ turn }}"), ["J019"], "one of two is shown");
}

const BODY: &str = "# system\n{% for c in criteria %}{{ c.id }}: {{ c.about }}{% endfor %}\n# user\n{{ dialogue }}\n{{ turn }}\n";

/// A rubric with these lines in its front matter and this body, and what is found: the code and the
/// line in the body, from 1.
fn found_in_body(front: &str, body: &str, probe: &str) -> Vec<(String, usize)> {
    let head = format!(
        "+++\nid = \"r\"\nabout = \"r\"\nversion = 1\nempty_points = -9\n{front}[[criteria]]\nid = \"c\"\nkind = \
         \"deduct\"\nabout = \"The reply is rude.\"\nlevels = [{YES_COSTS}]\n{probe}+++\n"
    );
    let lines = head.lines().count();
    let texts = [SourceText { name: "r.md".to_owned(), text: head + body }];
    let report = match Prompts::check(&texts) {
        Ok((_, report)) | Err(report) => report,
    };
    let found = report.diagnostics().iter();
    found.map(|found| (found.code.clone(), found.line - lines)).collect()
}

#[test]
fn a_rubric_without_criteria_is_refused() {
    let levels = "{ name = \"fine\", points = 0, anchor = \"a\" }, { name = \"seen\", points = -9, anchor = \"b\" }";
    let text = rubric("c", "Manners.", levels, "deduct");
    let (head, rest) = text.split_once("[[criteria]]").unwrap();
    let body = rest.split_once("+++").unwrap().1;
    assert_eq!(codes(format!("{head}criteria = []\n+++{body}")), ["J019"]);
}

#[test]
fn text_outside_the_two_sections_is_found_at_its_line() {
    assert!(found_in_body("", BODY, "").is_empty());
    assert!(found_in_body("", &format!("\n \n{BODY}"), "").is_empty());
    let stray = |line: usize| vec![("J022".to_owned(), line)];
    for text in ["Some text", "# System", "<!-- x -->", "{{ x }}", "# user", "说明"] {
        assert_eq!(found_in_body("", &format!("{text}\n{BODY}"), ""), stray(1), "{text}");
        assert_eq!(found_in_body("", &format!("\n{text}\n\n{BODY}"), ""), stray(2), "{text}");
    }
    for heading in ["# user", "# system", "# User", " # user", "#user"] {
        let second = BODY.replace("{{ turn }}", &format!("{heading}\n{{{{ turn }}}}"));
        assert_eq!(found_in_body("", &second, ""), stray(5), "{heading}");
    }
    let second = BODY.replace("# user", "# system\n# user");
    assert_eq!(found_in_body("", &second, ""), stray(3));
    for text in ["## user", "# users", "the # user", "# the user"] {
        let fine = BODY.replace("{{ turn }}", &format!("{text}\n{{{{ turn }}}}"));
        assert!(found_in_body("", &fine, "").is_empty(), "{text}");
    }
}

#[test]
fn facts_that_are_read_and_not_named_are_found() {
    for read in ["{{ context.stage }}", "{% if context.stage is defined %}x{% endif %}"] {
        for (facts, codes) in [
            ("", 0),
            ("facts = [\"stage\"]\n", 0),
            ("facts = [\"stage\", \"price\"]\n", 0),
            ("facts = []\n", 1),
            ("facts = [\"stag\"]\n", 1),
            ("facts = [\"context.stage\"]\n", 1),
        ] {
            let body = BODY.replace("{{ turn }}", &format!("{read}\n{{{{ turn }}}}"));
            let found = found_in_body(facts, &body, "");
            assert_eq!(found, vec![("J021".to_owned(), 5); codes], "{read} {facts}");
        }
    }
}

#[test]
fn an_operation_that_fails_on_every_context_or_on_a_probe_is_found() {
    let with = |text: &str, probe: &str| {
        found_in_body("", &BODY.replace("{{ turn }}", &format!("{text}\n{{{{ turn }}}}")), probe)
    };
    for fine in [
        "{{ context.price * 2 }}",
        "{{ context.price - context.least }}",
        "{{ context.price|int }}",
        "{{ context.offer.price / 2 }}",
        "{% for one in context.list %}{{ one }}{% endfor %}{{ context.price / 2 }}",
        "{% for key, value in context.offer|items %}{{ key }}{% endfor %}",
        "{{ context.texts|join(', ') }}",
        "{{ context.text|upper }}",
        "{% for i in range(context.price) %}{{ i }}{% endfor %}",
    ] {
        assert!(with(fine, "").is_empty(), "{fine}: {:?}", with(fine, ""));
    }
    for fails in [
        "{{ context.price }}{% for i in range(1000000000) %}x{% endfor %}",
        "{{ context.price }}{{ 1 / 'a' }}",
        "{{ context.price / 'a' }}",
        "{{ context.list - turn }}",
    ] {
        assert_eq!(with(fails, ""), [("J016".to_owned(), 5)], "{fails}");
    }
    let probe = |context: &str| {
        format!(
            "[[probes]]\nname = \"p\"\nturn = \"Go away.\"\ncontext = {{ {context} }}\n\
             levels = {{ c = \"yes\" }}\n"
        )
    };
    let halved = "{{ context.price / 2 }}";
    assert!(with(halved, &probe("price = 3")).is_empty());
    assert!(with(halved, &probe("")).is_empty(), "the probe abstains");
    assert_eq!(with(halved, &probe("price = \"3 yuan\"")), [("J016".to_owned(), 5)]);
}
