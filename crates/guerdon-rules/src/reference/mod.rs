//! A naive engine: runs every pattern over the whole text, folds every character on its own and
//! skips nothing. It is slow and simple. Tests and fuzzing compare the real engine with it.
//!
//! It evaluates `match` on the scored turn. Other scopes, `when` and checks have no separate fast
//! path.

#[cfg(test)]
mod laws;

use std::collections::HashMap;
use std::ops::Range;

use guerdon_types::{Context, Rollout};
use regex_automata::meta::Regex;

use crate::SourceText;
use crate::engine::expr::{Expr, ExprFacts, Truth};
use crate::engine::pattern::{self, MAX_HITS};
use crate::syntax::pack::{NearWords, NumberWords, Predicate, Rule};
use crate::syntax::parse;
use crate::text::literals::{LiteralHits, leftmost_longest};
use crate::text::near::{self, Near};
use crate::text::normalise::{self, LooseReading};
use crate::text::number::{self, NumberSpec, Units};

/// A hit: the id of the rule, the number of hits, and the spans in characters of the turn.
pub type NaiveHit = (String, usize, Vec<[usize; 2]>);

/// The `match` rules of packs for the naive engine.
#[derive(Debug)]
pub struct Reference {
    rules: Vec<(Rule, Option<Expr>)>,
    /// Compiled regexes by pattern and `fold`.
    regexes: HashMap<(String, bool), Regex>,
}

impl Reference {
    /// Reads the rules of `packs`. Skips rules without a `match` on the scored turn and packs that
    /// cannot be read.
    #[must_use]
    pub fn new(packs: &[SourceText]) -> Self {
        let read =
            packs.iter().filter_map(|pack| parse::parse(&pack.text).0).flat_map(|pack| pack.rules);
        let with_condition = |rule: Rule| {
            let condition = match &rule.condition {
                Some(text) => Some(Expr::parse(&text.value, &[]).ok()?),
                None => None,
            };
            Some((rule, condition))
        };
        let rules: Vec<_> = read.filter_map(with_condition).collect();
        let mut regexes = HashMap::new();
        for (rule, _) in &rules {
            gather(&rule.test, &mut regexes);
        }
        Self { rules, regexes }
    }

    /// The rules that hit message `turn` of `rollout`, by id.
    #[must_use]
    pub fn evaluate(&self, rollout: &Rollout, turn: usize) -> Vec<NaiveHit> {
        let Some(message) = rollout.messages.get(turn) else { return Vec::new() };
        let text = Naive::new(&message.content, &rollout.context, &self.regexes);
        let hit = |(rule, condition): &(Rule, Option<Expr>)| {
            let mut found = text.test(&rule.test, condition.as_ref())?;
            found.spans.sort_unstable();
            found.spans.dedup();
            found.yes.then(|| (rule.id.value.clone(), found.spans.len(), found.spans))
        };
        let mut hits: Vec<NaiveHit> = self.rules.iter().filter_map(hit).collect();
        hits.sort();
        hits
    }
}

/// Compiles every regex of a predicate.
fn gather(test: &Predicate, regexes: &mut HashMap<(String, bool), Regex>) {
    match test {
        Predicate::Regex { pattern, fold, .. } => {
            let regex = pattern::parse(&pattern.value, *fold).and_then(|hir| pattern::regex(&hir));
            regexes.extend(regex.ok().map(|regex| ((pattern.value.clone(), *fold), regex)));
        }
        Predicate::All { tests, .. } | Predicate::Any { tests, .. } => {
            tests.iter().for_each(|test| gather(test, regexes));
        }
        Predicate::Not(test) => gather(test, regexes),
        _ => {}
    }
}

struct Naive<'a> {
    original: &'a str,
    context: &'a Context,
    regexes: &'a HashMap<(String, bool), Regex>,
    folded: String,
    /// The character of the original that each byte of `folded` came from.
    origin: Vec<usize>,
}

#[derive(Debug, Default)]
struct Hits {
    yes: bool,
    spans: Vec<[usize; 2]>,
}

impl<'a> Naive<'a> {
    fn new(
        original: &'a str,
        context: &'a Context,
        regexes: &'a HashMap<(String, bool), Regex>,
    ) -> Self {
        let (mut folded, mut origin) = (String::new(), Vec::new());
        for (index, c) in original.chars().enumerate() {
            for f in normalise::fold(c.encode_utf8(&mut [0; 4])).chars() {
                if f != ' ' || !folded.ends_with(' ') {
                    folded.push(f);
                    origin.resize(folded.len(), index);
                }
            }
        }
        Self { original, context, regexes, folded, origin }
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
        Hits {
            yes: !ranges.is_empty(),
            spans: ranges.iter().map(|range| self.span(fold, range)).collect(),
        }
    }

    fn test(&self, test: &Predicate, condition: Option<&Expr>) -> Option<Hits> {
        Some(match test {
            Predicate::Literals { words, fold, word, near, count } => {
                let words: Vec<String> = words.iter().map(|word| word.value.clone()).collect();
                let mut ranges = self.occurrences(&words, *fold);
                ranges.retain(|range| !word || near::is_whole(self.view(*fold), range));
                self.keep_near(&mut ranges, near);
                leftmost_longest(&mut ranges);
                self.hits(*fold, &ranges, *count)
            }
            Predicate::Regex { pattern, fold, near, count } => {
                let regex = self.regexes.get(&(pattern.value.clone(), *fold))?;
                let text = self.view(*fold);
                let mut ranges: Vec<_> =
                    regex.find_iter(text).take(MAX_HITS).map(|hit| hit.range()).collect();
                self.keep_near(&mut ranges, near);
                self.hits(*fold, &ranges, *count)
            }
            Predicate::Number { numbers, count } => self.numbers(numbers, condition, *count),
            Predicate::All { tests, .. } => {
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
            Predicate::Any { tests, .. } => {
                let mut any = Hits::default();
                for test in tests {
                    let next = self.test(test, condition)?;
                    any.yes |= next.yes;
                    any.spans.extend(next.spans);
                }
                any
            }
            Predicate::Not(test) => {
                Hits { yes: !self.test(test, condition)?.yes, ..Hits::default() }
            }
            _ => return None,
        })
    }

    /// Every occurrence of any of `words`, overlapping ones included, and those in the loose
    /// reading.
    fn occurrences(&self, words: &[String], fold: bool) -> Vec<Range<usize>> {
        let text = self.view(fold);
        let mut ranges = Vec::new();
        let mut loose = LooseReading::default();
        loose.read(text);
        for word in words {
            let word = if fold { normalise::fold(word) } else { word.clone() };
            ranges.extend(everywhere(text, &word));
            if let (true, Some(bare)) = (fold, normalise::loose_form(&word)) {
                ranges.extend(
                    everywhere(loose.text(), &bare).filter_map(|at| loose.disguised(text, &at)),
                );
            }
        }
        ranges
    }

    /// Keeps the ranges with a required word near them and no forbidden one.
    fn keep_near(&self, ranges: &mut Vec<Range<usize>>, nearby: &NearWords) {
        let (near, found) = self.near(nearby);
        ranges.retain(|range| near.holds(&self.folded, range, &found));
    }

    fn near(&self, nearby: &NearWords) -> (Near, LiteralHits) {
        let mut found = LiteralHits::default();
        found.reset(2);
        for (leaf, words) in [(0, &nearby.near), (1, &nearby.not_near)] {
            for range in self.occurrences(&folded(words), true) {
                found.push(leaf, &range);
            }
        }
        let leaf = |words: &[String], leaf| (!words.is_empty()).then_some(leaf);
        let near = Near {
            one: leaf(&nearby.near, 0),
            none: leaf(&nearby.not_near, 1),
            within: nearby.within,
        };
        (near, found)
    }

    fn numbers(&self, wanted: &NumberWords, condition: Option<&Expr>, count: usize) -> Hits {
        let text = &self.folded;
        let mut units = Units::default();
        let (near, found) = self.near(&wanted.near);
        let spec = NumberSpec { units: units.all(folded(&wanted.unit)), near, optional: false };
        let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
        let starts = text
            .char_indices()
            .filter(|(at, _)| !digit(*at) || !at.checked_sub(1).is_some_and(digit));
        let places: Vec<u32> = starts.filter_map(|(at, _)| u32::try_from(at).ok()).collect();
        let mut numbers = number::TextNumbers::default();
        numbers.scan(text, &places, &units);
        let captures = spec.captures(text, &numbers, &units, &found);
        let fits = captures.filter(|capture| {
            condition.is_none_or(|expr| {
                expr.truth(ExprFacts::of(self.context).with_capture(capture)) == Truth::Yes
            })
        });
        let ranges: Vec<Range<usize>> = fits.map(|capture| capture.bytes).collect();
        self.hits(true, &ranges, count)
    }
}

fn folded(words: &[String]) -> Vec<String> {
    words.iter().map(|word| normalise::fold(word).trim().to_owned()).collect()
}

/// Every occurrence of `word`, overlapping ones included.
fn everywhere<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
    let starts = text.char_indices().map(|(at, _)| at);
    starts
        .filter(move |at| text.get(*at..).is_some_and(|rest| rest.starts_with(word)))
        .map(|at| at..at + word.len())
}
