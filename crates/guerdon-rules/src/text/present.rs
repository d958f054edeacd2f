//! The set of characters that occur in a text, approximated by 128 bits for ASCII and 64 bits for
//! the rest. A pattern is skipped if a required character does not occur. A bit set in excess costs
//! a search and never a hit.

use regex_syntax::hir::{Class, ClassUnicode};

/// A set of characters, or a superset of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CharSet {
    ascii: u128,
    wide: u64,
}

const LETTERS: u128 = ((1 << 26) - 1) << b'a';
const DIGITS: u128 = ((1 << 10) - 1) << b'0';
/// The basic ideographs share the last bit. Each of the other bits stands for blocks of 256
/// characters.
const IDEOGRAPHS: u64 = 1 << 63;

impl CharSet {
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

    /// Returns true if `c` may be in the set.
    #[cfg(test)]
    pub(crate) fn may_have(self, c: char) -> bool {
        self.meets(Self::of(c))
    }

    /// Returns true if the two sets may share a character.
    pub(crate) const fn meets(self, other: Self) -> bool {
        self.ascii & other.ascii != 0 || self.wide & other.wide != 0
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self { ascii: self.ascii | other.ascii, wide: self.wide | other.wide }
    }

    /// A measure of the share of all text that the set covers. A smaller set makes a better gate.
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
