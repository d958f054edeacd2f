//! A folded text and its map to the original: the places where the two differ, and the characters
//! of the original at those places.

use std::ops::Range;

use super::characters::FoldKind;
use super::runs::LongestRuns;
use crate::text::number::NumberText;
use crate::text::present::CharSet;

/// A folded text and its map to the original.
#[derive(Debug, Default)]
pub(crate) struct FoldedText {
    pub(super) text: String,
    pub(super) edits: Vec<Edit>,
    /// The number of characters of the original before each 64th of its bytes.
    chars: Vec<u32>,
    /// The characters that occur.
    pub(crate) present: CharSet,
    /// Upper bounds of the lengths of its runs of letters and of ideographs.
    pub(crate) longest: LongestRuns,
    /// The starts of runs of digits and of numerals, in bytes of the folded text.
    pub(crate) numerals: Vec<u32>,
    /// The bytes of the folded text at which no number continues, ascending.
    pub(super) breaks: Vec<u32>,
    /// Set if a word may be spaced out or spelt with digits, so that a loose reading is needed.
    pub(crate) suspicious: bool,
}

/// A place where the folded text differs from the original.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edit {
    /// The bytes of the folded text, half-open.
    pub(super) view: [u32; 2],
    /// The bytes of the original, half-open.
    pub(super) original: [u32; 2],
    pub(super) change: FoldKind,
}

/// The number of bytes between two counts of characters.
const STRIDE: usize = 64;

impl FoldedText {
    /// Empties the text before `original` is folded into it.
    pub(super) fn clear(&mut self, original: &str) {
        self.text.clear();
        self.text.reserve(original.len());
        self.edits.clear();
        self.numerals.clear();
        self.breaks.clear();
        self.present = CharSet::default();
        self.suspicious = false;
        self.chars.clear();
        let mut before = 0_u32;
        for block in original.as_bytes().chunks(STRIDE) {
            self.chars.push(before);
            before += characters_in(block);
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text as numbers are read from it.
    pub(crate) fn number_text(&self) -> NumberText<'_> {
        NumberText { text: &self.text, breaks: &self.breaks }
    }

    /// The characters of `original`, half-open, that `bytes` of the folded text came from.
    pub(crate) fn span(&self, original: &str, bytes: &Range<usize>) -> [usize; 2] {
        let start = self.character(original, self.start_of(bytes.start));
        if bytes.is_empty() {
            return [start, start];
        }
        [start, self.character(original, self.end_of(bytes.end - 1))]
    }

    /// Returns true if a disguise was folded within `bytes`.
    pub(crate) fn is_disguised(&self, bytes: &Range<usize>) -> bool {
        // Characters dropped before the first byte or after the last are not within.
        let first = self.edits.partition_point(|edit| edit.view[1] as usize <= bytes.start);
        let mut within =
            self.edits.iter().skip(first).take_while(|edit| (edit.view[0] as usize) < bytes.end);
        within.any(|edit| edit.change == FoldKind::Disguise)
    }

    /// The character of `original` that produced `byte`.
    pub(crate) fn original_at(&self, original: &str, byte: usize) -> Option<char> {
        original.get(self.start_of(byte)..)?.chars().next()
    }

    fn edit_at(&self, byte: usize) -> Option<&Edit> {
        let after = self.edits.partition_point(|edit| edit.view[0] as usize <= byte);
        self.edits.get(after.checked_sub(1)?)
    }

    /// The start, in bytes of the original, of the character that produced `byte`.
    fn start_of(&self, byte: usize) -> usize {
        match self.edit_at(byte) {
            None => byte,
            Some(edit) if byte < edit.view[1] as usize => edit.original[0] as usize,
            Some(edit) => edit.original[1] as usize + (byte - edit.view[1] as usize),
        }
    }

    /// The end, in bytes of the original, of the character whose last byte is `byte`.
    fn end_of(&self, byte: usize) -> usize {
        match self.edit_at(byte) {
            None => byte + 1,
            Some(edit) if byte < edit.view[1] as usize => edit.original[1] as usize,
            Some(edit) => edit.original[1] as usize + (byte + 1 - edit.view[1] as usize),
        }
    }

    /// The index of the character at `byte` of the original.
    pub(crate) fn character(&self, original: &str, byte: usize) -> usize {
        let block = byte / STRIDE;
        match self.chars.get(block) {
            Some(before) => {
                let rest = original.as_bytes().get(block * STRIDE..byte).unwrap_or_default();
                (before + characters_in(rest)) as usize
            }
            None => original.chars().count(),
        }
    }
}

fn characters_in(bytes: &[u8]) -> u32 {
    // At most 64 bytes, so that a sum of bytes does not overflow and is vectorised.
    u32::from(bytes.iter().map(|byte| u8::from(!matches!(byte, 0x80..=0xbf))).sum::<u8>())
}
