//! The characters of a folded text with their roles in a disguise: letters among single letters,
//! digits that stand for letters, and gaps between the characters of a word.
//!
//! HTML entities are decoded and tags are removed first, so that all later steps see the text that
//! a browser would show.

use std::ops::Range;

use super::characters;
use crate::text::steps;

/// A character of the text without markup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpelledChar {
    pub(super) c: char,
    /// The bytes of the folded text that it came from.
    pub(super) from: [u32; 2],
    /// Set if it was written as an entity.
    pub(super) decoded: bool,
    /// Set if markup was removed before it.
    pub(super) after_markup: bool,
}

/// The role of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CharRole {
    /// An ASCII letter or digit, or a sign that stands for a letter.
    Word,
    Ideograph,
    /// A letter of another script.
    Letter,
    Gap,
    /// An apostrophe, which belongs to the word around it.
    Quote,
}

/// The kind of marks in a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GapKind {
    Space,
    LineBreak,
    /// Punctuation of normal writing.
    Punctuation,
    /// Full stops and slashes.
    Dots,
    /// Marks that do not occur between the letters of a normal word.
    Strange,
}

/// The pieces of a text and their roles.
#[derive(Debug, Default)]
pub(super) struct Spelling {
    pub(super) pieces: Vec<SpelledChar>,
    pub(super) roles: Vec<CharRole>,
    /// Set for a letter among single letters: `w o r k`.
    pub(super) singles: Vec<bool>,
    /// The letter that a digit or sign stands for.
    pub(super) leet: Vec<Option<char>>,
    /// The run of gap characters that each piece is in; empty for other pieces.
    pub(super) gaps: Vec<Range<usize>>,
    /// Set if the text has punctuation. A space between ideographs is then no comma or full stop.
    pub(super) punctuated: bool,
}

impl Spelling {
    pub(super) fn read(&mut self, folded: &str) {
        self.pieces.clear();
        pieces(folded, &mut self.pieces);
        self.roles.clear();
        let roles = (0..self.pieces.len()).map(|at| role(&self.pieces, at));
        self.roles.extend(roles);
        self.punctuated =
            self.pieces.iter().any(|piece| matches!(piece.c, ',' | '、' | '。' | ';' | '!' | '?'));
        self.find_gaps();
        self.find_singles();
        self.find_leet();
    }

    pub(super) fn c(&self, at: usize) -> Option<char> {
        self.pieces.get(at).map(|piece| piece.c)
    }

    pub(super) fn role(&self, at: usize) -> Option<CharRole> {
        self.roles.get(at).copied()
    }

    pub(super) fn is_single(&self, at: usize) -> bool {
        self.singles.get(at).copied().unwrap_or_default()
    }

    /// The kind of the marks in `gap`, by its oddest mark.
    pub(super) fn gap_kind(&self, gap: &Range<usize>) -> GapKind {
        steps::add(gap.len());
        let mut kind = GapKind::Space;
        for piece in self.pieces.get(gap.clone()).unwrap_or_default() {
            let next = match piece.c {
                ' ' => GapKind::Space,
                '\n' => GapKind::LineBreak,
                c if is_punctuation(c) => GapKind::Punctuation,
                '.' | '/' => GapKind::Dots,
                _ => GapKind::Strange,
            };
            kind = kind.max(next);
        }
        kind
    }

    /// Returns true if a gap is one space beside emphasis of Markdown: `**deal** now`.
    pub(super) fn is_emphasised_space(&self, gap: &Range<usize>) -> bool {
        steps::add(gap.len());
        let pieces = self.pieces.get(gap.clone()).unwrap_or_default();
        let spaces = pieces.iter().filter(|piece| piece.c == ' ').count();
        let marks = pieces.iter().filter(|piece| matches!(piece.c, '*' | '_' | '~' | '`')).count();
        spaces == 1 && marks > 0 && spaces + marks == pieces.len()
    }

    /// Returns true if a gap has a space or a line break.
    pub(super) fn has_space(&self, gap: &Range<usize>) -> bool {
        steps::add(gap.len());
        let pieces = self.pieces.get(gap.clone()).unwrap_or_default();
        pieces.iter().any(|piece| matches!(piece.c, ' ' | '\n'))
    }

    /// Finds the runs of gap characters.
    fn find_gaps(&mut self) {
        self.gaps.clear();
        self.gaps.resize(self.pieces.len(), 0..0);
        let mut start = 0;
        let is_gap = |role: &CharRole| *role == CharRole::Gap;
        for run in self.roles.chunk_by(|a, b| is_gap(a) == is_gap(b)) {
            let end = start + run.len();
            steps::add(run.len());
            if let (true, Some(places)) =
                (run.first().is_some_and(is_gap), self.gaps.get_mut(start..end))
            {
                places.fill(start..end);
            }
            start = end;
        }
    }

    /// Marks the single letters in runs of at least three with short gaps between them.
    fn find_singles(&mut self) {
        self.singles.clear();
        self.singles.resize(self.pieces.len(), false);
        let word = |at: usize| self.role(at) == Some(CharRole::Word);
        let single = |at: usize| {
            self.role(at) == Some(CharRole::Word)
                && !word(at + 1)
                && !at.checked_sub(1).is_some_and(word)
        };
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.pieces.len() {
            let mut run = vec![];
            let mut next = at;
            while single(next) {
                run.push(next);
                let gap = self.gaps.get(next + 1).map_or(0, Range::len);
                if !(1..=MAX_SINGLE_GAP).contains(&gap) {
                    break;
                }
                next += 1 + gap;
            }
            let letters = run
                .iter()
                .filter(|at| self.c(**at).is_some_and(|c| c.is_ascii_alphabetic()))
                .count();
            at = run.last().map_or(at, |last| *last) + 1;
            if run.len() >= 3 && letters >= 2 {
                found.append(&mut run);
            }
        }
        for at in found {
            if let Some(flag) = self.singles.get_mut(at) {
                *flag = true;
            }
        }
    }

    /// Finds the letter that each digit or sign stands for.
    fn find_leet(&mut self) {
        self.leet.clear();
        self.leet.resize(self.pieces.len(), None);
        let mut start = 0;
        while start < self.pieces.len() {
            let rest = self.roles.iter().skip(start);
            let length = rest.take_while(|role| **role == CharRole::Word).count();
            let end = start + length;
            let token = self.pieces.get(start..end).unwrap_or_default();
            // Letters stand for themselves.
            if token.iter().all(|piece| piece.c.is_ascii_alphabetic()) {
                start = end + 1;
                continue;
            }
            let token: Vec<char> = token.iter().map(|piece| piece.c).collect();
            if length > 0 && (self.is_single(start) || is_leet(&token)) {
                for (at, c) in token.iter().enumerate() {
                    let beside = [at.checked_sub(1), Some(at + 1)];
                    let doubled = beside
                        .into_iter()
                        .flatten()
                        .any(|other| matches!(token.get(other), Some('1' | 'l')));
                    if let Some(place) = self.leet.get_mut(start + at) {
                        *place = letter(*c, doubled);
                    }
                }
            }
            start = end + 1;
        }
    }
}

/// The greatest length of a gap between single letters.
const MAX_SINGLE_GAP: usize = 3;

pub(super) const fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}')
}

/// Returns true for punctuation of normal writing.
pub(super) const fn is_punctuation(c: char) -> bool {
    matches!(
        c,
        ',' | ';'
            | ':'
            | '!'
            | '?'
            | '"'
            | '('
            | ')'
            | '['
            | ']'
            | '{'
            | '}'
            | '，'
            | '；'
            | '：'
            | '！'
            | '？'
            | '（'
            | '）'
            | '、'
            | '。'
            | '…'
            | '“'
            | '”'
            | '《'
            | '》'
            | '【'
            | '】'
            | '「'
            | '」'
    )
}

fn role(pieces: &[SpelledChar], at: usize) -> CharRole {
    let c = |at: Option<usize>| at.and_then(|at| pieces.get(at)).map(|piece| piece.c);
    let Some(this) = c(Some(at)) else { return CharRole::Gap };
    match this {
        'a'..='z' | '0'..='9' => return CharRole::Word,
        ' ' => return CharRole::Gap,
        _ if is_ideograph(this) => return CharRole::Ideograph,
        _ => {}
    }
    let letter = |c: Option<char>| {
        c.is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '@' | '$' | '€'))
    };
    let (before, after) = (c(at.checked_sub(1)), c(Some(at + 1)));
    match this {
        '@' | '$' => CharRole::Word,
        '!' | '+' if letter(before) && letter(after) => CharRole::Word,
        // `targe+`; `a+` and `18+` are grades and bounds.
        '+' if (1..=3).all(|back| letter(c(at.checked_sub(back))))
            && !after.is_some_and(char::is_alphanumeric) =>
        {
            CharRole::Word
        }
        '€' if letter(before) => CharRole::Word,
        '¥' | '£' | '€' | '%' => CharRole::Letter,
        '\'' => CharRole::Quote,
        c if c.is_alphanumeric() => CharRole::Letter,
        _ => CharRole::Gap,
    }
}

/// Returns true if a word is spelt with digits: mostly letters, with a digit before its end
/// (`room5` is a room).
fn is_leet(token: &[char]) -> bool {
    let letters = token.iter().filter(|c| c.is_ascii_alphabetic()).count();
    let digits = token.len() - letters;
    let body = token.iter().rposition(char::is_ascii_alphabetic).unwrap_or(0);
    let inner = token.iter().take(body).any(|c| !c.is_ascii_alphabetic())
        || token.last().is_some_and(|c| matches!(c, '€' | '$' | '@' | '+'))
        || token.ends_with(&['3', '3']);
    let leading = token.iter().take_while(|c| !c.is_ascii_alphabetic()).count();
    inner
        && letters >= 2
        && letters >= digits
        && (leading == 0 || (leading == 1 && letters >= 3))
        && token.iter().all(|c| c.is_ascii_alphabetic() || letter(*c, false).is_some())
}

/// The letter that a digit or sign stands for. A 1 beside another 1 or an l is an l.
const fn letter(c: char, doubled: bool) -> Option<char> {
    Some(match c {
        '0' => 'o',
        '1' if doubled => 'l',
        '1' | '!' => 'i',
        '2' => 'z',
        '3' | '€' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '6' | '9' => 'g',
        '7' | '+' => 't',
        '8' => 'b',
        _ => return None,
    })
}

/// The longest entity and the longest tag, in bytes.
const MAX_ENTITY: usize = 12;
const MAX_TAG: usize = 80;

/// Reads the characters of `folded` without markup.
fn pieces(folded: &str, pieces: &mut Vec<SpelledChar>) {
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let (mut at, mut after_markup) = (0, false);
    while let Some(c) = folded.get(at..).and_then(|rest| rest.chars().next()) {
        steps::add(1);
        let rest = folded.get(at..).unwrap_or_default();
        if c == '<'
            && let Some(length) = tag(rest)
        {
            at += length;
            after_markup = true;
            continue;
        }
        let entity = if c == '&' { entity(rest) } else { None };
        let (decoded, length) = entity.unwrap_or((c, c.len_utf8()));
        let from = [place(at), place(at + length)];
        let count = pieces.len();
        if entity.is_some() {
            let push = |c: char| pieces.push(SpelledChar { c, from, decoded: true, after_markup });
            if decoded.is_ascii() {
                std::iter::once(decoded.to_ascii_lowercase()).for_each(push);
            } else {
                characters::fold(decoded, push);
            }
        } else {
            pieces.push(SpelledChar { c, from, decoded: false, after_markup });
        }
        // An invisible character leaves a trace, as a tag does.
        after_markup = pieces.len() == count;
        at += length;
    }
}

/// The length of the tag or comment at the start of `rest`.
fn tag(rest: &str) -> Option<usize> {
    let inner = rest.get(1..)?;
    let name = inner.strip_prefix('/').unwrap_or(inner);
    let opens = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'!');
    let bytes = rest.bytes().skip(1).take(MAX_TAG).inspect(|_| steps::add(1));
    let end = bytes.into_iter().position(|b| matches!(b, b'>' | b'<' | b'\n'))? + 1;
    (opens && rest.as_bytes().get(end) == Some(&b'>')).then_some(end + 1)
}

/// The character of the HTML entity at the start of `rest`, and its length.
fn entity(rest: &str) -> Option<(char, usize)> {
    let bytes = rest.bytes().take(MAX_ENTITY).inspect(|_| steps::add(1));
    let end = bytes.into_iter().position(|b| b == b';')?;
    let name = rest.get(1..end)?;
    let number = name.strip_prefix('#').and_then(|digits| match digits.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    });
    let c = number.and_then(char::from_u32).or_else(|| named(name))?;
    Some((c, end + 1))
}

/// The characters of the entities that can hide in a word or stand for its marks.
fn named(name: &str) -> Option<char> {
    Some(match name {
        "nbsp" | "ensp" | "emsp" | "thinsp" => ' ',
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "shy" => '\u{ad}',
        "zwnj" => '\u{200c}',
        "zwj" => '\u{200d}',
        "lrm" => '\u{200e}',
        "rlm" => '\u{200f}',
        "middot" => '·',
        "bull" => '•',
        "hellip" => '…',
        "ndash" | "mdash" | "minus" => '-',
        "comma" => ',',
        "period" => '.',
        "excl" => '!',
        "commat" => '@',
        "lowbar" => '_',
        "ast" => '*',
        "yen" => '¥',
        "dollar" => '$',
        "euro" => '€',
        _ => return None,
    })
}
