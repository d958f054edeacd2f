//! One pass over a text, run by run.

use std::ops::Range;

use super::characters::{self, Change};
use super::runs::{ASCII, BLANK, DIGIT, JOINER, Kind, LETTER, Runs, SEPARATOR, SIGN, SPACE, kind};
use super::view::{Edit, View};

impl View {
    /// Folds `original` into it.
    pub(crate) fn read_folded(&mut self, original: &str) {
        self.clear(original);
        Folder { view: self, original, kept: 0, runs: Runs::default() }.fold();
        self.text.make_ascii_lowercase();
    }
}

/// One folding under way.
struct Folder<'v, 'o> {
    view: &'v mut View,
    original: &'o str,
    /// What follows this byte of the original is not yet copied.
    kept: usize,
    runs: Runs,
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
                    self.note(Kind::Letters, at - start);
                }
                DIGIT => {
                    at = run(DIGIT);
                    self.view.present.add_digits();
                    self.numeral(start);
                    self.note(Kind::Digits, at - start);
                }
                SPACE => at = self.space(start, run(SPACE)),
                BLANK => {
                    at = start + 1;
                    self.view.present.add_ascii(b' ');
                    if self.ends_with_space(start) {
                        self.replace(start..at, "", Change::Usual);
                    } else {
                        self.replace(start..at, " ", Change::Usual);
                        self.note(Kind::Separators, 1);
                    }
                }
                other => {
                    at = start + 1;
                    self.view.present.add_ascii(*byte);
                    self.note(
                        match other {
                            SEPARATOR => Kind::Separators,
                            JOINER => Kind::Joiners,
                            SIGN => Kind::Digits,
                            _ => Kind::Other,
                        },
                        1,
                    );
                }
            }
        }
        self.copy(bytes.len());
        self.view.longest = self.runs.longest;
    }

    /// A run of spaces is one space.
    fn space(&mut self, start: usize, end: usize) -> usize {
        self.view.present.add_ascii(b' ');
        let keep = usize::from(!self.ends_with_space(start));
        if keep == 1 {
            self.note(Kind::Separators, 1);
        }
        if start + keep < end {
            self.replace(start + keep..end, "", Change::Usual);
        }
        end
    }

    /// From a character at `at` that is not ASCII to where the next run begins.
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
        self.note(Kind::Ideographs, ideographs);
        at
    }

    fn special(&mut self, at: usize, c: char) {
        let simple = characters::simplified(c);
        if characters::is_numeral(simple.unwrap_or(c)) {
            self.numeral(at);
        }
        if let Some(simple) = simple {
            let mut buffer = [0; 4];
            self.replace(at..at + c.len_utf8(), simple.encode_utf8(&mut buffer), Change::Disguise);
        }
    }

    /// A character that is neither ASCII nor a basic ideograph.
    fn odd(&mut self, bytes: Range<usize>, c: char) {
        let mut buffer = [0; 4];
        if let Some(plain) = characters::plain(c) {
            self.view.present.add(plain);
            if plain == c {
                return self.note(kind(c), 1);
            }
            if plain.is_ascii_digit() {
                self.numeral(bytes.start);
            }
            let drop = plain == ' ' && self.ends_with_space(bytes.start);
            let folded = if drop { "" } else { plain.encode_utf8(&mut buffer) };
            self.replace(bytes, folded, Change::Usual);
            if !drop {
                self.note(kind(plain), 1);
            }
            return;
        }
        let mut folded = String::new();
        characters::fold(c, |f| folded.push(f));
        let mut chars = folded.chars();
        if chars.next() == Some(c) && chars.next().is_none() {
            self.view.present.add(c);
            return self.note(kind(c), 1);
        }
        for f in folded.chars() {
            self.view.present.add(f);
        }
        // Some marks stand on a space of their own, such as U+FE72.
        if folded.starts_with(' ') && self.ends_with_space(bytes.start) {
            folded.remove(0);
        }
        if folded.chars().any(|f| f.is_ascii_digit() || characters::is_numeral(f)) {
            self.numeral(bytes.start);
        }
        if let Some(f) = folded.chars().next_back() {
            match folded.chars().count() {
                1 => self.note(kind(f), 1),
                more => self.view.suspicious |= self.runs.push_unfolded(kind(f), more),
            }
        }
        self.replace(bytes, &folded, characters::change(c));
    }

    fn note(&mut self, kind: Kind, length: usize) {
        let suspicious = self.runs.push(kind, length);
        self.view.suspicious |= suspicious;
    }

    /// A number may begin at this byte of the original.
    fn numeral(&mut self, at: usize) {
        let place = self.view.text.len() + (at - self.kept);
        self.view.numerals.push(u32::try_from(place).unwrap_or(u32::MAX));
    }

    /// Whether what is folded so far, up to byte `at` of the original, ends with a space.
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

    fn replace(&mut self, bytes: Range<usize>, folded: &str, change: Change) {
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
