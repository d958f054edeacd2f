//! Property tests: the engine hits the same as the naive search, and the order of rules does not
//! matter.

use std::sync::LazyLock;

use guerdon_types::{Message, Role, Rollout};
use proptest::prelude::*;

use super::{NaiveHit, Reference};
use crate::{RulePacks, SourceText};

const PATTERNS: [&str; 29] = [
    "工单|目标价",
    "[^不]保证",
    "(?:[^不]能|可以)保证您?",
    "\\bdeal\\b",
    "work ?order",
    "(?:a|b)+c",
    "\\d{3,}元",
    "1[3-9]\\d{4}",
    "[!?]{2,}",
    "[一-龥]{9,}",
    "[^\\n]{12}",
    "^\\s*思考[:：]",
    "(?s)<think>.*?</think>",
    "底价(?:是|为)?\\s*\\d",
    "\\w+@\\w+",
    "(?:不回复|没回复)[^。]{0,6}(?:同意|默认)",
    "a.{0,3}b|b.{0,3}a",
    "(?:工|单){2,4}",
    "不.*元",
    "[a-z]{9,}",
    "(?P<value>\\d+)元",
    "x*",
    "(?i)DEAL|Ｄｅａｌ",
    "\\s\\S\\s",
    "[a-d]{2,3}",
    "[^\\n]{5}?",
    "[^\\n]{3,7}",
    "[^a]+",
    "[a-z]{2,}|[一-龥]{12}",
];

fn rules() -> String {
    let mut text = String::from("pack: p\nrules:\n");
    for (index, pattern) in PATTERNS.iter().enumerate() {
        text += &format!("  - {{ id: f{index}, points: -1, match: {{ regex: '{pattern}' }} }}\n");
        text += &format!(
            "  - {{ id: r{index}, points: -1, match: {{ regex: '{pattern}', fold: false }} }}\n"
        );
    }
    text + "
  - { id: words, points: -1, match: { any_of: [工单, 工单号, 目标价, work order, deal] } }
  - { id: raw, points: -1, match: { any_of: [工单, Deal, '１'], fold: false } }
  - { id: promise, points: -1, match: { any_of: [保证, deal], near: [您, '480'], not_near: [不, a], within: 5 } }
  - { id: said, points: -1, match: { regex: '[a-d]{2,3}', not_near: [价格, 'b'], within: 3 } }
  - { id: whole, points: -1, match: { any_of: [deal, ab], word: true } }
  - { id: twice, points: -1, match: { any_of: [工单, a], count: 2 } }
  - { id: price, points: -1, match: { number: { unit: [元, '¥', 块] } } }
  - { id: dear, points: -1, match: { number: { unit: [元, '¥'], near: [可以, deal], not_near: [不], within: 6 } }, where: value > 300 }
  - { id: any-number, points: -1, match: { number: {} }, where: low < high }
  - { id: promised, points: -1, match: { any_of: [保证, 工单, deal], unless: [negated, question] } }
  - { id: agreed, points: -1, match: { number: { unit: [元, '¥'] }, unless: [negated, question, reported, conditional, past] } }
  - { id: acted, points: -1, match: { regex: '(?:工单|[a-d]{2})', unless: [negated, reported] } }
  - { id: valued, points: -1, match: { regex: '(?P<value>\\d+) ?(?:元|可以|-)', not_near: [b], unless: [negated, past, question] }, where: value > 300 }
  - { id: both, points: -1, match: { all: [{ any_of: [工单] }, { regex: '\\d' }] } }
  - { id: either, points: -1, match: { any: [{ any_of: [保证] }, { regex: '[!?]' }] } }
  - { id: either-twice, points: -1, match: { any: [{ regex: '[a-d]{2}' }, { any_of: [deal, ab, 工单] }, { regex: 'de?a' }], count: 2 } }
  - { id: without, points: -1, match: { all: [{ any_of: [元] }, { not: { any_of: [不] } }] } }
"
}

static COMPILED: LazyLock<(Reference, RulePacks)> = LazyLock::new(|| {
    let pack = [SourceText { name: "p.yaml".into(), text: rules() }];
    let (packs, _) = RulePacks::compile(&pack).unwrap();
    (Reference::new(&pack), packs)
});

fn texts() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "工单",
        "工",
        "单",
        "号",
        "目标价",
        "目標價",
        "保证",
        "不",
        "能",
        "您",
        "可以",
        "元",
        "块",
        "¥",
        "480",
        "４２０",
        "1",
        "3",
        "13800",
        "四百二",
        "五",
        "到",
        "-",
        "~",
        " ",
        "  ",
        "　",
        "\u{200b}",
        "*",
        "_",
        "\t",
        "·",
        ".",
        "，",
        "。",
        "！",
        "!",
        "?",
        "\n",
        "a",
        "b",
        "c",
        "ab",
        "deal",
        "Deal",
        "ＤＥＡＬ",
        "dеal",
        "d e a l",
        "d3al",
        "w0rk order",
        "**",
        "<b>",
        "&#x5de5;",
        "w\no\nr\nk",
        "可*以",
        "4**8**0",
        "wo*rk order",
        "work-order",
        "工 单",
        "工*单",
        "<think>",
        "</think>",
        "思考：",
        "底价是",
        "x@y",
        "不回复",
        "默认",
        "é",
        "ﷺ",
        "①",
        "🙂",
        "的",
        "价格",
        "不能",
        "吗",
        "但是",
        "如果",
        "他说",
        "不行",
        "，可以吗？",
        " not ",
        " never ",
        "can you ",
        " if you ",
        "he said ",
        ", but ",
        "\"",
    ]);
    // Few pieces, so that separators and words are often next to each other.
    let few = prop::sample::select(vec![
        "工单", "工", "单", "号", "目标", "价", "d", "ea", "l", "w0rk", "order", "-", "*", "·",
        ".", " ", "\t", "　", "1", "，",
    ]);
    let joined = |pieces: Vec<&str>| pieces.concat();
    prop_oneof![
        prop::collection::vec(pieces, 0..24).prop_map(joined),
        prop::collection::vec(few, 0..12).prop_map(joined)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_engine_agrees_with_the_naive_search(text in texts()) {
        let (reference, packs) = &*COMPILED;
        let messages = vec![Message::new(Role::Assistant, text)];
        let rollout = Rollout { messages, ..Rollout::default() };
        let mut found: Vec<NaiveHit> = packs
            .evaluate(&rollout, 0)
            .hits
            .into_iter()
            .map(|hit| (hit.rule, hit.spans.len(), hit.spans))
            .collect();
        found.sort();
        let mut naive = reference.evaluate(&rollout, 0);
        for (_, count, spans) in &mut naive {
            spans.truncate(64);
            *count = spans.len();
        }
        prop_assert_eq!(found, naive);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn hits_do_not_depend_on_the_order_of_rules(text in texts(), by in 1_usize..40) {
        let forward = rules();
        let (head, body) = forward.split_once("rules:\n").unwrap();
        let mut lines: Vec<&str> = body.lines().filter(|line| !line.is_empty()).collect();
        let middle = by % lines.len();
        lines.rotate_left(middle);
        let turned = format!("{head}rules:\n{}\n", lines.join("\n"));
        let messages = vec![Message::new(Role::Assistant, text)];
        let rollout = Rollout { messages, ..Rollout::default() };
        let turned = RulePacks::compile(&[SourceText { name: "p".into(), text: turned }]).unwrap().0;
        let part = |packs: &RulePacks| {
            let mut part = packs.evaluate(&rollout, 0);
            part.hits.sort_by(|a, b| a.rule.cmp(&b.rule));
            part
        };
        prop_assert_eq!(part(&COMPILED.1), part(&turned));
    }
}
