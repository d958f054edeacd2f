//! A naive engine: runs every pattern over the whole text, folds every character on its own and
//! skips nothing. It is slow and simple. Tests and fuzzing compare the real engine with this one.
//!
//! It evaluates `match` on the scored turn. Other scopes, `when` and checks have no separate fast
//! path.
//!
//! | File | Contents |
//! |---|---|
//! | `regexes.rs` | The meaning of a pattern: the `regex` crate on the folded text |
//! | `laws.rs` | Property tests of whole rules |
//! | `pattern_laws.rs` | Differential tests of patterns: generated, and those of the shipped packs |

#[cfg(test)]
mod laws;
#[cfg(test)]
mod pattern_laws;
mod regexes;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Range;

use guerdon_types::{Context, Rollout};
use regex::Regex;

use crate::SourceText;
use crate::engine::checks::keeps_checksum;
use crate::engine::expr::{Expr, ExprFacts, Truth};
use crate::engine::pattern::MAX_HITS;
use crate::syntax::pack::{NearWords, NumberWords, Predicate, Rule};
use crate::syntax::parse;
use crate::text::literals::{LiteralHits, leftmost_longest};
use crate::text::near::{self, Near, Surroundings};
use crate::text::normalise::{self, DisguiseReadings, FoldedText, UnmaskedText};
use crate::text::number::{Capture, FiguredText, NumberSpec, NumberText, TextNumbers, Units};
use crate::text::speech::{SpeechActs, SpeechIndex};

/// A hit: the id of the rule, the number of hits, and the spans in characters of the turn.
pub type NaiveHit = (String, usize, Vec<[usize; 2]>);

/// The `match` rules of packs for the naive engine.
#[derive(Debug)]
pub struct Reference {
    /// Rules with their parsed conditions.
    rules: Vec<(Rule, Option<Expr>)>,
    /// Regexes of the `regex` crate by pattern and `fold`.
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
            compile_regexes(&rule.test, &mut regexes);
        }
        Self { rules, regexes }
    }

    /// The rules that hit message `turn` of `rollout`, by id.
    #[must_use]
    pub fn evaluate(&self, rollout: &Rollout, turn: usize) -> Vec<NaiveHit> {
        let said = rollout.messages.get(turn).filter(|message| !message.only_calls());
        let Some(message) = said else { return Vec::new() };
        let text = NaiveText::new(&message.content, &rollout.context, &self.regexes);
        let hit = |(rule, condition): &(Rule, Option<Expr>)| {
            let mut found = text.test(&rule.test, condition.as_ref())?;
            found.spans.sort_unstable();
            found.spans.dedup();
            found.holds.then(|| (rule.id.value.clone(), found.spans.len(), found.spans))
        };
        let mut hits: Vec<NaiveHit> = self.rules.iter().filter_map(hit).collect();
        hits.sort();
        hits
    }
}

/// Compiles every regex of a predicate.
fn compile_regexes(test: &Predicate, regexes: &mut HashMap<(String, bool), Regex>) {
    match test {
        Predicate::Regex { pattern, spelt, fold, .. } => {
            let pattern = spelt.as_ref().unwrap_or(&pattern.value);
            let regex = regexes::regex(pattern, *fold);
            regexes.extend(regex.map(|regex| ((pattern.clone(), *fold), regex)));
        }
        Predicate::All { tests, .. } | Predicate::Any { tests, .. } => {
            tests.iter().for_each(|test| compile_regexes(test, regexes));
        }
        Predicate::Not(test) => compile_regexes(test, regexes),
        _ => {}
    }
}

/// A turn, as read by the naive engine.
struct NaiveText<'a> {
    original: &'a str,
    context: &'a Context,
    regexes: &'a HashMap<(String, bool), Regex>,
    folded: String,
    /// The character of the original that each byte of `folded` came from.
    origin: Vec<usize>,
}

/// The result of a predicate.
#[derive(Debug, Default)]
struct PredicateHits {
    holds: bool,
    spans: Vec<[usize; 2]>,
}

impl<'a> NaiveText<'a> {
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

    fn hits(&self, fold: bool, ranges: &[Range<usize>], count: usize) -> PredicateHits {
        if ranges.len() < count {
            return PredicateHits::default();
        }
        PredicateHits {
            holds: !ranges.is_empty(),
            spans: ranges.iter().map(|range| self.span(fold, range)).collect(),
        }
    }

    fn test(&self, test: &Predicate, condition: Option<&Expr>) -> Option<PredicateHits> {
        Some(match test {
            Predicate::Literals { words, fold, word, near, unless, count } => {
                let words: Vec<String> = words.iter().map(|word| word.value.clone()).collect();
                let mut ranges = self.occurrences(&words, *fold);
                ranges.retain(|range| !word || near::is_whole(self.view(*fold), range));
                self.keep_near(&mut ranges, near);
                keep_stated(self.view(*fold), &mut ranges, *unless, no_number);
                if *fold {
                    ranges.extend(self.unmasked((near, *unless), no_number, |unmasked| {
                        let text = unmasked.text();
                        let mut all: Vec<Range<usize>> = folded_forms(&words)
                            .iter()
                            .flat_map(|word| occurrences_of(text, word).collect::<Vec<_>>())
                            .collect();
                        all.retain(|range| {
                            near::is_whole(text, range) && unmasked.is_certain(range)
                        });
                        all
                    }));
                }
                leftmost_longest(&mut ranges);
                self.hits(*fold, &ranges, *count)
            }
            Predicate::Regex { pattern, spelt, fold, checksum, near, unless, count } => {
                let pattern = spelt.as_ref().unwrap_or(&pattern.value);
                let regex = self.regexes.get(&(pattern.clone(), *fold))?;
                let text = self.view(*fold);
                let keeps = |text: &str, range: &Range<usize>| {
                    checksum.is_none_or(|rule| keeps_checksum(rule, &text[range.clone()]))
                };
                let find = |text: &str| -> Vec<Range<usize>> {
                    let hits = regex.find_iter(text).take(MAX_HITS).map(|hit| hit.range());
                    hits.filter(|range| keeps(text, range)).collect()
                };
                let mut ranges = find(text);
                self.keep_near(&mut ranges, near);
                let captures = pattern.contains("<value>");
                let is_number = condition.is_some() && captures;
                let any_value = |text: &str, range: &Range<usize>| {
                    Some(regex.captures_at(text, range.start)?.name("value")?.range())
                };
                let value =
                    |text: &str, range: &Range<usize>| is_number.then(|| any_value(text, range))?;
                if *fold && captures {
                    let mut figured = FiguredText::default();
                    figured.read(&self.folded, &self.all_numbers(&Units::default()));
                    let none = SpeechActs::default();
                    let whole = self.figured(near, none, find, |_, _| None);
                    ranges.retain(|range| {
                        let value = any_value(text, range);
                        !value.is_some_and(|value| figured.is_part(&value))
                            || !whole.iter().any(|whole| meet(whole, range))
                    });
                }
                let mut taken = ranges.clone();
                let fits = |text: &str, range: &Range<usize>| {
                    let Some(expr) = condition.filter(|_| is_number) else { return true };
                    let number = value(text, range).and_then(|bytes| text.get(bytes)?.parse().ok());
                    number.is_some_and(|number: f64| {
                        expr.truth(ExprFacts::of(self.context).with_value(number)) == Truth::Yes
                    })
                };
                keep_stated(text, &mut ranges, *unless, |range| value(text, range));
                ranges.retain(|range| fits(text, range));
                if *fold {
                    let readings = self.readings();
                    let odd_text = readings.unmasked.text();
                    let odd = |unless: SpeechActs, fits: &dyn Fn(&Range<usize>) -> bool| {
                        let number = |range: &Range<usize>| value(odd_text, range);
                        let find = |text: &UnmaskedText| {
                            find(text.text()).into_iter().filter(|range| fits(range)).collect()
                        };
                        let mut odd = self.unmasked((near, unless), number, find);
                        odd.retain(|odd| !taken.iter().any(|range| meet(range, odd)));
                        odd
                    };
                    ranges.extend(odd(*unless, &|range| fits(odd_text, range)));
                    let all_odd = odd(SpeechActs::default(), &|_| true);
                    taken.extend(all_odd);
                    if captures {
                        let find = |text: &str| -> Vec<Range<usize>> {
                            find(text).into_iter().filter(|range| fits(text, range)).collect()
                        };
                        let mut figured = self.figured(near, *unless, find, value);
                        figured.retain(|one| !taken.iter().any(|range| meet(range, one)));
                        ranges.append(&mut figured);
                    }
                }
                self.hits(*fold, &ranges, *count)
            }
            Predicate::Number { numbers, unless, count } => {
                self.numbers(numbers, *unless, condition, *count)
            }
            Predicate::All { tests, .. } => {
                let mut all = PredicateHits { holds: true, ..PredicateHits::default() };
                for test in tests {
                    let next = self.test(test, condition)?;
                    if !next.holds {
                        return Some(PredicateHits::default());
                    }
                    all.spans.extend(next.spans);
                }
                all
            }
            Predicate::Any { tests, count } => {
                let mut any = PredicateHits::default();
                let mut hits = 0;
                for test in tests {
                    let next = self.test(test, condition)?;
                    any.holds |= next.holds;
                    let known = |[start, end]: &&[usize; 2]| {
                        any.spans.iter().any(|[from, to]| start < to && from < end)
                    };
                    hits += next.spans.len() - next.spans.iter().filter(known).count();
                    any.spans.extend(next.spans);
                }
                if *count > 1 && hits < *count { PredicateHits::default() } else { any }
            }
            Predicate::Not(test) => PredicateHits {
                holds: !self.test(test, condition)?.holds,
                ..PredicateHits::default()
            },
            _ => return None,
        })
    }

    /// Every occurrence of any of `words`, in the text and in its loose reading, including
    /// overlapping ones.
    fn occurrences(&self, words: &[String], fold: bool) -> Vec<Range<usize>> {
        let text = self.view(fold);
        let mut ranges = Vec::new();
        let readings = if fold { self.readings() } else { DisguiseReadings::default() };
        let loose = &readings.loose;
        for word in words {
            let word = if fold { normalise::fold(word) } else { word.clone() };
            ranges.extend(occurrences_of(text, &word));
            if let (true, Some(joined)) = (fold, normalise::joined_form(&word)) {
                ranges.extend(occurrences_of(text, &joined));
            }
            if let (true, Some(bare)) = (fold, normalise::loose_form(&word)) {
                ranges.extend(
                    occurrences_of(loose.text(), &bare).filter_map(|at| loose.disguised(text, &at)),
                );
            }
        }
        ranges
    }

    /// The text without its disguise. The signs of a disguise are part of its definition, and the
    /// corpus of evasions tests them; without one, nothing is read.
    fn readings(&self) -> DisguiseReadings {
        let mut view = FoldedText::default();
        view.read_folded(self.original);
        let mut readings = DisguiseReadings::default();
        if view.suspicious {
            readings.read(&self.folded);
        }
        readings
    }

    /// The ranges that `find` returns in the text without disguise, if they are odd and have the
    /// words near them, in bytes of the folded text.
    fn unmasked(
        &self,
        (nearby, unless): (&NearWords, SpeechActs),
        number: impl Fn(&Range<usize>) -> Option<Range<usize>>,
        find: impl Fn(&UnmaskedText) -> Vec<Range<usize>>,
    ) -> Vec<Range<usize>> {
        let readings = self.readings();
        let unmasked = &readings.unmasked;
        if !unmasked.is_changed() {
            return Vec::new();
        }
        let (near, found) = near_words(unmasked.text(), nearby);
        let sentences = OnceCell::new();
        let around = Surroundings { text: unmasked.text(), found: &found, sentences: &sentences };
        let mut found = find(unmasked);
        keep_stated(unmasked.text(), &mut found, unless, number);
        found
            .into_iter()
            .filter(|range| unmasked.is_odd(range) && near.holds(range, around))
            .filter_map(|range| unmasked.folded_bytes(&range))
            .collect()
    }

    /// The ranges that `find` returns in the text with its numbers in digits, in bytes of the folded
    /// text.
    fn figured(
        &self,
        nearby: &NearWords,
        unless: SpeechActs,
        find: impl Fn(&str) -> Vec<Range<usize>>,
        value: impl Fn(&str, &Range<usize>) -> Option<Range<usize>>,
    ) -> Vec<Range<usize>> {
        let mut figured = FiguredText::default();
        figured.read(&self.folded, &self.all_numbers(&Units::default()));
        let found = find(figured.text()).into_iter().filter(|range| figured.is_figured(range));
        let places = found.filter_map(|range| {
            let bytes = figured.folded_bytes(&range)?;
            let number = value(figured.text(), &range);
            Some((bytes, number.and_then(|number| figured.folded_bytes(&number))))
        });
        let mut kept = Vec::new();
        for (bytes, number) in places {
            let mut one = vec![bytes];
            self.keep_near(&mut one, nearby);
            keep_stated(&self.folded, &mut one, unless, |_| number.clone());
            kept.append(&mut one);
        }
        kept
    }

    /// The numbers of the folded text.
    fn all_numbers(&self, units: &Units) -> TextNumbers {
        let text = &self.folded;
        let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
        let mut view = FoldedText::default();
        view.read_folded(self.original);
        let breaks = view.number_text().breaks;
        let starts = text.char_indices().filter(|(at, _)| {
            let continues = digit(*at) && at.checked_sub(1).is_some_and(digit);
            !continues || u32::try_from(*at).is_ok_and(|at| breaks.contains(&at))
        });
        let places: Vec<u32> = starts.filter_map(|(at, _)| u32::try_from(at).ok()).collect();
        let mut numbers = TextNumbers::default();
        numbers.scan(NumberText { text, breaks }, &places, units, || false);
        numbers
    }

    /// Keeps the ranges with a required word near them and no forbidden one.
    fn keep_near(&self, ranges: &mut Vec<Range<usize>>, nearby: &NearWords) {
        let (near, found) = self.near(nearby);
        let sentences = OnceCell::new();
        let around = Surroundings { text: &self.folded, found: &found, sentences: &sentences };
        ranges.retain(|range| near.holds(range, around));
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

    fn numbers(
        &self,
        wanted: &NumberWords,
        unless: SpeechActs,
        condition: Option<&Expr>,
        count: usize,
    ) -> PredicateHits {
        let text = &self.folded;
        let mut units = Units::default();
        let (near, found) = self.near(&wanted.near);
        let spec =
            NumberSpec { units: units.intern_all(folded(&wanted.unit)), near, optional: false };
        let numbers = self.all_numbers(&units);
        let sentences = OnceCell::new();
        let around = Surroundings { text, found: &found, sentences: &sentences };
        let mut captures: Vec<Capture<'_>> = spec.captures(&numbers, &units, around).collect();
        let readings = self.readings();
        let unmasked = &readings.unmasked;
        let (near, found) = near_words(unmasked.text(), &wanted.near);
        let odd_spec = NumberSpec { near, ..spec.clone() };
        let mut odd_numbers = TextNumbers::default();
        let number_text = NumberText { text: unmasked.text(), breaks: &[] };
        odd_numbers.scan(number_text, unmasked.numerals(), &units, || false);
        let sentences = OnceCell::new();
        let around = Surroundings { text: unmasked.text(), found: &found, sentences: &sentences };
        let mut odd: Vec<Capture<'_>> = Vec::new();
        for capture in odd_spec.captures(&odd_numbers, &units, around) {
            let Some(bytes) = unmasked.folded_bytes(&capture.bytes) else { continue };
            let known = captures.iter().find(|known| known.bytes.end > bytes.start);
            let same = known.is_some_and(|known| {
                known.bytes.start < bytes.end && known.value.total_cmp(&capture.value).is_eq()
            });
            let mut stated = vec![capture.bytes.clone()];
            keep_stated(unmasked.text(), &mut stated, unless, whole_number);
            let odd_number = unmasked.is_changed() && unmasked.is_odd(&capture.bytes);
            if odd_number && !same && !stated.is_empty() {
                odd.push(Capture { bytes, ..capture });
            }
        }
        captures.retain(|capture| {
            let mut stated = vec![capture.bytes.clone()];
            keep_stated(text, &mut stated, unless, whole_number);
            !stated.is_empty()
        });
        captures.append(&mut odd);
        let fits = captures.into_iter().filter(|capture| {
            condition.is_none_or(|expr| {
                expr.truth(ExprFacts::of(self.context).with_capture(capture)) == Truth::Yes
            })
        });
        let ranges: Vec<Range<usize>> = fits.map(|capture| capture.bytes).collect();
        self.hits(true, &ranges, count)
    }
}

/// Keeps the ranges to which none of `unless` applies.
/// Keeps the ranges to which none of `unless` applies. `number` returns the number that a range
/// captures.
fn keep_stated(
    text: &str,
    ranges: &mut Vec<Range<usize>>,
    unless: SpeechActs,
    number: impl Fn(&Range<usize>) -> Option<Range<usize>>,
) {
    if !unless.is_empty() {
        let index = SpeechIndex::new(text, &|| false);
        ranges.retain(|range| index.cue(text, range, unless, number(range).as_ref()).is_none());
    }
}

fn no_number(_: &Range<usize>) -> Option<Range<usize>> {
    None
}

fn whole_number(range: &Range<usize>) -> Option<Range<usize>> {
    Some(range.clone())
}

/// The hits of the words that must and must not be near, written plainly.
fn near_words(text: &str, nearby: &NearWords) -> (Near, LiteralHits) {
    let mut found = LiteralHits::default();
    found.reset(2);
    for (leaf, words) in [(0, &nearby.near), (1, &nearby.not_near)] {
        let words: Vec<String> = words.iter().map(|word| word.trim().to_owned()).collect();
        for word in folded_forms(&words) {
            occurrences_of(text, &word).for_each(|range| found.push(leaf, &range));
        }
    }
    let leaf = |words: &[String], leaf| (!words.is_empty()).then_some(leaf);
    let near =
        Near { one: leaf(&nearby.near, 0), none: leaf(&nearby.not_near, 1), within: nearby.within };
    (near, found)
}

/// The folded words, and those that are written together.
fn folded_forms(words: &[String]) -> Vec<String> {
    let folded: Vec<String> = words.iter().map(|word| normalise::fold(word)).collect();
    let joined: Vec<String> =
        folded.iter().filter_map(|word| normalise::joined_form(word)).collect();
    folded.into_iter().chain(joined).collect()
}

fn meet(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

fn folded(words: &[String]) -> Vec<String> {
    words.iter().map(|word| normalise::fold(word).trim().to_owned()).collect()
}

/// Every occurrence of `word`, including overlapping ones.
fn occurrences_of<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
    let starts = text.char_indices().map(|(at, _)| at);
    starts
        .filter(move |at| text.get(*at..).is_some_and(|rest| rest.starts_with(word)))
        .map(|at| at..at + word.len())
}
