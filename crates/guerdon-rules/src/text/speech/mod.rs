//! Speech acts: how the words of a text are meant. A rule can ignore a match that is negated, asked,
//! reported, conditional or about the past (`unless:`).
//!
//! The index is made from the clauses of the folded text, in one pass without a model. Cues (`never`,
//! `无法`, `if`, `吗`) are words of closed classes, so the same text always gets the same answer, and
//! a suppressed match names its cue. A cue within the match itself is the rule author's word and
//! suppresses nothing.
//!
//! | File | Contents |
//! |---|---|
//! | `acts.rs` | The acts, and sets of them |
//! | `parts.rs` | Clauses and the cues in them |
//! | `reader.rs` | The state of reading a text |
//! | `clauses.rs` | The clauses of a text with their cues |
//! | `spread.rs` | Questions and conditions beyond the clause of their cue |
//! | `quotes.rs` | Quotation marks and reported words |
//! | `possession.rs` | What belongs to the addressee |
//! | `english.rs`, `english_words.rs` | English cues |
//! | `chinese.rs`, `chinese_words.rs`, `chinese_negations.rs`, `chinese_refusals.rs` | Chinese cues |

mod acts;
mod chinese;
mod chinese_negations;
mod chinese_refusals;
mod chinese_words;
mod clauses;
mod english;
mod english_words;
#[cfg(test)]
mod generated;
mod parts;
mod possession;
mod quotes;
mod reader;
mod spread;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub(crate) use acts::{SpeechAct, SpeechActs};
use parts::{Boundary, Clause, ClauseCues, CueBytes};

/// The clauses of a text and the cues in them.
#[derive(Debug, Default)]
pub(crate) struct SpeechIndex(ClauseCues);

/// The cue that suppresses a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpeechCue {
    pub(crate) act: SpeechAct,
    /// The cue, in bytes of the text.
    pub(crate) bytes: Range<usize>,
}

/// The greatest distance between a subject and the predicate that denies it, in bytes.
const DENIAL_BYTES: usize = 48;

/// Returns true if a folded word is a negator.
pub(crate) fn is_negator(word: &str) -> bool {
    word.ends_with("n't")
        || english_words::NEGATORS.contains(&word)
        || chinese_negations::NEGATORS.contains(&word)
}

impl SpeechIndex {
    /// Reads the clauses of a folded text. Asks `is_over` at each step, and stops if it returns
    /// true.
    pub(crate) fn new(text: &str, is_over: &dyn Fn() -> bool) -> Self {
        Self(clauses::read(text, is_over))
    }

    /// The first of `acts` that applies to the match at `bytes`, with its cue. A question for consent
    /// (`480元，可以吗？`) applies to the number that it captures as well, and so does a negation
    /// within the match that stands in a later clause, with the number.
    pub(crate) fn cue(
        &self,
        text: &str,
        bytes: &Range<usize>,
        acts: SpeechActs,
        number: Option<&Range<usize>>,
    ) -> Option<SpeechCue> {
        let is_number = number.is_some();
        // A match may begin with the mark that ends the clause before: `(?:^|[.!?] ?)`.
        let marks = |c: char| !c.is_alphanumeric() && !matches!(c, '$' | '¥');
        let words = text.get(bytes.clone()).map_or("", |words| words.trim_start_matches(marks));
        let start = if words.is_empty() { bytes.start } else { bytes.end - words.len() };
        let first = self.clause(start)?;
        let last = self.clause(bytes.end.saturating_sub(1)).unwrap_or(first);
        SpeechAct::ALL.into_iter().filter(|act| acts.has(*act)).find_map(|act| {
            let place = match act {
                SpeechAct::Negated => {
                    let of_number = || number.and_then(|number| self.later_negator(first, number));
                    let denied = || self.denial(text, last, bytes, is_number);
                    let refused = || self.refusal(last, number);
                    let own = self.negator(first, bytes).or_else(of_number);
                    own.or_else(denied).or_else(refused)
                }
                SpeechAct::Question => last.question.or_else(|| last.consent.filter(|_| is_number)),
                SpeechAct::Reported => self.report(text, bytes, number),
                SpeechAct::Conditional => first.condition.or(last.condition),
                SpeechAct::Past => first.past.or_else(|| self.clause(number?.start)?.past),
                SpeechAct::Yours if is_number => None,
                SpeechAct::Yours => self.possession(text, first, start),
            }?;
            let bytes = place[0] as usize..place[1] as usize;
            Some(SpeechCue { act, bytes })
        })
    }

    /// The cue that a match at `start`, in the clause `first`, belongs to the addressee. It may stand
    /// before a comma: `the address you gave us, a@b.cn`.
    fn possession(&self, text: &str, first: &Clause, start: usize) -> Option<CueBytes> {
        let place = |opens: usize, of: Range<usize>| {
            [reader::place(opens + of.start), reader::place(opens + of.end)]
        };
        let opens = first.bytes[0] as usize;
        let own = text.get(opens..start)?;
        if let Some(of) = possession::find(own) {
            return Some(place(opens, of));
        }
        let is_first = own.trim().is_empty() && first.after == Boundary::Comma;
        let before = self.clause(opens.checked_sub(1)?).filter(|_| is_first)?.bytes[0] as usize;
        Some(place(before, possession::find_given(text.get(before..start)?)?))
    }

    /// The clause at a byte.
    fn clause(&self, byte: usize) -> Option<&Clause> {
        let after = self.0.clauses.partition_point(|clause| clause.bytes[0] as usize <= byte);
        self.0.clauses.get(after.saturating_sub(1))
    }

    fn negator(&self, clause: &Clause, bytes: &Range<usize>) -> Option<CueBytes> {
        // The match may begin within the negator: `敢打包票` in `不敢打包票`.
        let after = self.0.negators.partition_point(|at| (at[0] as usize) < bytes.start);
        let last = self.0.negators.get(after.checked_sub(1)?)?;
        (last[0] >= clause.bytes[0]).then_some(*last)
    }

    /// The later clause that takes a match back; `last` is the clause in which the match ends.
    fn refusal(&self, last: &Clause, number: Option<&Range<usize>>) -> Option<CueBytes> {
        let clause = number.and_then(|number| self.clause(number.start)).unwrap_or(last);
        clause.refused.filter(|refused| number.is_some() || !refused.numbers).map(|one| one.at)
    }

    /// The negator of a number that stands in another clause than the start of its match.
    fn later_negator(&self, first: &Clause, number: &Range<usize>) -> Option<CueBytes> {
        let clause = self.clause(number.start)?;
        (clause.bytes[0] > first.bytes[0]).then(|| self.negator(clause, number))?
    }

    fn denial(
        &self,
        text: &str,
        clause: &Clause,
        bytes: &Range<usize>,
        is_number: bool,
    ) -> Option<CueBytes> {
        let after = self.0.denials.partition_point(|denial| (denial.at[0] as usize) < bytes.end);
        let denial = self.0.denials.get(after)?;
        let start = denial.at[0] as usize;
        if denial.at[0] >= clause.bytes[1]
            || start - bytes.end > DENIAL_BYTES
            || (denial.numbers && !is_number)
        {
            return None;
        }
        // In `we guarantee you will not regret it`, another subject is denied.
        let between = text.get(bytes.end..start).unwrap_or_default();
        (is_number && !between.is_ascii() || !english::has_subject(between)).then_some(denial.at)
    }

    fn report(
        &self,
        text: &str,
        bytes: &Range<usize>,
        number: Option<&Range<usize>>,
    ) -> Option<CueBytes> {
        // A match of a number may begin with the cue: `说480元可以`.
        let from = number.map_or(bytes.start, |number| number.start);
        let after = self.0.reports.partition_point(|report| report.words[0] as usize <= from);
        let report = self.0.reports.get(after.checked_sub(1)?)?;
        // A match may include the mark that ends the report, and a cue within it is meant.
        let marks = |c: char| !c.is_alphanumeric();
        let end =
            text.get(..bytes.end).map_or(bytes.end, |text| text.trim_end_matches(marks).len());
        let [start, after] = report.cue.map(|at| at as usize);
        let is_within = number.is_none() && bytes.start <= start && after <= bytes.end;
        (end <= report.words[1] as usize && !is_within).then_some(report.cue)
    }
}
