//! The state of reading a text clause by clause. Cues are found by the files of each language, which
//! report them here.

use super::parts::{Boundary, Clause, ClauseCues, CueBytes, Denial, ReportedWords};
use crate::text::steps;
use crate::text::tokens::is_cjk;

/// A word, an ideograph or a mark.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClauseToken {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) kind: TokenKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A run of letters, digits and apostrophes.
    Word,
    Ideograph,
    Mark(char),
}

/// A negator while its clause is read.
#[derive(Debug, Clone, Copy)]
struct OpenNegator {
    at: CueBytes,
    token: usize,
}

/// Reads a text clause by clause.
pub(super) struct ClauseReader<'t> {
    pub(super) text: &'t str,
    pub(super) tokens: Vec<ClauseToken>,
    pub(super) found: ClauseCues,
    /// The clause that is being read.
    pub(super) open: Clause,
    /// The index of the first token of the open clause.
    pub(super) opens_at: usize,
    /// The index of the first clause of the sentence.
    pub(super) sentence: usize,
    /// The clauses of the last sentence, if it asks.
    pub(super) asked: std::ops::Range<usize>,
    /// The last negator of the open clause, which a second one may cancel.
    negator: Option<OpenNegator>,
    /// The cue of reported words that follow, and the byte at which they begin.
    pub(super) saying: Option<(CueBytes, u32)>,
}

/// A second negator cancels the first one within this many tokens: `cannot refuse`.
const DOUBLE_NEGATION: usize = 3;

pub(super) const fn clause(start: u32, after: Boundary) -> Clause {
    Clause {
        bytes: [start, start],
        after,
        question: None,
        consent: None,
        condition: None,
        past: None,
        states_condition: None,
        refused: None,
    }
}

impl<'t> ClauseReader<'t> {
    pub(super) fn new(text: &'t str, is_over: &dyn Fn() -> bool) -> Self {
        Self {
            text,
            tokens: tokens(text, is_over),
            found: ClauseCues::default(),
            open: clause(0, Boundary::Sentence),
            opens_at: 0,
            sentence: 0,
            asked: 0..0,
            negator: None,
            saying: None,
        }
    }

    /// Ends the open clause before token `at`, which begins at byte `end`, and opens the next one at
    /// byte `next` with token `first`.
    pub(super) fn close(
        &mut self,
        at: usize,
        [end, next]: CueBytes,
        boundary: Boundary,
        first: usize,
    ) {
        if self.opens_at < at {
            self.open.bytes[1] = end;
            self.settle_negator();
            self.end_report(end, boundary);
            self.found.clauses.push(self.open);
            self.open = clause(next, boundary);
        } else {
            // Nothing stands between two boundaries; the stronger one counts.
            let after = self.open.after.max(boundary);
            self.open = Clause { bytes: [next, next], after, ..self.open };
        }
        self.opens_at = first;
    }

    /// Opens a clause at the word at `at`, which begins it.
    pub(super) fn open_at(&mut self, at: usize, boundary: Boundary) {
        if let Some(start) = self.tokens.get(at).map(|token| token.start) {
            self.close(at, [start, start], boundary, at);
        }
    }

    /// Opens a clause after a boundary of `count` words at `at`.
    pub(super) fn open_after(&mut self, at: usize, count: usize, boundary: Boundary) {
        let place = self.place(at, count);
        self.close(at, place, boundary, at + count);
    }

    /// The word at a token, or nothing if it is no word.
    pub(super) fn word(&self, at: usize) -> &'t str {
        match self.tokens.get(at) {
            Some(ClauseToken { start, end, kind: TokenKind::Word }) => {
                self.text.get(*start as usize..*end as usize).unwrap_or_default()
            }
            _ => "",
        }
    }

    /// The bytes of `count` tokens from `at` on.
    pub(super) fn place(&self, at: usize, count: usize) -> CueBytes {
        let start = self.tokens.get(at).map_or(0, |token| token.start);
        let last = (at + count.max(1) - 1).min(self.tokens.len().saturating_sub(1));
        [start, self.tokens.get(last).map_or(start, |token| token.end)]
    }

    /// The text of the open clause before a byte, at most `bytes` bytes of it.
    pub(super) fn clause_before(&self, byte: u32, bytes: usize) -> &'t str {
        let end = byte as usize;
        let mut start = (self.open.bytes[0] as usize).max(end.saturating_sub(bytes)).min(end);
        while !self.text.is_char_boundary(start) {
            start += 1;
        }
        self.text.get(start..end).unwrap_or_default()
    }

    /// Adds a negator. Returns false if it cancels the one before it.
    pub(super) fn negate(&mut self, at: usize, count: usize, is_coordinated: bool) -> bool {
        let place = self.place(at, count);
        if let Some(first) = self.negator.take() {
            let close = at.saturating_sub(first.token) <= DOUBLE_NEGATION + 1;
            if close && !is_coordinated {
                return false;
            }
            self.found.negators.push(first.at);
        }
        self.negator = Some(OpenNegator { at: place, token: at + count.max(1) - 1 });
        true
    }

    /// The number of tokens since the last negator of the clause.
    pub(super) fn since_negator(&self, at: usize) -> Option<std::ops::Range<usize>> {
        self.negator.map(|negator| negator.token + 1..at)
    }

    fn settle_negator(&mut self) {
        self.found.negators.extend(self.negator.take().map(|negator| negator.at));
    }

    pub(super) fn deny(&mut self, at: usize, count: usize, numbers: bool) {
        let place = self.place(at, count);
        self.found.denials.push(Denial { at: place, numbers });
    }

    pub(super) fn ask(&mut self, at: usize, count: usize) {
        let place = self.place(at, count);
        self.open.question.get_or_insert(place);
    }

    pub(super) fn condition(&mut self, at: usize, count: usize) {
        let place = self.place(at, count);
        self.open.states_condition.get_or_insert(place);
    }

    pub(super) fn past(&mut self, at: usize, count: usize) {
        let place = self.place(at, count);
        self.open.past.get_or_insert(place);
    }

    /// Another speaker's words follow.
    pub(super) fn say(&mut self, at: usize, count: usize) {
        let place = self.place(at, count);
        if self.saying.is_none() {
            self.saying = Some((place, place[1]));
        }
    }

    /// The clause is about the subject at `at`, which is another person or place.
    pub(super) fn attribute(&mut self, at: usize, count: usize) {
        let place = self.place(at, count);
        if self.saying.is_none() {
            self.saying = Some((place, place[0]));
        }
    }

    /// Ends reported words at the end of a clause. A cue at its very end reports the next clause:
    /// `he said: 480 works`.
    fn end_report(&mut self, end: u32, boundary: Boundary) {
        let Some((cue, start)) = self.saying else { return };
        let words = self.text.get(start as usize..end as usize).unwrap_or_default();
        if boundary == Boundary::Comma && words.trim().is_empty() {
            self.saying = Some((cue, end));
            return;
        }
        if boundary == Boundary::Joint || boundary == Boundary::Condition {
            return;
        }
        self.found.reports.push(ReportedWords { words: [start, end], cue });
        self.saying = None;
    }

    pub(super) const fn reports(&mut self) -> &mut Vec<ReportedWords> {
        &mut self.found.reports
    }
}

pub(super) fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn tokens(text: &str, is_over: &dyn Fn() -> bool) -> Vec<ClauseToken> {
    let mut tokens: Vec<ClauseToken> = Vec::with_capacity(text.len() / 3);
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        steps::add(1);
        if is_over() {
            break;
        }
        let mut end = start + c.len_utf8();
        let kind = if is_cjk(c) {
            TokenKind::Ideograph
        } else if c.is_alphanumeric() {
            while let Some((at, next)) = chars.peek().copied() {
                let inside = next == '\''
                    && text
                        .get(at + 1..)
                        .and_then(|rest| rest.chars().next())
                        .is_some_and(char::is_alphanumeric);
                if is_cjk(next) || !(next.is_alphanumeric() || inside) {
                    break;
                }
                end = at + next.len_utf8();
                chars.next();
            }
            TokenKind::Word
        } else if c.is_whitespace() && c != '\n' {
            continue;
        } else {
            TokenKind::Mark(c)
        };
        tokens.push(ClauseToken { start: place(start), end: place(end), kind });
    }
    tokens
}
