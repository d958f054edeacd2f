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
    for sentence in VIRTUES.iter().chain(&FAULTS) {
        assert!(about(&format!("The reply {sentence}."), seen).is_empty(), "{sentence}");
    }
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
        assert!(about(sentence, named).is_empty(), "{sentence} {:?}", about(sentence, named));
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
