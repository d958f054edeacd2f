//! A folded text as its writer would have written it without a disguise, for patterns and numbers:
//! markup is removed, single letters are joined, and marks within words are dropped.
//!
//! The loose reading joins words too, which suits a search for known words. Patterns need the
//! spaces between words, so this reading keeps them. A match in it counts only if part of it was
//! written oddly; all other matches are found in the folded text.

use std::ops::Range;

use super::digit_words::DigitWord;
use super::spelling::{CharRole, GapKind, Spelling};

/// A text without disguise and its map to the folded text.
#[derive(Debug, Default)]
pub(crate) struct UnmaskedText {
    text: String,
    /// The bytes of the folded text that each byte of `text` came from.
    from: Vec<[u32; 2]>,
    oddities: Vec<Trace>,
    /// Set if the text differs from the folded one.
    is_changed: bool,
    /// The bytes at which a number may begin, ascending.
    numerals: Vec<u32>,
}

/// The trace of a disguise at a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    None,
    /// A space between ideographs before it was dropped, which may stand for a comma.
    Space,
    /// A mark before it was dropped or replaced.
    Gap,
    /// It stands for what was written.
    Changed,
}

/// The reading of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GapReading {
    Keep,
    Drop,
    /// It is dropped as a space between ideographs.
    DropSpace,
    /// It is read as one space.
    Space,
}

impl UnmaskedText {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) const fn is_changed(&self) -> bool {
        self.is_changed
    }

    pub(crate) fn numerals(&self) -> &[u32] {
        &self.numerals
    }

    /// The bytes of the folded text that `bytes` came from.
    pub(crate) fn folded_bytes(&self, bytes: &Range<usize>) -> Option<Range<usize>> {
        let start = self.from.get(bytes.start)?[0] as usize;
        let end = self.from.get(bytes.end.checked_sub(1)?)?[1] as usize;
        Some(start..end)
    }

    /// Returns true if a disguise was removed within `bytes`.
    pub(crate) fn is_odd(&self, bytes: &Range<usize>) -> bool {
        let Some(within) = self.oddities.get(bytes.clone()) else { return false };
        let first = self.text.get(bytes.start..).and_then(|rest| rest.chars().next());
        let width = first.map_or(0, char::len_utf8);
        within.first() == Some(&Trace::Changed)
            || within.iter().skip(width).any(|trace| *trace != Trace::None)
    }

    /// Returns true if more than spaces between ideographs was removed within `bytes`. A short word
    /// may come about by chance where two words meet at a space.
    pub(crate) fn is_certain(&self, bytes: &Range<usize>) -> bool {
        let within = self.oddities.get(bytes.clone()).unwrap_or_default();
        let first = self.text.get(bytes.start..).and_then(|rest| rest.chars().next());
        let width = first.map_or(0, char::len_utf8);
        within.iter().skip(width).any(|trace| matches!(trace, Trace::Gap | Trace::Changed))
            || within.first() == Some(&Trace::Changed)
    }

    /// Clears the text and makes it equal to no text.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.from.clear();
        self.oddities.clear();
        self.numerals.clear();
        self.is_changed = false;
    }

    /// Replaces the contents by the reading of a text with these words of digits.
    pub(super) fn read(&mut self, spelling: &Spelling, digits: &[DigitWord]) {
        self.clear();
        let (mut at, mut trace) = (0, Trace::None);
        let mut digits = digits.iter().peekable();
        while let Some(piece) = spelling.pieces.get(at) {
            if let Some(word) = digits.next_if(|word| word.pieces.start == at) {
                let last = spelling.pieces.get(word.pieces.end.saturating_sub(1)).unwrap_or(piece);
                for _ in 0..word.count {
                    self.push(word.digit, [piece.from[0], last.from[1]], Trace::Changed);
                }
                trace = Trace::None;
                at = word.pieces.end;
                continue;
            }
            if piece.after_markup {
                trace = Trace::Gap;
            }
            if spelling.role(at) == Some(CharRole::Gap)
                && let Some(gap) = spelling.gaps.get(at)
            {
                let reading = read_gap(spelling, gap);
                match reading {
                    GapReading::Keep => {
                        for piece in spelling.pieces.get(gap.clone()).unwrap_or_default() {
                            let trace = if piece.after_markup {
                                Trace::Gap
                            } else {
                                std::mem::replace(&mut trace, Trace::None)
                            };
                            let trace = if piece.decoded { Trace::Changed } else { trace };
                            self.push(piece.c, piece.from, trace);
                        }
                    }
                    GapReading::Drop => trace = Trace::Gap,
                    GapReading::DropSpace if trace == Trace::None => trace = Trace::Space,
                    GapReading::DropSpace => {}
                    GapReading::Space => {
                        self.push(' ', piece.from, Trace::Changed);
                    }
                }
                at = gap.end;
                continue;
            }
            let read = spelling.leet.get(at).copied().flatten();
            let changed = read.is_some() || piece.decoded;
            let own = if changed { Trace::Changed } else { trace };
            trace = Trace::None;
            self.push(read.unwrap_or(piece.c), piece.from, own);
            at += 1;
        }
    }

    fn push(&mut self, c: char, from: [u32; 2], trace: Trace) {
        let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
        let opens =
            if c.is_ascii_digit() { !digit(self.text.as_bytes().last()) } else { !c.is_ascii() };
        if opens {
            self.numerals.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        }
        self.text.push(c);
        self.from.resize(self.text.len(), from);
        self.oddities.resize(self.text.len(), trace);
        self.is_changed |= trace != Trace::None;
    }
}

/// Decides how a gap is read, by the characters around it.
fn read_gap(spelling: &Spelling, gap: &Range<usize>) -> GapReading {
    use GapReading::{Drop, Keep, Space};
    let (Some(before), after) = (gap.start.checked_sub(1), gap.end) else { return Keep };
    let (Some(left), Some(right)) = (spelling.role(before), spelling.role(after)) else {
        return Keep;
    };
    if spelling.is_single(before) && spelling.is_single(after) {
        return Drop;
    }
    let (wide, kind) = (gap.len(), spelling.gap_kind(gap));
    let digit = |at: usize| spelling.c(at).is_some_and(|c| c.is_ascii_digit());
    let drop_if = |drops: bool| if drops { Drop } else { Keep };
    if digit(before) || digit(after) {
        let both = digit(before) && digit(after);
        return drop_if(wide <= 4 && is_emphasis(spelling, gap, both));
    }
    match (left, right) {
        (CharRole::Word, CharRole::Word) => match kind {
            GapKind::LineBreak if wide <= 2 => Space,
            GapKind::Strange if wide <= 5 && spelling.is_emphasised_space(gap) => Space,
            GapKind::Strange if wide <= 3 && !spelling.has_space(gap) => Drop,
            GapKind::Dots if wide == 1 => Drop,
            GapKind::Punctuation if wide == 1 => Space,
            _ => Keep,
        },
        (CharRole::Ideograph, CharRole::Ideograph) => match kind {
            GapKind::Space | GapKind::LineBreak if wide <= 2 => GapReading::DropSpace,
            GapKind::Space | GapKind::LineBreak => Keep,
            GapKind::Dots | GapKind::Strange => drop_if(wide <= 3),
            GapKind::Punctuation => {
                let ideograph = |at: Option<usize>| {
                    at.and_then(|at| spelling.role(at)) == Some(CharRole::Ideograph)
                };
                let alone = !ideograph(before.checked_sub(1)) && !ideograph(Some(after + 1));
                // The same punctuation on both sides of one ideograph: 目，标，价.
                let mark = spelling.c(gap.start);
                let repeated = [before.checked_sub(1), Some(after + 1)]
                    .into_iter()
                    .flatten()
                    .any(|at| spelling.c(at) == mark);
                drop_if(wide == 1 && (alone || repeated) || wide == 2 && alone)
            }
        },
        (CharRole::Ideograph, CharRole::Word) | (CharRole::Word, CharRole::Ideograph) => {
            drop_if(kind == GapKind::Strange && wide <= 2 && !spelling.has_space(gap))
        }
        _ => Keep,
    }
}

/// Returns true if a gap beside a digit is emphasis of Markdown or emoji, which write no amount.
/// Between two digits one `*` multiplies.
fn is_emphasis(spelling: &Spelling, gap: &Range<usize>, both: bool) -> bool {
    let pieces = spelling.pieces.get(gap.clone()).unwrap_or_default();
    let emoji =
        |c: char| !c.is_ascii() && !super::spelling::is_punctuation(c) && !"·×÷−≈±–—→".contains(c);
    let mark = |c: char| matches!(c, '*' | '_' | '`') || emoji(c);
    let all = pieces.iter().all(|piece| mark(piece.c));
    all && (!both || pieces.len() > 1 || pieces.iter().any(|piece| emoji(piece.c)))
}
