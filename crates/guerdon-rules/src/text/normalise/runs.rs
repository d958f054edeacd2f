//! Runs of characters of one kind, and the detection of runs that look like a word in disguise.

use super::spelling::is_punctuation;

/// The kind of the characters in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum CharKind {
    /// Latin letters.
    Letters,
    /// Digits, and the signs that may replace letters: `@` and `$`.
    Digits,
    /// Ideographs.
    Ideographs,
    /// Marks that may separate letters to space them out.
    Separators,
    /// A line break.
    Breaks,
    /// Punctuation of normal writing.
    Punctuation,
    /// A full stop or a slash.
    Dots,
    /// Marks that do not occur between the letters of a normal word, but between digits.
    Joiners,
    /// Emphasis and symbols, which occur within no word and no number.
    Marks,
    #[default]
    Other,
}

/// The last three runs, newest first.
#[derive(Debug, Default)]
pub(super) struct RunTracker {
    kinds: [CharKind; 3],
    lengths: [usize; 3],
    /// The number of consecutive single letters so far, each separated from the previous one.
    singles: usize,
    /// The lengths of the runs of letters and of ideographs at the end of the text read so far.
    open: LongestRuns,
    pub(super) longest: LongestRuns,
}

/// Upper bounds of the lengths of runs of letters and of ideographs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LongestRuns {
    pub(crate) letters: usize,
    pub(crate) ideographs: usize,
}

impl RunTracker {
    /// Adds a character of the original that was folded to `length` characters; `last` is the kind
    /// of the last one. Returns the same as [`push`](Self::push).
    pub(super) fn push_expanded(&mut self, last: CharKind, length: usize) -> bool {
        let LongestRuns { letters, ideographs } = self.open;
        let suspicious = self.push(last, length);
        // The characters before the last may be of any kind, so each run may be `length` longer.
        self.extend_bounds(LongestRuns {
            letters: letters + length,
            ideographs: ideographs + length,
        });
        suspicious
    }

    fn extend_bounds(&mut self, open: LongestRuns) {
        self.open = open;
        self.longest.letters = self.longest.letters.max(open.letters);
        self.longest.ideographs = self.longest.ideographs.max(open.ideographs);
    }

    /// Adds a run. Returns true if the last three runs look like a word in disguise.
    pub(super) fn push(&mut self, kind: CharKind, length: usize) -> bool {
        use CharKind::{
            Breaks, Digits, Dots, Ideographs, Joiners, Letters, Marks, Other, Punctuation,
            Separators,
        };
        let is_gap =
            |kind| matches!(kind, Separators | Breaks | Punctuation | Dots | Joiners | Marks);
        if let ([last, ..], [gap, ..]) = (&mut self.kinds, &mut self.lengths)
            && (is_gap(kind) && is_gap(*last) || kind == Digits && *last == Digits)
        {
            // Marks next to each other are one gap of the oddest kind, and digits and signs are
            // one run.
            *gap += length;
            *last = (*last).max(kind);
            return false;
        }
        let extended =
            |wanted: CharKind, open: usize| if kind == wanted { open + length } else { 0 };
        self.extend_bounds(LongestRuns {
            letters: extended(Letters, self.open.letters),
            ideographs: extended(Ideographs, self.open.ideographs),
        });
        let [one, two, _] = self.kinds;
        let [gap, before, _] = self.lengths;
        let single = kind == Letters && length == 1;
        let continues = is_gap(one) && two == Letters && before == 1;
        match kind {
            Letters if !single => self.singles = 0,
            Letters => self.singles = if continues { self.singles + 1 } else { 1 },
            _ => {}
        }
        self.kinds = [kind, one, two];
        self.lengths = [length, gap, before];
        match (kind, one, two) {
            (Letters, Digits, Letters) => gap <= 4,
            (Letters, Digits, Separators | Breaks | Punctuation | Dots | Other | Ideographs) => {
                gap == 1 && length >= 3
            }
            (Letters, Separators, Letters) => self.singles >= 3,
            (Letters, Breaks | Punctuation | Dots, Letters) => gap == 1 || self.singles >= 3,
            (Letters, Joiners | Marks, Letters) => true,
            (Ideographs, Separators | Breaks | Dots | Joiners | Marks, Ideographs) => gap <= 3,
            (Ideographs, Punctuation, Ideographs) => gap <= 2 && length == 1,
            (Ideographs, Joiners | Marks, Letters) | (Letters, Joiners | Marks, Ideographs) => {
                gap <= 2
            }
            (Letters | Digits | Ideographs | Other, Marks, Digits)
            | (Digits, Marks, Letters | Ideographs | Other) => true,
            _ => false,
        }
    }
}

// Classes of ASCII characters, the values of [`ASCII`]; 0 is any other character.
pub(super) const LETTER: u8 = 1;
pub(super) const DIGIT: u8 = 2;
pub(super) const SPACE: u8 = 3;
/// White space that is not ' '.
pub(super) const BLANK: u8 = 4;
pub(super) const DOT: u8 = 5;
pub(super) const BREAK: u8 = 12;
pub(super) const SIGN: u8 = 6;
pub(super) const JOINER: u8 = 7;
/// Control characters, which fold to nothing.
pub(super) const CONTROL: u8 = 8;
pub(super) const MARK: u8 = 9;
pub(super) const PUNCTUATION: u8 = 10;
/// `<` and `&`, which may open a tag or an entity.
pub(super) const MARKUP: u8 = 11;
/// The class of each ASCII character.
pub(super) static ASCII: [u8; 128] = ascii();

const fn ascii() -> [u8; 128] {
    let mut kinds = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        kinds[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => DIGIT,
            b' ' => SPACE,
            b'\t' | 0xb | 0xc | b'\r' => BLANK,
            b'|' | b'-' | b'^' | b'+' | b'=' | b'#' | b'\\' => JOINER,
            b'*' | b'_' | b'~' | b'`' => MARK,
            b',' | b';' | b':' | b'!' | b'?' | b'"' | b'(' | b')' | b'[' | b']' | b'{' | b'}' => {
                PUNCTUATION
            }
            b'<' | b'&' => MARKUP,
            0..=8 | 0xe..=0x1f | 0x7f => CONTROL,
            b'.' | b'/' => DOT,
            b'\n' => BREAK,
            b'@' | b'$' => SIGN,
            _ => 0,
        };
        byte += 1;
    }
    kinds
}

/// The kind of the folded character `c`.
pub(super) fn kind(c: char) -> CharKind {
    match c {
        'a'..='z' => CharKind::Letters,
        '0'..='9' | '€' => CharKind::Digits,
        ' ' => CharKind::Separators,
        '.' | '/' => CharKind::Dots,
        '\n' => CharKind::Breaks,
        '-' | '·' | '|' | '^' | '+' | '=' | '#' | '\\' => CharKind::Joiners,
        '*' | '_' | '~' | '`' => CharKind::Marks,
        '\u{4e00}'..='\u{9fff}' => CharKind::Ideographs,
        '¥' | '£' | '%' | '\'' => CharKind::Other,
        c if is_punctuation(c) => CharKind::Punctuation,
        c if c.is_ascii() || c.is_alphanumeric() => CharKind::Other,
        _ => CharKind::Marks,
    }
}
