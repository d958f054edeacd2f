//! Evaluation of rules: one test for each feature of the schema, and properties that hold for any
//! text.

#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests may fail a test")]

use guerdon_rules::{RulePacks, ScanLimit, SourceText};
use guerdon_types::{Message, Role, Rollout, RulesPart};
use proptest::prelude::*;

fn packs(rules: &str) -> RulePacks {
    let text = format!("pack: p\nrules:\n{rules}");
    RulePacks::compile(&[SourceText { name: "p.yaml".into(), text }])
        .unwrap_or_else(|report| panic!("{report}"))
        .0
}

fn rollout(messages: &[(Role, &str)], context: &str) -> Rollout {
    let messages = messages.iter().map(|(role, content)| Message::new(*role, *content)).collect();
    Rollout { messages, context: serde_json::from_str(context).unwrap(), ..Rollout::default() }
}

fn say(rules: &str, text: &str, context: &str) -> RulesPart {
    packs(rules).evaluate(&rollout(&[(Role::Assistant, text)], context), 0)
}

#[test]
fn hits_add_up_to_the_cap_and_all_spans_are_reported() {
    let rule = "  - { id: a, points: -20, cap: -50, match: { any_of: [工单] } }";
    let part = say(rule, "工单工单，工\u{200b}单", "{}");
    assert_eq!(part.points.get().to_bits(), (-50.0f64).to_bits());
    assert_eq!(part.hits[0].spans, [[0, 2], [2, 4], [5, 8]]);
}

#[test]
fn a_rule_without_per_counts_once() {
    assert_eq!(
        say("  - { id: a, points: -20, match: { any_of: [b] } }", "b b b", "{}").points,
        (-20).into()
    );
}

#[test]
fn fold_false_compares_the_original_text() {
    let rule = "  - { id: a, points: -1, match: { any_of: [Work], fold: false } }";
    assert!(say(rule, "work", "{}").hits.is_empty());
    assert_eq!(say(rule, "好Work", "{}").hits[0].spans, [[1, 5]]);
}

#[test]
fn whole_words_only_when_asked() {
    let rule = "  - { id: a, points: -1, match: { any_of: [deal], word: true } }";
    assert!(say(rule, "an ideal dealer", "{}").hits.is_empty());
    assert_eq!(say(rule, "Deal!", "{}").hits.len(), 1);
}

#[test]
fn a_shadow_rule_is_reported_and_not_counted() {
    let part = say(
        "  - { id: a, points: -20, shadow: true, veto: true, match: { any_of: [b] } }",
        "b",
        "{}",
    );
    assert!(part.hits.is_empty() && part.points == 0.into());
    assert_eq!(part.shadow.len(), 1);
}

#[test]
fn a_missing_fact_makes_a_rule_abstain_only_where_it_decides() {
    let rule = "  - id: a\n    points: -1\n    when: { context.sop_stage: [quote, close] }\n    match: { number: { unit: [元] } }\n    where: value > context.target_price";
    let part = say(rule, "480元", r#"{"sop_stage": "quote"}"#);
    assert!(part.hits.is_empty());
    assert_eq!(part.abstained[0].detail, "context.target_price is missing");
    assert_eq!(
        say(rule, "480元", r#"{"target_price": 420}"#).abstained[0].detail,
        "context.sop_stage is missing"
    );
    assert!(say(rule, "480元", r#"{"sop_stage": "probe"}"#).abstained.is_empty());
    assert!(say(rule, "好的", "{}").abstained.is_empty());
    let part = say(rule, "480元", r#"{"target_price": 420, "sop_stage": "close"}"#);
    assert_eq!(
        (part.hits[0].detail.as_deref(), &part.hits[0].spans[..]),
        (Some("480 元"), &[[0, 4]][..])
    );
}

#[test]
fn all_any_not_and_count_compose() {
    let rule = "  - { id: a, points: -1, match: { all: [{ any_of: [价格], count: 2 }, { not: { regex: '谢谢' } }] } }";
    assert_eq!(say(rule, "价格价格", "{}").hits.len(), 1);
    assert!(say(rule, "价格", "{}").hits.is_empty());
    assert!(say(rule, "价格价格，谢谢", "{}").hits.is_empty());
    let rule =
        "  - { id: a, points: -1, match: { any: [{ any_of: [a] }, { any_of: [b] }], count: 2 } }";
    assert_eq!(say(rule, "a b", "{}").hits[0].spans, [[0, 1], [2, 3]]);
    assert!(say(rule, "b", "{}").hits.is_empty());
}

#[test]
fn wrong_sums_are_reported_with_the_correct_result() {
    let rule = "  - { id: a, points: -1, check: { arithmetic: {} } }";
    for wrong in
        ["480 * 0.9 = 430元", "580元减480元等于90元", "480×9折=420", "100 plus 20 equals 130"]
    {
        assert_eq!(say(rule, wrong, "{}").hits.len(), 1, "{wrong}");
    }
    for right in
        ["480 * 0.9 = 432元", "580元减480元等于100元", "480×9折=432", "3楼 5号 7点", "480 * 0.9"]
    {
        assert!(say(rule, right, "{}").hits.is_empty(), "{right}");
    }
    let part = say(rule, "那就480 * 0.9 = 430元", "{}");
    assert_eq!(part.hits[0].detail.as_deref(), Some("430 is given, 432 is right"));
    assert_eq!(part.hits[0].spans, [[2, 17]]);
}

#[test]
fn prices_that_contradict_each_other_hit() {
    let rule = "  - id: a
    points: -1
    check:
      prices:
        names: { selling: [卖价, selling price], net: [净价, net price] }
        must: selling >= net and selling <= net * context.markup
";
    let hits = |text: &str| say(rule, text, r#"{"markup": 1.3}"#).hits.len();
    assert_eq!(hits("卖价480元，净价580元"), 1);
    assert_eq!(hits("Net price 400, selling price is 600."), 1);
    assert_eq!(hits("净价四百元，卖价四百八"), 0);
    assert_eq!(hits("净价480元"), 0);
    assert_eq!(hits("卖价，净价580元，480元"), 0);
    assert_eq!(
        say(rule, "卖价480元，净价400元", "{}").abstained[0].detail,
        "context.markup is missing"
    );
}

#[test]
fn numbers_without_support_are_found() {
    let rule =
        "  - { id: a, points: -1, check: { unsupported_numbers: { unit: [元, 间], least: 10 } } }";
    let said = |text: &str| {
        let dialogue = rollout(
            &[(Role::User, "最多460元，剩五十间"), (Role::Assistant, text)],
            r#"{"prices": {"target": 420}, "note": "上周580元"}"#,
        );
        packs(rule).evaluate(&dialogue, 1).hits
    };
    assert!(said("460元或420元，50间，上周580元，送3间").is_empty());
    let found = said("隔壁只要399元");
    assert_eq!(found[0].spans, [[4, 8]]);
    assert_eq!(found[0].detail.as_deref(), Some("399 neither in the dialogue nor in the context"));
    assert_eq!(said("隔壁三百九十九元").len(), 1);
}

#[test]
fn markup_and_json_are_checked_as_wholes() {
    let rule = "  - { id: a, points: -1, check: { markup: whole } }";
    assert_eq!(say(rule, "好的<think>嗯", "{}").hits[0].spans, [[2, 9]]);
    assert!(say(rule, "好的<b>嗯</b>", "{}").hits.is_empty());
    let rule = "  - { id: a, points: -1, check: { json: valid } }";
    assert!(say(rule, r#"{"reply": "好的"}"#, "{}").hits.is_empty());
    assert_eq!(say(rule, "好的", "{}").hits.len(), 1);
}

#[test]
fn lengths_are_counted_in_characters_tokens_or_sentences() {
    let hits = |of: &str, text: &str| {
        let rule =
            format!("  - {{ id: a, points: -1, check: {{ length: {{ of: {of}, max: 3 }} }} }}");
        say(&rule, text, "{}").hits.len()
    };
    assert_eq!(
        (
            hits("characters", "good"),
            hits("tokens", "good deal 吧"),
            hits("sentences", "a. b. c. d.")
        ),
        (1, 0, 1)
    );
}

#[test]
fn disguised_hits_are_counted() {
    let packs = packs("  - { id: a, points: -1, match: { any_of: [work order, 工单] } }");
    let disguised = |text: &str| {
        packs.evaluate_turns(&rollout(&[(Role::Assistant, text)], "{}"), &[0])[0].disguised
    };
    for hidden in
        ["our w0rk order", "our w o r k order", "工\u{200b}单", "工 單", "wоrk order", "𝐰ork order"]
    {
        assert_eq!(disguised(hidden), 1, "{hidden}");
    }
    for plain in ["our Work Order", "ｗork order", "工单", "w o r k"] {
        assert_eq!(disguised(plain), 0, "{plain}");
    }
}

#[test]
fn where_can_use_the_ends_of_a_range() {
    let rule = "  - { id: a, points: -1, match: { number: { unit: [元] } }, where: value == high and high > 450 and low < 450 }";
    assert_eq!(say(rule, "400到480元都行", "{}").hits[0].spans, [[4, 8]]);
    assert!(say(rule, "480元", "{}").hits.is_empty());
}

#[test]
fn latin_words_end_next_to_chinese_characters() {
    assert_eq!(
        say("  - { id: a, points: -1, match: { regex: '\\bdeal\\b' } }", "我们deal吧", "{}")
            .hits
            .len(),
        1
    );
}

#[test]
fn on_selects_the_messages() {
    use Role::{Assistant, User};
    let dialogue = rollout(
        &[(User, "工单"), (Assistant, "好"), (User, "x"), (Assistant, "工单"), (User, "工单")],
        "{}",
    );
    let hits = |on: &str| {
        let rule = format!("  - {{ id: a, points: -1, on: {on}, match: {{ any_of: [工单] }} }}");
        packs(&rule).evaluate(&dialogue, 3).hits
    };
    assert_eq!(hits("{ role: assistant }")[0].spans, [[0, 2]]);
    assert!(hits("{ turn: previous }").is_empty());
    assert!(hits("{ role: user }").is_empty());
    let earlier = &hits("{ role: user, turn: any }")[0];
    assert_eq!((earlier.spans.len(), earlier.detail.as_deref()), (0, Some("message 0 at [0, 2]")));
    assert_eq!(hits("{ role: assistant, turn: dialogue }")[0].spans, [[0, 2]]);
    assert_eq!(hits("{ role: user, turn: previous }").len(), 1);
}

#[test]
fn a_missing_turn_hits_nothing() {
    let packs = packs("  - { id: a, points: -1, match: { any_of: [a] } }");
    assert_eq!(packs.evaluate(&Rollout::default(), 7), RulesPart::default());
}

const MANY: &str = "
  - { id: a, points: -1, per: hit, match: { any_of: [a, 工单, '¥'] } }
  - { id: b, points: -1, match: { any_of: ['１', b], fold: false } }
  - { id: c, points: -1, match: { regex: '\\w+\\s?|[。：]' } }
  - { id: d, points: -1, match: { number: { unit: [元, '$'], near: [a] } }, where: value > 3 }
  - { id: e, points: -1, match: { regex: '.', fold: false } }
  - { id: f, points: -1, check: { repetition: { across: within, ngram: 1, share: 0.1 } } }
  - { id: g, points: -1, check: { language_mix: { language: zh, share: 0.1 } } }
  - { id: h, points: -1, on: { turn: dialogue }, match: { regex: 'a|工' } }
";

proptest! {
    #[test]
    fn compiling_any_text_never_panics(text in "\\PC*") {
        let _ = RulePacks::compile(&[SourceText { name: "x".into(), text }]);
    }

    #[test]
    fn compiling_a_garbled_pack_never_panics(at in 0..MANY.len(), junk in "[ -~\u{4e00}\t\n]{0,4}") {
        let at = (0..=at).rev().find(|at| MANY.is_char_boundary(*at)).unwrap_or(0);
        let text = format!("pack: p\nrules:\n{}{junk}{}", &MANY[..at], &MANY[at..]);
        if let Err(report) = RulePacks::compile(&[SourceText { name: "x".into(), text }]) {
            prop_assert!(!report.to_string().is_empty());
        }
    }

    #[test]
    fn spans_lie_within_the_content_and_never_overlap_backwards(
        text in "(?:[a-c1-3元$。 \u{200b}①ﷺ½Ａ工单\u{e9}\n]|\\PC){0,40}",
        before in "[a工。 ]{0,8}",
    ) {
        let packs = packs(MANY);
        let dialogue = rollout(&[(Role::Assistant, &before), (Role::Assistant, &text)], "{}");
        let part = packs.evaluate(&dialogue, 1);
        let chars = text.chars().count();
        for hit in &part.hits {
            prop_assert!(hit.spans.is_sorted());
            for [start, end] in &hit.spans {
                prop_assert!(start <= end && *end <= chars, "{} {start} {end} {chars}", hit.rule);
            }
        }
        prop_assert_eq!(&part, &packs.evaluate(&dialogue, 1));
    }
}

#[test]
fn near_words_do_not_reach_across_a_full_stop() {
    let rule = "  - { id: a, points: -1, match: { any_of: [plan], near: [refund], within: 40 } }";
    assert!(say(rule, "No refund. Your plan is $50 a month.", "{}").hits.is_empty());
    assert_eq!(say(rule, "A refund of 3.5 percent for your plan", "{}").hits.len(), 1);
    assert_eq!(say(rule, "A refund, approx. half of your plan", "{}").hits.len(), 1);
    assert_eq!(say(rule, "A refund... of your plan", "{}").hits.len(), 1);
}

#[test]
fn an_evaluation_stops_within_a_text_when_its_flag_is_set() {
    let rule = "  - { id: a, points: -1, match: { any_of: [a], near: [b] } }";
    let packs = packs(rule);
    let messages = vec![Message::new(Role::Assistant, "a b ".repeat(10_000))];
    let rollout = Rollout { messages, ..Rollout::default() };
    let stop = std::sync::atomic::AtomicBool::new(true);
    let limit = ScanLimit { stop: Some(&stop), ..ScanLimit::default() };
    assert_eq!(packs.evaluate_turns_within(&rollout, &[0, 0], limit), [None, None]);
    let deadline = Some(std::time::Instant::now());
    let limit = ScanLimit { deadline, ..ScanLimit::default() };
    assert_eq!(packs.evaluate_turns_within(&rollout, &[0], limit), [None]);
    let whole = packs.evaluate_turns_within(&rollout, &[0], ScanLimit::default());
    assert_eq!(whole[0].as_ref().unwrap().part.hits.len(), 1);
}

#[test]
fn regexes_and_numbers_are_found_in_disguise() {
    let rules = "  - { id: a, points: -1, match: { regex: '加(?:个)?微信|我们保证' } }
  - { id: b, points: -1, match: { number: { unit: [元] } }, where: value == 480 }
  - { id: c, points: -1, match: { any_of: [工单] } }";
    let hits = |text: &str| -> Vec<(String, Vec<[usize; 2]>)> {
        let part = say(rules, text, "{}");
        part.hits.into_iter().map(|hit| (hit.rule, hit.spans)).collect()
    };
    assert_eq!(hits("加 个 微 信"), [("a".to_owned(), vec![[0, 7]])]);
    assert_eq!(hits("我们保 证满房"), [("a".to_owned(), vec![[0, 5]])]);
    assert_eq!(hits("就**480**元"), [("b".to_owned(), vec![[3, 9]])]);
    assert_eq!(hits("4🙂80元"), [("b".to_owned(), vec![[0, 5]])]);
    assert!(hits("房间已完工 单独说一下").is_empty());
}

#[test]
fn declared_units_stand_for_their_list() {
    let text = "pack: p
units:
  money: [元, '¥', dollars]
  share: ['%', 折]
rules:
  - { id: a, points: -1, match: { number: { unit: [money, GBP] } }, where: value > 420 }
  - { id: b, points: -1, match: { number: { unit: [share] } }, where: percent_off > 14 }
";
    let source = SourceText { name: "p.yaml".into(), text: text.into() };
    let packs = RulePacks::compile(&[source]).unwrap().0;
    let hits = |text: &str| -> Vec<String> {
        let part = packs.evaluate(&rollout(&[(Role::Assistant, text)], "{}"), 0);
        part.hits.into_iter().map(|hit| hit.rule).collect()
    };
    assert_eq!(hits("四百八十元"), ["a"]);
    assert_eq!(hits("480 dollars or 500 GBP"), ["a"]);
    assert_eq!(hits("85折, fifteen percent off, 半价"), ["b"]);
    assert!(hits("480 money").is_empty());
}

#[test]
fn declared_spellings_are_found_in_words_and_regexes() {
    let text = "pack: p
aliases:
  微信: [威信, 薇信, v.x]
rules:
  - { id: a, points: -1, match: { any_of: [加微信] } }
  - { id: b, points: -1, match: { regex: '加(?:我|您)微信' } }
  - { id: c, points: -1, match: { any_of: [号码], near: [微信] } }
";
    let source = SourceText { name: "p.yaml".into(), text: text.into() };
    let packs = RulePacks::compile(&[source]).unwrap().0;
    let hits = |text: &str| -> Vec<(String, Vec<[usize; 2]>)> {
        let part = packs.evaluate(&rollout(&[(Role::Assistant, text)], "{}"), 0);
        part.hits.into_iter().map(|hit| (hit.rule, hit.spans)).collect()
    };
    assert_eq!(hits("好的，加威信"), [("a".to_owned(), vec![[3, 6]])]);
    assert_eq!(hits("加*薇*信"), [("a".to_owned(), vec![[0, 5]])]);
    assert_eq!(hits("加我v.x吧"), [("b".to_owned(), vec![[0, 5]])]);
    assert_eq!(hits("薇信号码"), [("c".to_owned(), vec![[2, 4]])]);
    assert!(hits("威风").is_empty());
}

#[test]
fn suppressed_matches_do_not_count_and_are_listed_with_their_cue() {
    let rule = "  - { id: a, points: -20, per: hit, cap: -90, match: { any_of: [guarantee], unless: [negated, question] } }";
    let part = say(rule, "We can't guarantee it", "{}");
    assert!(part.hits.is_empty() && part.points == 0.into());
    let found = &part.suppressed[0];
    assert_eq!((found.suppressed_by.as_str(), found.cue.as_str()), ("negated", "can't"));
    assert_eq!(found.spans, [[9, 18]]);
    // Each match is judged on its own.
    let part = say(rule, "We can't guarantee this, but we guarantee that", "{}");
    assert_eq!((&part.hits[0].spans[..], part.points), (&[[32, 41]][..], (-20).into()));
    assert_eq!(part.suppressed[0].spans, [[9, 18]]);
    // Acts that the rule does not name suppress nothing, and other turns have no entry.
    assert_eq!(say(rule, "He said they guarantee it", "{}").hits.len(), 1);
    assert!(say(rule, "fine", "{}").suppressed.is_empty());
}

#[test]
fn disguised_words_are_suppressed_like_plain_ones() {
    let rule = "  - { id: a, points: -1, match: { any_of: [guarantee], unless: negated } }";
    for (text, hits) in [("we guar*antee it", 1), ("we never guar*antee it", 0)] {
        let part = say(rule, text, "{}");
        assert_eq!((part.hits.len(), part.suppressed.len()), (hits, 1 - hits), "{text}");
    }
}

#[test]
fn unless_applies_to_everything_within_but_not_to_a_not() {
    let inner = "any: [{ any_of: [deal] }, { number: { unit: [元] } }, { regex: 'fine+' }]";
    let rule = format!("  - {{ id: a, points: -1, match: {{ {inner}, unless: negated }} }}");
    for text in ["no deal", "不能480元", "it is not fine"] {
        let part = say(&rule, text, "{}");
        assert!(part.hits.is_empty() && part.suppressed.len() == 1, "{text}");
    }
    let rule = "  - { id: a, points: -1, match: { all: [{ any_of: [deal] }, { not: { any_of: [price] } }], unless: negated } }";
    assert_eq!(say(rule, "deal", "{}").hits.len(), 1);
    assert!(say(rule, "deal, not a price", "{}").hits.is_empty(), "`not` inherits nothing");
}

#[test]
fn a_suppressed_number_is_listed_only_if_its_condition_holds() {
    let rule = "  - { id: a, points: -1, match: { number: { unit: [元] }, unless: [negated] }, where: value > context.limit }";
    let facts = r#"{"limit": 420}"#;
    assert_eq!(say(rule, "不能480元", facts).suppressed.len(), 1);
    assert!(say(rule, "不能400元", facts).suppressed.is_empty());
    // Without the fact the rule abstains on a statement, and not on a denial.
    assert_eq!(say(rule, "480元", "{}").abstained.len(), 1);
    assert!(say(rule, "不能480元", "{}").abstained.is_empty());
}

#[test]
fn words_that_two_patterns_match_count_once() {
    let rule = "  - { id: a, points: -20, cap: -80, match: { any: [{ regex: 'the deal' }, { regex: 'deal at' }, { any_of: [deal] }] } }";
    let points = |text: &str| say(rule, text, "{}").points.get();
    assert_eq!(points("the deal at 480").to_bits(), (-20.0f64).to_bits());
    assert_eq!(points("the deal at 480, a deal").to_bits(), (-40.0f64).to_bits());
    let twice = "  - { id: a, points: -1, match: { any: [{ regex: 'the deal' }, { regex: 'deal at' }], count: 2 } }";
    assert!(say(twice, "the deal at 480", "{}").hits.is_empty());
    assert_eq!(say(twice, "the deal, a deal at 480", "{}").hits.len(), 1);
    let earlier = "  - { id: a, points: -20, cap: -80, on: { role: user, turn: any }, match: { any: [{ regex: 'the deal' }, { regex: 'deal at' }] } }";
    let said =
        [(Role::User, "the deal at 480"), (Role::User, "a deal at 480"), (Role::Assistant, "ok")];
    let part = packs(earlier).evaluate(&rollout(&said, "{}"), 2);
    assert_eq!(part.points.get().to_bits(), (-40.0f64).to_bits());
}

#[test]
fn a_regex_that_captures_a_number_reads_every_spelling_of_it() {
    let rule = "  - { id: a, points: -1, match: { unless: [negated, past], regex: 'deal at (?P<value>\\d+)|(?P<value2>\\d+)可以' }, where: value > 420 }";
    let rule = rule.replace("|(?P<value2>\\d+)可以", "").replace("\\\\", "\\");
    for (text, spans) in [
        ("deal at 480", vec![[0, 11]]),
        ("a deal at four hundred eighty.", vec![[2, 29]]),
        ("deal at 四百八", vec![[0, 11]]),
        ("deal at 1.2万元", vec![[0, 12]]),
        ("deal at four hundred", vec![]),
        ("no deal at four hundred eighty", vec![]),
        ("deal at 4 to 480 and deal at five hundred", vec![[21, 41]]),
    ] {
        let hits = say(&rule, text, "{}").hits;
        let found: Vec<[usize; 2]> = hits.into_iter().flat_map(|hit| hit.spans).collect();
        assert_eq!(found, spans, "{text}");
    }
}
