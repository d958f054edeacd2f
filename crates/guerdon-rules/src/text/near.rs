//! Words near a place: within so many characters, in the same sentence.

use std::ops::Range;

use crate::text::literals::Found;

/// Words that must, or must not, be near.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Near {
    /// A leaf of words of which one must be near.
    pub(crate) one: Option<u32>,
    /// A leaf of words of which none may be near.
    pub(crate) none: Option<u32>,
    /// How many characters is near.
    pub(crate) within: usize,
}

impl Near {
    /// Whether what is at `bytes` of the folded `text` has the words near that it must have, and none that it must not.
    pub(crate) fn holds(&self, text: &str, bytes: &Range<usize>, found: &Found) -> bool {
        if self.one.is_none() && self.none.is_none() {
            return true;
        }
        let window = window(text, bytes, self.within);
        let near = |leaf: u32| found.has_within(leaf, &window, |hit| is_whole(text, hit));
        self.one.is_none_or(near) && !self.none.is_some_and(near)
    }
}

/// The bytes within `chars` characters of `bytes`, in the same sentence.
fn window(text: &str, bytes: &Range<usize>, chars: usize) -> Range<usize> {
    let before = text.get(..bytes.start).unwrap_or_default();
    let near = before.char_indices().rev().take(chars).take_while(|(_, c)| !ends_sentence(*c));
    let start = near.last().map_or(bytes.start, |(at, _)| at);
    let after = text.get(bytes.end..).unwrap_or_default();
    let near = after.char_indices().take(chars).take_while(|(_, c)| !ends_sentence(*c));
    let end = near.last().map_or(bytes.end, |(at, c)| bytes.end + at + c.len_utf8());
    start..end
}

/// Whether `c` ends a sentence.
pub(crate) const fn ends_sentence(c: char) -> bool {
    matches!(c, '。' | '!' | '?' | ';' | '！' | '？' | '；' | '\n')
}

/// Whether `bytes` of `text` do not cut a Latin word.
pub(crate) fn is_whole(text: &str, bytes: &Range<usize>) -> bool {
    let at = |byte: Option<usize>| {
        byte.and_then(|byte| text.as_bytes().get(byte)).is_some_and(u8::is_ascii_alphanumeric)
    };
    let cut_before = at(Some(bytes.start)) && at(bytes.start.checked_sub(1));
    let cut_after = at(bytes.end.checked_sub(1)) && at(Some(bytes.end));
    !cut_before && !cut_after
}
