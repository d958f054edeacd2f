//! Differential tests: a pattern hits exactly where the `regex` crate says, on the folded text. The
//! patterns are generated, and those of the shipped packs.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use regex::Regex;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::regexes;
use crate::SourceText;
use crate::engine::compile::CompiledPacks;
use crate::engine::compiled_rule::{Matcher, RegexMatcher};
use crate::engine::pattern::MAX_HITS;
use crate::engine::scan::ScannedText;
use crate::engine::scan_limit::ScanClock;
use crate::syntax::expiry::ExpiryPolicy;
use crate::syntax::pack::Predicate;

/// A pattern of a rule: for the `regex` crate, and compiled.
struct PatternPair<'p> {
    written: &'p str,
    regex: Regex,
    matcher: &'p RegexMatcher,
}

fn compiled(packs: &[SourceText]) -> CompiledPacks {
    let expiry = ExpiryPolicy::load(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    CompiledPacks::new(packs, expiry)
}

/// The patterns of all rules without errors.
fn pairs(packs: &CompiledPacks) -> Vec<PatternPair<'_>> {
    let mut found = Vec::new();
    for read in &packs.packs {
        let rules = read.pack.iter().flat_map(|pack| &pack.rules).zip(&read.places);
        for (rule, place) in rules {
            let Some(place) = *place else { continue };
            collect(&rule.test, &packs.plan.rules[place].matcher, &mut found);
        }
    }
    found
}

fn collect<'p>(test: &'p Predicate, matcher: &'p Matcher, found: &mut Vec<PatternPair<'p>>) {
    match (test, matcher) {
        (Predicate::Regex { pattern, spelt, fold, .. }, Matcher::Regex(matcher)) => {
            let written = spelt.as_ref().unwrap_or(&pattern.value);
            let regex = regexes::regex(written, *fold).unwrap();
            found.push(PatternPair { written, regex, matcher });
        }
        (
            Predicate::All { tests, .. } | Predicate::Any { tests, .. },
            Matcher::All { matchers, .. } | Matcher::Any { matchers, .. },
        ) => {
            assert_eq!(tests.len(), matchers.len());
            tests.iter().zip(matchers).for_each(|(test, matcher)| collect(test, matcher, found));
        }
        (Predicate::Not(test), Matcher::Not(matcher)) => collect(test, matcher, found),
        _ => {}
    }
}

/// The number of matches, after a comparison with those of the `regex` crate.
fn compare(pair: &PatternPair<'_>, text: &ScannedText<'_>) -> Result<usize, String> {
    let RegexMatcher { pattern, fold, .. } = pair.matcher;
    let scan = text.scan();
    let found = if *fold { &scan.found } else { &scan.raw_found };
    let may_match = match pattern.leaves() {
        Some(leaves) => leaves.into_iter().any(|leaf| found.has(leaf)),
        None => text.passes(pattern.gate(), *fold),
    };
    let mut hits = Vec::new();
    if may_match {
        pattern.find(text.view(*fold), found, |range| hits.push(range));
    }
    let view = text.view(*fold);
    let wanted: Vec<_> = pair.regex.find_iter(view).take(MAX_HITS).map(|hit| hit.range()).collect();
    if hits == wanted {
        Ok(hits.len())
    } else {
        Err(format!("{:?} in {view:?}: {hits:?}, the regex crate finds {wanted:?}", pair.written))
    }
}

fn scanned<'a>(packs: &'a CompiledPacks, text: &'a str) -> ScannedText<'a> {
    ScannedText::new(&packs.plan.scanner, Cow::Borrowed(text), Arc::new(ScanClock::default()))
}

/// Writes texts that a pattern matches.
struct TextWriter {
    /// The state of xorshift64.
    state: u64,
}

impl TextWriter {
    const fn below(&mut self, n: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % n
    }

    fn write(&mut self, hir: &Hir, text: &mut String) {
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Look(_) => text.push_str(["", " ", "\n"][self.below(3) as usize]),
            HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).unwrap()),
            HirKind::Class(Class::Unicode(class)) => {
                let ranges = class.ranges();
                let Some(range) = ranges.get(self.below(ranges.len().max(1) as u64) as usize)
                else {
                    return;
                };
                let (start, end) = (u32::from(range.start()), u32::from(range.end()));
                let step = self.below(u64::from((end - start).min(60)) + 1) as u32;
                text.extend(char::from_u32(start + step));
            }
            HirKind::Class(Class::Bytes(_)) => {}
            HirKind::Repetition(repetition) => {
                let most = repetition.max.unwrap_or(u32::MAX).min(repetition.min + 3);
                let times =
                    repetition.min + self.below(u64::from(most - repetition.min) + 1) as u32;
                (0..times).for_each(|_| self.write(&repetition.sub, text));
            }
            HirKind::Capture(capture) => self.write(&capture.sub, text),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.write(part, text)),
            HirKind::Alternation(parts) => {
                let at = self.below(parts.len() as u64) as usize;
                self.write(&parts[at], text);
            }
        }
    }

    /// A text with several matches of `pattern`, some of them damaged, between other words.
    fn text(&mut self, pattern: &str) -> String {
        const BETWEEN: [&str; 12] =
            ["", " ", "，", "。", "a", "deal ", "480", "工单", ". ", "\n", "Ａ", "é"];
        let hir = regex_syntax::parse(pattern).unwrap();
        let mut text = String::new();
        for part in 0..=self.below(3) {
            if part > 0 || self.below(2) == 0 {
                text.push_str(BETWEEN[self.below(12) as usize]);
            }
            let mut part = String::new();
            self.write(&hir, &mut part);
            if self.below(3) == 0 {
                let places: Vec<usize> = part.char_indices().map(|(at, _)| at).collect();
                if let Some(at) = places.get(self.below(places.len().max(1) as u64) as usize) {
                    match self.below(3) {
                        0 => drop(part.remove(*at)),
                        1 => part.insert(*at, 'x'),
                        _ => part.truncate(*at),
                    }
                }
            }
            text.push_str(&part);
        }
        text.push_str(BETWEEN[self.below(12) as usize]);
        text
    }
}

#[expect(clippy::disallowed_methods, reason = "a test reads the packs that ship")]
fn shipped() -> Vec<SourceText> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["rules", "examples/rules"].map(|folder| root.join(folder));
    let entries = folders.iter().flat_map(|folder| folder.read_dir().unwrap());
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let read = |path: &std::path::PathBuf| SourceText {
        name: path.display().to_string(),
        text: std::fs::read_to_string(path).unwrap(),
    };
    paths.iter().map(read).collect()
}

#[test]
fn patterns_of_the_shipped_packs_hit_where_the_regex_crate_says() {
    let packs = compiled(&shipped());
    let pairs = pairs(&packs);
    assert!(pairs.len() > 60, "{}", pairs.len());
    let mut texts = vec![String::new()];
    for (index, pair) in pairs.iter().enumerate() {
        let mut writer = TextWriter { state: 0x9e37_79b9_7f4a_7c15 ^ index as u64 };
        texts.extend((0..12).map(|_| writer.text(pair.written)));
    }
    let mut matches = vec![0; pairs.len()];
    let mut wrong = Vec::new();
    for text in &texts {
        let text = scanned(&packs, text);
        for (pair, matches) in pairs.iter().zip(&mut matches) {
            match compare(pair, &text) {
                Ok(found) => *matches += found,
                Err(difference) => wrong.push(difference),
            }
        }
    }
    wrong.truncate(10);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let idle: Vec<&str> =
        pairs.iter().zip(matches).filter(|(_, n)| *n == 0).map(|(pair, _)| pair.written).collect();
    assert!(idle.is_empty(), "nothing matches {idle:#?}");
}

fn patterns() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "工单",
        "工",
        "保证",
        "deal",
        "Deal",
        "a",
        "b",
        "ab",
        "order",
        "元",
        "：",
        "Ａ",
        "é",
        "價",
        "1",
        "[ab]",
        "[^a]",
        "[a-z]",
        "[A-Z]",
        "[一-龥]",
        "[！？]",
        r"\d",
        r"\w",
        r"\s",
        r"\S",
        ".",
        r"\b",
        r"\B",
        "^",
        "$",
        "(?m:^)",
        "(?m:$)",
        r"\p{Han}",
        " ",
        ",",
        "",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 4, |inner| {
        let repeats = prop::sample::select(vec![
            "*", "+", "?", "*?", "+?", "??", "{2}", "{2,4}", "{3,}", "{0,9}", "{9}", "{2,4}?",
        ]);
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            2 => prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|parts| format!("(?:{})", parts.join("|"))),
            2 => (inner.clone(), repeats).prop_map(|(part, times)| format!("(?:{part}){times}")),
            1 => inner.clone().prop_map(|part| format!("({part})")),
            1 => inner.prop_map(|part| format!("(?i:{part})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn generated_patterns_hit_where_the_regex_crate_says(
        pattern in patterns(),
        fold in any::<bool>(),
        seed in 1_u64..,
        noise in "(?:[abde工单元价1 ,，：\n]|deal|保证){0,12}",
    ) {
        let quoted = pattern.replace('\'', "''");
        let text = format!(
            "pack: p\nrules:\n  - {{ id: a, points: -1, match: {{ regex: '{quoted}', fold: {fold} }} }}\n"
        );
        let packs = compiled(&[SourceText { name: "p.yaml".into(), text }]);
        let mut writer = TextWriter { state: seed };
        for pair in pairs(&packs) {
            for text in [writer.text(&pattern), writer.text(&pattern), noise.clone()] {
                let difference = compare(&pair, &scanned(&packs, &text)).err();
                prop_assert_eq!(difference, None);
            }
        }
    }
}
