//! A folded text and the way back: each place where it is not the original byte for byte, and which characters of the
//! original those bytes were.

use std::ops::Range;

use super::characters::Change;
use super::runs::Longest;
use crate::text::present::Present;

/// A text as rules see it, and the way back.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(super) text: String,
    pub(super) edits: Vec<Edit>,
    /// Characters of the original before each 64th of its bytes.
    chars: Vec<u32>,
    /// Which characters occur.
    pub(crate) present: Present,
    /// How long its runs of letters and of ideographs are at most.
    pub(crate) longest: Longest,
    /// Where runs of digits and of numerals begin, in bytes of the view.
    pub(crate) numerals: Vec<u32>,
    /// Whether something may be spaced out or spelt with digits, so that [`Loose`] should look.
    pub(crate) suspicious: bool,
}

/// A place where the view is not the original byte for byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edit {
    /// In the view, half-open.
    pub(super) view: [u32; 2],
    /// In the original, half-open.
    pub(super) original: [u32; 2],
    pub(super) change: Change,
}

/// Bytes between two counts of characters.
const STRIDE: usize = 64;

impl View {
    /// Empties it, to be filled with the folding of `original`.
    pub(super) fn clear(&mut self, original: &str) {
        self.text.clear();
        self.text.reserve(original.len());
        self.edits.clear();
        self.numerals.clear();
        self.present = Present::default();
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

    /// The characters of `original`, half-open, that `bytes` of this view came from.
    pub(crate) fn span(&self, original: &str, bytes: &Range<usize>) -> [usize; 2] {
        let start = self.character(original, self.start_of(bytes.start));
        if bytes.is_empty() {
            return [start, start];
        }
        [start, self.character(original, self.end_of(bytes.end - 1))]
    }

    /// Whether any of `bytes` was written in a way that hides it.
    pub(crate) fn is_disguised(&self, bytes: &Range<usize>) -> bool {
        // What was dropped before the first byte or after the last is not within.
        let first = self.edits.partition_point(|edit| edit.view[1] as usize <= bytes.start);
        let mut within =
            self.edits.iter().skip(first).take_while(|edit| (edit.view[0] as usize) < bytes.end);
        within.any(|edit| edit.change == Change::Disguise)
    }

    /// The character of `original` that made `byte`.
    pub(crate) fn original_at(&self, original: &str, byte: usize) -> Option<char> {
        original.get(self.start_of(byte)..)?.chars().next()
    }

    fn edit_at(&self, byte: usize) -> Option<&Edit> {
        let after = self.edits.partition_point(|edit| edit.view[0] as usize <= byte);
        self.edits.get(after.checked_sub(1)?)
    }

    /// The byte of the original at which the character that made `byte` begins.
    fn start_of(&self, byte: usize) -> usize {
        match self.edit_at(byte) {
            None => byte,
            Some(edit) if byte < edit.view[1] as usize => edit.original[0] as usize,
            Some(edit) => edit.original[1] as usize + (byte - edit.view[1] as usize),
        }
    }

    /// The byte of the original at which the character that made `byte`, its last, ends.
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
    // At most 64 bytes: the sum of a byte per comparison does not overflow, and vectorises.
    u32::from(bytes.iter().map(|byte| u8::from(!matches!(byte, 0x80..=0xbf))).sum::<u8>())
}
