//! Tests that the work of the engine does not grow with the square of a text's length.

use guerdon_types::{Message, Role, Rollout};

use crate::text::steps;
use crate::{RulePacks, SourceText};

const RULES: &str = "pack: p
rules:
  - { id: near-number, points: -1, match: { number: { unit: [元, $], near: [成交, deal], not_near: [太高] } } }
  - { id: near-word, points: -1, match: { any_of: [价格], near: [成交], within: 8 } }
  - { id: near-wide, points: -1, match: { any_of: [价格, deal], near: [成交, never], within: 900000 } }
  - { id: near-wide-number, points: -1, match: { number: { unit: [元, $], near: [never], within: 900000 } } }
  - { id: near-regex, points: -1, match: { regex: '[a-z]{3}x', near: [deal], within: 8 } }
  - { id: stated, points: -1, match: { any: [{ any_of: [价格, deal, work] }, { number: { unit: [元, $] } }, { regex: '[a-z]{4}' }], unless: [negated, question, reported, conditional, past] } }
  - { id: valued, points: -1, match: { any: [{ regex: '(?P<value>\\d+)(?:元|可以)', unless: [negated] }, { regex: 'deal (?P<value>\\d+)' }, { any_of: [deal] }], count: 2 }, where: value > 1 }
  - { id: words, points: -1, match: { any_of: [工单, work order] } }
  - { id: markup, points: -1, check: { markup: whole } }
  - { id: unsupported, points: -1, check: { unsupported_numbers: { least: 1 } } }
  - { id: sums, points: -1, check: { arithmetic: {} } }
  - { id: prices, points: -1, check: { prices: { names: { net: [底价], sold: [卖价] }, must: net < sold } } }
  - { id: stutter, points: -1, check: { repetition: { across: within, ngram: 4, share: 0.5 } } }
  - { id: sentences, points: -1, check: { repetition: { across: previous, sentence: 4 } } }
  - { id: long-runs, points: -1, check: { repetition: { across: within, ngram: 300, share: 0.1 } } }
  - { id: long-runs-again, points: -1, check: { repetition: { across: previous, ngram: 200, share: 0.1 } } }
  - { id: copies, points: -1, check: { repetition: { across: previous, sentence: 2 } } }
  - { id: mix, points: -1, check: { language_mix: { language: zh, share: 0.5 } } }
";

/// Texts of `n` repetitions whose evaluation once took a number of steps that grew with the square
/// of `n`.
fn texts(n: usize) -> Vec<(&'static str, String)> {
    let again = |text: &str| text.repeat(n);
    vec![
        ("words near every number", again("480元 成交 ")),
        ("words near every number, in English", again("deal $480 ")),
        ("words near every word", again("价格 成交 ")),
        ("words near every match", again("abcx deal ")),
        ("leet spelling", again("w0rk 0rder ")),
        ("leet words", again("gu4r4nt33 d3al ")),
        ("single letters", again("d e a l ")),
        ("single letters and marks", again("d.e-a*l ")),
        ("spaced words of ideographs", again("价 格，成 交。")),
        ("numbers in words that are captured", again("四百八可以 deal four hundred eighty ")),
        ("words that two patterns match", again("deal 480元 ")),
        ("answered questions", again("a deal? no. 价格？不行。")),
        ("contrasts", again("480元, but too much, ")),
        ("other people", again("隔壁价格，other hotels deal. ")),
        ("awaited consent", again("等领导批了价格，once the manager agrees, deal. ")),
        ("spaced ideographs", again("工 单 的 ")),
        ("one long gap", format!("w*ork{}x", again("-"))),
        ("one long gap of stars", format!("w o r k a{}b", again("*"))),
        ("one long gap of several marks", format!("wo{}rk", again(" .*🙂"))),
        ("one long gap between ideographs", format!("工{}单", again("，*"))),
        ("one long gap between two scripts", format!("工{}work", again("* "))),
        ("one gap to the end", format!("w*ork{}", again("-"))),
        ("tags that close nothing", format!("{}{}", again("<a>"), again("</b>"))),
        ("full-width digits", again("４")),
        ("groups of digits", format!("1{}", again(",111"))),
        ("decimals", again("1.1.")),
        ("one sentence without an end", again("价格 deal 480元 ")),
        ("full stops", again("deal. 1. a.m. No. ")),
        ("dots", again(".")),
        ("negators", again("no not 不 没 deal ")),
        ("clauses of one sentence", again("deal, ")),
        ("conditions", again("if deal, ")),
        ("questions in one sentence", again("can you deal, ")),
        ("quotations", again("he said \"deal\" ")),
        ("open quotations", again("\"deal ")),
        ("speech", again("he said that we deal 客人说价格")),
        ("words far from their negator", format!("not {}", again("deal "))),
        ("words repeated", again("we deal ")),
        ("sentences repeated", again("we deal here. ")),
        ("signs", again("-")),
        ("invisible characters", again("工\u{200b}单\u{fe0f}")),
        ("line breaks", again("w\no\n")),
        ("entities", again("&#x61;&amp;")),
        ("tags within words", again("w<b>o</b>")),
        ("emphasis", again("**w**o")),
        ("emoji", again("工🙂单")),
        ("number words", again("four hundred ")),
        ("Chinese number words", again("四百八十")),
        ("mixed number words", again("4百8")),
        ("ranges", again("1-2万")),
        ("spaced digits", again("4 8 0 ")),
        ("groups by spaces", again("1 000 ")),
        ("groups by points", again("1.000,")),
        ("unknown numbers", (0..n).map(|at| format!("{at}元 ")).collect()),
        ("names before numbers", format!("{}{}", again("1 "), again("底价 "))),
        ("names far from a number", format!("{}1", again("底价 "))),
    ]
}

fn steps(packs: &RulePacks, text: &str) -> u64 {
    // The reply's numbers occur in the earlier message too, so that both sides of that comparison
    // grow.
    let messages = vec![
        Message::new(Role::User, text),
        Message::new(Role::Assistant, text),
        Message::new(Role::Assistant, text),
    ];
    let rollout = Rollout { messages, ..Rollout::default() };
    steps::take();
    let _ = packs.evaluate(&rollout, 2);
    steps::take()
}

#[test]
fn twice_the_text_takes_about_twice_the_steps() {
    let pack = SourceText { name: "p.yaml".into(), text: RULES.into() };
    let (packs, _) = RulePacks::compile(&[pack]).unwrap();
    let mut quadratic = Vec::new();
    for ((name, text), (_, double)) in texts(500).into_iter().zip(texts(1000)) {
        let (once, twice) = (steps(&packs, &text), steps(&packs, &double));
        // Sorting adds a logarithm, at this size a factor of 2.2 at most. A square has a factor of
        // 4.
        if twice * 10 > once * 24 {
            quadratic.push(format!("{name}: {once} steps, twice the text {twice}"));
        }
    }
    assert!(quadratic.is_empty(), "{quadratic:#?}");
}
