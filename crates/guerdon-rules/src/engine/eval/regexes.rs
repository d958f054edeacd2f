//! Runs a regex on the readings of a text: folded, without disguise, and with numbers in digits.

use std::ops::Range;

use super::outcome::MatchOutcome;
use super::scope::{TextInScope, TurnView};
use crate::engine::checks;
use crate::engine::compiled_rule::RegexMatcher;
use crate::engine::expr::{ExprFacts, Truth};
use crate::engine::scan::{Suppression, TextReading};

/// A match of a regex.
struct RegexMatch<'m> {
    /// The reading that its speech acts come from.
    reading: TextReading,
    /// The match, in bytes of that reading.
    place: Range<usize>,
    /// The match, in bytes of the folded or unfolded text.
    bytes: Range<usize>,
    /// The number that it captures: as written, and its bytes of the reading.
    value: Option<(&'m str, Range<usize>)>,
}

/// A regex on one text, and its outcome so far.
struct RegexRun<'r, 'a> {
    turn: &'r TurnView<'r, 'a>,
    matcher: &'r RegexMatcher,
    seen: &'r TextInScope<'r, 'a>,
    outcome: MatchOutcome,
    /// The bytes of all matches so far, if other readings follow.
    taken: Vec<Range<usize>>,
    /// The matches in the text with its numbers in digits: bytes there and in the folded text.
    figured: Vec<(Range<usize>, Range<usize>)>,
}

impl<'a> TurnView<'_, 'a> {
    pub(super) fn regex(&self, matcher: &RegexMatcher, seen: &TextInScope<'_, 'a>) -> MatchOutcome {
        let outcome = MatchOutcome::no();
        let (taken, figured) = (Vec::new(), Vec::new());
        let mut run = RegexRun { turn: self, matcher, seen, outcome, taken, figured };
        if run.reads_figures() {
            run.find_figured();
        }
        run.plain();
        if matcher.fold {
            run.unmasked();
            run.add_figured();
        }
        run.outcome.at_least(matcher.count)
    }
}

impl RegexRun<'_, '_> {
    /// Searches the folded or unfolded text.
    fn plain(&mut self) {
        let RegexMatcher { pattern, fold, near, .. } = self.matcher;
        let (seen, scan) = (self.seen, self.seen.text.scan());
        let around = seen.text.surroundings(*fold);
        let more = *fold && (scan.unmasked().is_some() || !self.figured.is_empty());
        pattern.find(around.text, around.found, |range| {
            if seen.text.is_over() || !near.holds(&range, around) {
                return;
            }
            if !self.keeps_checksum(around.text, &range) {
                return;
            }
            if !self.figured.is_empty() && self.is_part_of_number(&range) {
                return;
            }
            if more {
                self.taken.push(range.clone());
            }
            let value = self.value(around.text, &range);
            let (place, bytes) = (range.clone(), range);
            self.add(RegexMatch { reading: TextReading::Folded, place, bytes, value });
        });
    }

    /// Returns true if the digits of the match at `bytes` of `text` keep the rule's checksum.
    fn keeps_checksum(&self, text: &str, bytes: &Range<usize>) -> bool {
        let found = text.get(bytes.clone()).unwrap_or_default();
        self.matcher.checksum.is_none_or(|checksum| checks::keeps_checksum(checksum, found))
    }

    /// Returns true if a match captures a part of a number (the 2 of `1.2万`) that the text with its
    /// numbers in digits shows whole in a match.
    fn is_part_of_number(&self, range: &Range<usize>) -> bool {
        let text = self.seen.text;
        let value = self.matcher.pattern.value(text.view(true), range);
        let whole = |(_, bytes): &(Range<usize>, Range<usize>)| {
            bytes.start < range.end && range.start < bytes.end
        };
        value.is_some_and(|value| text.scan().figured.is_part(&value))
            && self.figured.get(self.figured_from(range.start)).is_some_and(whole)
    }

    /// The index of the first match with numbers in digits that ends behind `byte`.
    fn figured_from(&self, byte: usize) -> usize {
        self.figured.partition_point(|(_, bytes)| bytes.end <= byte)
    }

    /// Searches the text without disguise, if the text is in disguise.
    fn unmasked(&mut self) {
        let RegexMatcher { pattern, near, .. } = self.matcher;
        let seen = self.seen;
        let Some((text, around)) = seen.text.unmasked() else { return };
        let mut known = std::mem::take(&mut self.taken);
        let mut disguised = false;
        pattern.find(around.text, around.found, |range| {
            if seen.text.is_over() || !text.is_odd(&range) || !near.holds(&range, around) {
                return;
            }
            if !self.keeps_checksum(around.text, &range) {
                return;
            }
            let Some(bytes) = text.folded_bytes(&range).filter(|bytes| !overlaps(&known, bytes))
            else {
                return;
            };
            disguised = true;
            if !self.figured.is_empty() {
                self.taken.push(bytes.clone());
            }
            let value = self.value(around.text, &range);
            self.add(RegexMatch { reading: TextReading::Unmasked, place: range, bytes, value });
        });
        self.outcome.disguised |= disguised && self.outcome.yes;
        known.append(&mut self.taken);
        known.sort_by_key(|bytes| (bytes.start, bytes.end));
        self.taken = known;
    }

    /// Returns true if the pattern also runs on the text with its numbers in digits.
    fn reads_figures(&self) -> bool {
        let RegexMatcher { pattern, fold, .. } = self.matcher;
        *fold && pattern.captures && self.seen.text.scan().figured.is_changed()
    }

    /// Searches the text with its numbers in digits. The words near a match and its speech acts are
    /// those of the folded text.
    fn find_figured(&mut self) {
        let RegexMatcher { pattern, near, .. } = self.matcher;
        let (seen, scan) = (self.seen, self.seen.text.scan());
        let (figured, around) = (&scan.figured, seen.text.surroundings(true));
        pattern.find(figured.text(), &scan.figured_found, |range| {
            let is_kept = self.keeps_checksum(figured.text(), &range);
            if seen.text.is_over() || !figured.is_figured(&range) || !is_kept {
                return;
            }
            if let Some(bytes) = figured.folded_bytes(&range)
                && near.holds(&bytes, around)
            {
                self.figured.push((range, bytes));
            }
        });
    }

    /// Adds the matches with numbers in digits that no other reading shows.
    fn add_figured(&mut self) {
        let figured = &self.seen.text.scan().figured;
        for (range, bytes) in std::mem::take(&mut self.figured) {
            if overlaps(&self.taken, &bytes) {
                continue;
            }
            let value = self
                .value(figured.text(), &range)
                .and_then(|(written, bytes)| Some((written, figured.folded_bytes(&bytes)?)));
            let (reading, place) = (TextReading::Folded, bytes.clone());
            self.add(RegexMatch { reading, place, bytes, value });
        }
    }

    /// The number that the match at `bytes` of `text` captures, if there is a condition on it.
    fn value<'t>(&self, text: &'t str, bytes: &Range<usize>) -> Option<(&'t str, Range<usize>)> {
        self.matcher.condition.as_ref()?;
        let value = self.matcher.pattern.value(text, bytes)?;
        Some((text.get(value.clone())?, value))
    }

    /// Adds a match if its number fits and its words are meant.
    fn add(&mut self, found: RegexMatch<'_>) {
        let RegexMatcher { fold, unless, condition, .. } = self.matcher;
        let RegexMatch { reading, place, bytes, value } = found;
        let seen = self.seen;
        let why = |number: Option<&Range<usize>>| -> Option<Suppression> {
            seen.text.suppression(reading, &place, *unless, number)
        };
        let Some(condition) = condition else {
            return match why(None) {
                Some(why) => seen.suppress(&mut self.outcome, &bytes, why),
                None => seen.add(&mut self.outcome, *fold, &bytes, None),
            };
        };
        let Some((written, number)) = value else { return };
        let written: String = written.chars().filter(|c| *c != ',').collect();
        let Ok(value) = written.parse::<f64>() else { return };
        match condition.truth(ExprFacts::of(self.turn.context()).with_value(value)) {
            Truth::No => {}
            Truth::Yes => match why(Some(&number)) {
                Some(why) => seen.suppress(&mut self.outcome, &bytes, why),
                None => seen.add(&mut self.outcome, *fold, &bytes, Some(value.to_string())),
            },
            Truth::Unknown(fact) => {
                if why(Some(&number)).is_none() {
                    self.outcome.add_unknown(fact);
                }
            }
        }
    }
}

/// Returns true if `bytes` share a byte with one of `ranges`, which are ascending.
fn overlaps(ranges: &[Range<usize>], bytes: &Range<usize>) -> bool {
    let next = ranges.partition_point(|range| range.end <= bytes.start);
    ranges.get(next).is_some_and(|range| range.start < bytes.end)
}
