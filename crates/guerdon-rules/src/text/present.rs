//! Which characters occur in a text, roughly: 128 bits for ASCII, 64 for the rest. A pattern that needs a character which
//! is not there need not run; a bit too many costs a search, never a hit.

use regex_syntax::hir::{Class, ClassUnicode};

/// A set of characters, or one that is a little larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Present {
    ascii: u128,
    wide: u64,
}

const LETTERS: u128 = ((1 << 26) - 1) << b'a';
const DIGITS: u128 = ((1 << 10) - 1) << b'0';
/// The basic ideographs share the last bit; others have one for each 256 of them, by turns.
const IDEOGRAPHS: u64 = 1 << 63;

impl Present {
    pub(crate) const fn add_ascii(&mut self, byte: u8) {
        self.ascii |= 1 << (byte & 127);
    }

    pub(crate) const fn add_letters(&mut self) {
        self.ascii |= LETTERS;
    }

    pub(crate) const fn add_digits(&mut self) {
        self.ascii |= DIGITS;
    }

    pub(crate) const fn add_ideographs(&mut self) {
        self.wide |= IDEOGRAPHS;
    }

    pub(crate) fn add(&mut self, c: char) {
        let one = Self::of(c);
        self.ascii |= one.ascii;
        self.wide |= one.wide;
    }

    /// Whether `c` may be in the set.
    #[cfg(test)]
    pub(crate) fn may_have(self, c: char) -> bool {
        self.meets(Self::of(c))
    }

    /// Whether the two may share a character.
    pub(crate) const fn meets(self, other: Self) -> bool {
        self.ascii & other.ascii != 0 || self.wide & other.wide != 0
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self { ascii: self.ascii | other.ascii, wide: self.wide | other.wide }
    }

    /// How much of everything it covers; a smaller set is the better gate.
    pub(crate) const fn breadth(self) -> u32 {
        let common = (self.ascii & (LETTERS | DIGITS | 1 << b' ')).count_ones()
            + (self.wide >> 63) as u32 * 8;
        self.ascii.count_ones() + self.wide.count_ones() + 8 * common
    }

    pub(crate) fn of(c: char) -> Self {
        match u32::from(c) {
            code @ 0..=0x7f => Self { ascii: 1 << code, wide: 0 },
            0x4e00..=0x9fff => Self { ascii: 0, wide: IDEOGRAPHS },
            code => Self { ascii: 0, wide: 1 << ((code >> 8) % 63) },
        }
    }

    /// The characters of a class.
    pub(crate) fn of_class(class: &Class) -> Self {
        match class {
            Class::Unicode(class) => Self::of_unicode(class),
            Class::Bytes(class) => class.ranges().iter().fold(Self::default(), |set, range| {
                (range.start()..=range.end())
                    .fold(set, |set, byte| set.union(Self::of(char::from(byte))))
            }),
        }
    }

    fn of_unicode(class: &ClassUnicode) -> Self {
        let mut set = Self::default();
        for range in class.ranges() {
            let (start, end) = (u32::from(range.start()), u32::from(range.end()));
            for code in start..=end.min(0x7f) {
                set.ascii |= 1 << code;
            }
            if start <= 0x9fff && end >= 0x4e00 {
                set.wide |= IDEOGRAPHS;
            }
            for (low, high) in [(start.max(0x80), end.min(0x4dff)), (start.max(0xa000), end)] {
                if low > high {
                    continue;
                }
                for page in (low >> 8)..=(high >> 8).min((low >> 8) + 62) {
                    set.wide |= 1 << (page % 63);
                }
            }
        }
        set
    }
}
