//! The rules run naively: every pattern over the whole text, every character folded on its own, nothing skipped. Slow and
//! plain, so that it can be believed; tests and fuzzing hold the engine to its answers.
//!
//! It reads `match` of the scored turn. Scopes, `when` and checks have no fast path that could go wrong.

use std::ops::Range;

use guerdon_types::{Context, Rollout};

use crate::PackText;
use crate::expr::{Expr, Facts, Truth};
use crate::literals::{Found, leftmost_longest};
use crate::normalise::{self, Loose};
use crate::number::{self, NumberSpec, Units};
use crate::pack::{Numbers, Rule, Test};
use crate::parse;
use crate::pattern::{self, MAX_HITS};

/// A rule that hit: its id, how often, and where, in characters of the turn.
pub type NaiveHit = (String, usize, Vec<[usize; 2]>);

/// The rules of `packs` that hit message `turn` of `rollout`, by id. Rules with anything but `match` on the scored turn
/// are passed over, and so are packs that cannot be read.
#[must_use]
pub fn evaluate(packs: &[PackText], rollout: &Rollout, turn: usize) -> Vec<NaiveHit> {
    let Some(message) = rollout.messages.get(turn) else { return Vec::new() };
    let text = Naive::new(&message.content, &rollout.context);
    let rules = packs.iter().filter_map(|pack| parse::parse(&pack.text).0).flat_map(|pack| pack.rules);
    let mut hits: Vec<NaiveHit> = rules
        .filter_map(|rule| {
            let mut found = text.rule(&rule)?;
            found.spans.sort_unstable();
            found.spans.dedup();
            found.yes.then_some((rule.id.value, found.spans.len(), found.spans))
        })
        .collect();
    hits.sort();
    hits
}

struct Naive<'a> {
    original: &'a str,
    context: &'a Context,
    folded: String,
    /// For each byte of `folded`, the character it came from.
    origin: Vec<usize>,
}

#[derive(Debug, Default)]
struct Hits {
    yes: bool,
    spans: Vec<[usize; 2]>,
}

impl<'a> Naive<'a> {
    fn new(original: &'a str, context: &'a Context) -> Self {
        let (mut folded, mut origin) = (String::new(), Vec::new());
        for (index, c) in original.chars().enumerate() {
            for f in normalise::fold(c.encode_utf8(&mut [0; 4])).chars() {
                if f != ' ' || !folded.ends_with(' ') {
                    folded.push(f);
                    origin.resize(folded.len(), index);
                }
            }
        }
        Self { original, context, folded, origin }
    }

    fn rule(&self, rule: &Rule) -> Option<Hits> {
        let condition = match &rule.condition {
            Some(text) => Some(Expr::parse(&text.value, &[]).ok()?),
            None => None,
        };
        self.test(&rule.test, condition.as_ref())
    }

    fn view(&self, fold: bool) -> &str {
        if fold { &self.folded } else { self.original }
    }

    fn span(&self, fold: bool, bytes: &Range<usize>) -> [usize; 2] {
        let chars = |byte: usize| self.original.get(..byte).unwrap_or_default().chars().count();
        if !fold {
            return [chars(bytes.start), chars(bytes.end)];
        }
        let end = self.original.chars().count();
        let start = self.origin.get(bytes.start).copied().unwrap_or(end);
        match bytes.end.checked_sub(1).and_then(|last| self.origin.get(last)) {
            Some(last) if !bytes.is_empty() => [start, last + 1],
            _ => [start, start],
        }
    }

    fn hits(&self, fold: bool, ranges: &[Range<usize>], count: usize) -> Hits {
        if ranges.len() < count {
            return Hits::default();
        }
        Hits { yes: !ranges.is_empty(), spans: ranges.iter().map(|range| self.span(fold, range)).collect() }
    }

    fn test(&self, test: &Test, condition: Option<&Expr>) -> Option<Hits> {
        Some(match test {
            Test::Literals { words, fold, word, count } => {
                let words: Vec<String> = words.iter().map(|word| word.value.clone()).collect();
                let mut ranges = self.occurrences(&words, *fold);
                ranges.retain(|range| !word || number::is_whole(self.view(*fold), range));
                leftmost_longest(&mut ranges);
                self.hits(*fold, &ranges, *count)
            }
            Test::Regex { pattern, fold, count } => {
                let regex = pattern::regex(&pattern::parse(&pattern.value, *fold).ok()?).ok()?;
                let text = self.view(*fold);
                let ranges: Vec<_> = regex.find_iter(text).take(MAX_HITS).map(|hit| hit.range()).collect();
                self.hits(*fold, &ranges, *count)
            }
            Test::Number { numbers, count } => self.numbers(numbers, condition, *count),
            Test::All { tests, .. } => {
                let mut all = Hits { yes: true, ..Hits::default() };
                for test in tests {
                    let next = self.test(test, condition)?;
                    if !next.yes {
                        return Some(Hits::default());
                    }
                    all.spans.extend(next.spans);
                }
                all
            }
            Test::Any { tests, .. } => {
                let mut any = Hits::default();
                for test in tests {
                    let next = self.test(test, condition)?;
                    any.yes |= next.yes;
                    any.spans.extend(next.spans);
                }
                any
            }
            Test::Not(test) => Hits { yes: !self.test(test, condition)?.yes, ..Hits::default() },
            _ => return None,
        })
    }

    /// Every occurrence of any of `words`, overlapping ones too, and those that only a loose reading finds.
    fn occurrences(&self, words: &[String], fold: bool) -> Vec<Range<usize>> {
        let text = self.view(fold);
        let mut ranges = Vec::new();
        let mut loose = Loose::default();
        loose.read(text);
        for word in words {
            let word = if fold { normalise::fold(word) } else { word.clone() };
            ranges.extend(everywhere(text, &word));
            if let (true, Some(bare)) = (fold, normalise::skeleton(&word)) {
                ranges.extend(everywhere(loose.text(), &bare).filter_map(|at| loose.disguised(text, &at)));
            }
        }
        ranges
    }

    fn numbers(&self, wanted: &Numbers, condition: Option<&Expr>, count: usize) -> Hits {
        let text = &self.folded;
        let fold_all = |words: &[String]| -> Vec<String> {
            words.iter().map(|word| normalise::fold(word).trim().to_owned()).collect()
        };
        let mut units = Units::default();
        let mut found = Found::default();
        found.reset(2);
        for (leaf, words) in [(0, &wanted.near), (1, &wanted.not_near)] {
            for range in self.occurrences(&fold_all(words), true) {
                found.push(leaf, &range);
            }
        }
        let spec = NumberSpec {
            units: units.all(fold_all(&wanted.unit)),
            near: (!wanted.near.is_empty()).then_some(0),
            not_near: (!wanted.not_near.is_empty()).then_some(1),
            within: wanted.within,
            optional: false,
        };
        let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
        let starts =
            text.char_indices().filter(|(at, _)| !digit(*at) || !at.checked_sub(1).is_some_and(digit));
        let places: Vec<u32> = starts.filter_map(|(at, _)| u32::try_from(at).ok()).collect();
        let mut numbers = number::Numbers::default();
        numbers.scan(text, &places, &units);
        let captures = spec.captures(text, &numbers, &units, &found);
        let fits = captures.filter(|capture| {
            condition
                .is_none_or(|expr| expr.truth(Facts::of(self.context).with_capture(capture)) == Truth::Yes)
        });
        let ranges: Vec<Range<usize>> = fits.map(|capture| capture.bytes).collect();
        self.hits(true, &ranges, count)
    }
}

/// Every occurrence of `word`, overlapping ones too.
fn everywhere<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
    let starts = text.char_indices().map(|(at, _)| at);
    starts
        .filter(move |at| text.get(*at..).is_some_and(|rest| rest.starts_with(word)))
        .map(|at| at..at + word.len())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use guerdon_types::{Message, Role};
    use proptest::prelude::*;

    use super::*;
    use crate::RulePacks;

    const PATTERNS: [&str; 26] = [
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
  - { id: whole, points: -1, match: { any_of: [deal, ab], word: true } }
  - { id: twice, points: -1, match: { any_of: [工单, a], count: 2 } }
  - { id: price, points: -1, match: { number: { unit: [元, '¥', 块] } } }
  - { id: dear, points: -1, match: { number: { unit: [元, '¥'], near: [可以, deal], not_near: [不], within: 6 } }, where: value > 300 }
  - { id: any-number, points: -1, match: { number: {} }, where: low < high }
  - { id: both, points: -1, match: { all: [{ any_of: [工单] }, { regex: '\\d' }] } }
  - { id: either, points: -1, match: { any: [{ any_of: [保证] }, { regex: '[!?]' }] } }
  - { id: without, points: -1, match: { all: [{ any_of: [元] }, { not: { any_of: [不] } }] } }
"
    }

    static COMPILED: LazyLock<([PackText; 1], RulePacks)> = LazyLock::new(|| {
        let pack = [PackText { name: "p.yaml".into(), text: rules() }];
        let (packs, _) = RulePacks::compile(&pack).unwrap();
        (pack, packs)
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
        ]);
        prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn the_engine_hits_what_a_naive_search_hits_and_in_the_same_places(text in texts()) {
            let (pack, packs) = &*COMPILED;
            let messages = vec![Message::new(Role::Assistant, text)];
            let rollout = Rollout { messages, ..Rollout::default() };
            let mut found: Vec<NaiveHit> = packs
                .evaluate(&rollout, 0)
                .hits
                .into_iter()
                .map(|hit| (hit.rule, hit.spans.len(), hit.spans))
                .collect();
            found.sort();
            let mut naive = evaluate(pack, &rollout, 0);
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
        fn hits_and_points_do_not_hang_on_the_order_of_the_rules(text in texts(), by in 1_usize..40) {
            let forward = rules();
            let (head, body) = forward.split_once("rules:\n").unwrap();
            let mut lines: Vec<&str> = body.lines().filter(|line| !line.is_empty()).collect();
            let middle = by % lines.len();
            lines.rotate_left(middle);
            let turned = format!("{head}rules:\n{}\n", lines.join("\n"));
            let messages = vec![Message::new(Role::Assistant, text)];
            let rollout = Rollout { messages, ..Rollout::default() };
            let turned = RulePacks::compile(&[PackText { name: "p".into(), text: turned }]).unwrap().0;
            let part = |packs: &RulePacks| {
                let mut part = packs.evaluate(&rollout, 0);
                part.hits.sort_by(|a, b| a.rule.cmp(&b.rule));
                part
            };
            prop_assert_eq!(part(&COMPILED.1), part(&turned));
        }
    }
}
