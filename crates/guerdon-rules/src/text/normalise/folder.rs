//! Folding of a text in one pass, run by run.

use std::ops::Range;

use super::characters::{self, FoldKind};
use super::digit_words;
use super::runs::{
    ASCII, BLANK, BREAK, CONTROL, CharKind, DIGIT, DOT, JOINER, LETTER, MARK, MARKUP, PUNCTUATION,
    RunTracker, SIGN, SPACE, kind,
};
use super::view::{Edit, FoldedText};

impl FoldedText {
    /// Replaces the contents by the folding of `original`.
    pub(crate) fn read_folded(&mut self, original: &str) {
        self.clear(original);
        Folder { view: self, original, kept: 0, runs: RunTracker::default(), enclosed: 0 }.fold();
        self.text.make_ascii_lowercase();
        self.suspicious |= digit_words::may_occur(&self.text);
    }
}

/// The state of a folding.
struct Folder<'v, 'o> {
    view: &'v mut FoldedText,
    original: &'o str,
    /// The byte of the original up to which text has been copied.
    kept: usize,
    runs: RunTracker,
    /// The end of the last digits in a circle or brackets, in bytes of the folded text.
    enclosed: usize,
}

impl<'v, 'o> Folder<'v, 'o> {
    fn fold(mut self) {
        let bytes = self.original.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let start = at;
            let Some(kind) = ASCII.get(usize::from(*byte)) else {
                at = self.wide(at);
                continue;
            };
            let run = |kind: u8| {
                let more = bytes.iter().skip(start + 1).take_while(|b| {
                    ASCII.get(usize::from(**b)).is_some_and(|other| *other == kind)
                });
                start + 1 + more.count()
            };
            match *kind {
                LETTER => {
                    at = run(LETTER);
                    self.view.present.add_letters();
                    self.note(CharKind::Letters, at - start);
                }
                DIGIT => {
                    at = run(DIGIT);
                    self.view.present.add_digits();
                    if self.enclosed > 0
                        && self.enclosed == self.view.text.len()
                        && start == self.kept
                    {
                        self.view.breaks.push(self.place(start));
                    }
                    self.numeral(start);
                    self.note(CharKind::Digits, at - start);
                }
                SPACE => at = self.space(start, run(SPACE)),
                CONTROL => {
                    at = start + 1;
                    self.replace(start..at, "", FoldKind::Disguise);
                }
                BLANK => {
                    at = start + 1;
                    self.view.present.add_ascii(b' ');
                    if self.ends_with_space(start) {
                        self.replace(start..at, "", FoldKind::Usual);
                    } else {
                        self.replace(start..at, " ", FoldKind::Usual);
                        self.note(CharKind::Separators, 1);
                    }
                }
                other => {
                    at = start + 1;
                    self.view.present.add_ascii(*byte);
                    if other == MARKUP {
                        let next = bytes.get(at).copied().unwrap_or(b' ');
                        self.view.suspicious |=
                            next.is_ascii_alphabetic() || matches!(next, b'#' | b'/' | b'!');
                    }
                    self.note(
                        match other {
                            DOT => CharKind::Dots,
                            BREAK => CharKind::Breaks,
                            JOINER => CharKind::Joiners,
                            SIGN => CharKind::Digits,
                            MARK => CharKind::Marks,
                            PUNCTUATION => CharKind::Punctuation,
                            _ => CharKind::Other,
                        },
                        1,
                    );
                }
            }
        }
        self.copy(bytes.len());
        self.view.longest = self.runs.longest;
    }

    /// Folds a run of spaces to one space.
    fn space(&mut self, start: usize, end: usize) -> usize {
        self.view.present.add_ascii(b' ');
        let keep = usize::from(!self.ends_with_space(start));
        if keep == 1 {
            self.note(CharKind::Separators, 1);
        }
        if start + keep < end {
            self.replace(start + keep..end, "", FoldKind::Usual);
        }
        end
    }

    /// Folds from the non-ASCII character at `at` and returns the start of the next run.
    fn wide(&mut self, mut at: usize) -> usize {
        let Some(rest) = self.original.get(at..) else { return self.original.len() };
        let mut ideographs = 0;
        for c in rest.chars() {
            let code = u32::from(c);
            if characters::is_basic_ideograph(code) {
                ideographs += 1;
                if characters::is_special(code) {
                    self.special(at, c);
                }
                at += c.len_utf8();
                continue;
            }
            if ideographs > 0 {
                break;
            }
            let end = at + c.len_utf8();
            if c.is_ascii() {
                return at;
            }
            self.odd(at..end, c);
            return end;
        }
        self.view.present.add_ideographs();
        self.note(CharKind::Ideographs, ideographs);
        at
    }

    fn special(&mut self, at: usize, c: char) {
        let simple = characters::simplified(c);
        if characters::is_numeral(simple.unwrap_or(c)) {
            self.numeral(at);
        }
        if let Some(simple) = simple {
            let mut buffer = [0; 4];
            self.replace(
                at..at + c.len_utf8(),
                simple.encode_utf8(&mut buffer),
                FoldKind::Disguise,
            );
        }
    }

    /// Folds a character that is neither ASCII nor a basic ideograph.
    fn odd(&mut self, bytes: Range<usize>, c: char) {
        let mut buffer = [0; 4];
        if let Some(plain) = characters::plain(c) {
            self.view.present.add(plain);
            if plain == c {
                return self.note(kind(c), 1);
            }
            self.note_break(bytes.start, c);
            if plain.is_ascii_digit() {
                self.numeral(bytes.start);
            }
            let drop = plain == ' ' && self.ends_with_space(bytes.start);
            let folded = if drop { "" } else { plain.encode_utf8(&mut buffer) };
            self.replace(bytes, folded, FoldKind::Usual);
            if !drop {
                self.note(kind(plain), 1);
            }
            return;
        }
        let mut folded = String::new();
        characters::fold(c, |f| folded.push(f));
        let mut chars = folded.chars();
        if chars.next() == Some(c) && chars.next().is_none() {
            if characters::is_fraction(c) {
                self.numeral(bytes.start);
            }
            self.view.present.add(c);
            return self.note(kind(c), 1);
        }
        for f in folded.chars() {
            self.view.present.add(f);
        }
        // NFKC maps some marks, such as U+FE72, to a space and the mark.
        if folded.starts_with(' ') && self.ends_with_space(bytes.start) {
            folded.remove(0);
        }
        if folded.chars().any(|f| f.is_ascii_digit() || characters::is_numeral(f)) {
            self.numeral(bytes.start);
        }
        if let Some(f) = folded.chars().next_back() {
            match folded.chars().count() {
                1 => self.note(kind(f), 1),
                more => self.view.suspicious |= self.runs.push_expanded(kind(f), more),
            }
        }
        self.replace(bytes, &folded, characters::change(c));
        if folded.bytes().any(|b| b.is_ascii_digit()) {
            self.enclosed = self.view.text.len();
        }
    }

    /// Records a mark that looks like part of a number and is none: a full-width comma after plain
    /// digits, which lists prices, or a dash.
    fn note_break(&mut self, at: usize, c: char) {
        let follows = self.original.as_bytes().get(..at).and_then(<[u8]>::last);
        if matches!(c, '–' | '—') || (c == '，' && follows.is_some_and(u8::is_ascii_digit)) {
            self.view.breaks.push(self.place(at));
        }
    }

    fn note(&mut self, kind: CharKind, length: usize) {
        let suspicious = self.runs.push(kind, length);
        self.view.suspicious |= suspicious;
    }

    /// Records that a number may begin at this byte of the original.
    fn numeral(&mut self, at: usize) {
        let place = self.place(at);
        self.view.numerals.push(place);
    }

    /// The byte of the folded text that this byte of the original will have.
    fn place(&self, at: usize) -> u32 {
        u32::try_from(self.view.text.len() + (at - self.kept)).unwrap_or(u32::MAX)
    }

    /// Returns true if the folded text up to byte `at` of the original ends with a space.
    fn ends_with_space(&self, at: usize) -> bool {
        if at > self.kept {
            self.original.as_bytes().get(at - 1) == Some(&b' ')
        } else {
            self.view.text.ends_with(' ')
        }
    }

    fn copy(&mut self, to: usize) {
        self.view.text.push_str(self.original.get(self.kept..to).unwrap_or_default());
        self.kept = to;
    }

    fn replace(&mut self, bytes: Range<usize>, folded: &str, change: FoldKind) {
        self.copy(bytes.start);
        let start = self.view.text.len();
        self.view.text.push_str(folded);
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.view.edits.push(Edit {
            view: [place(start), place(self.view.text.len())],
            original: [place(bytes.start), place(bytes.end)],
            change,
        });
        self.kept = bytes.end;
    }
}
