//! Words near a place: at most a number of characters away and in the same sentence.

use std::ops::Range;

use crate::text::literals::LiteralHits;

/// Words that must, or must not, be near a hit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Near {
    /// The leaf of the required words; at least one must be near.
    pub(crate) one: Option<u32>,
    /// The leaf of the forbidden words; none may be near.
    pub(crate) none: Option<u32>,
    /// The greatest distance, in characters.
    pub(crate) within: usize,
}

impl Near {
    /// Returns true if the hit at `bytes` of the folded `text` has a required word near it and no
    /// forbidden one.
    pub(crate) fn holds(&self, text: &str, bytes: &Range<usize>, found: &LiteralHits) -> bool {
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

/// Returns true if `c` ends a sentence.
pub(crate) const fn ends_sentence(c: char) -> bool {
    matches!(c, '。' | '!' | '?' | ';' | '！' | '？' | '；' | '\n')
}

/// Returns true if `bytes` of `text` do not begin or end inside a Latin word.
pub(crate) fn is_whole(text: &str, bytes: &Range<usize>) -> bool {
    let at = |byte: Option<usize>| {
        byte.and_then(|byte| text.as_bytes().get(byte)).is_some_and(u8::is_ascii_alphanumeric)
    };
    let cut_before = at(Some(bytes.start)) && at(bytes.start.checked_sub(1));
    let cut_after = at(bytes.end.checked_sub(1)) && at(Some(bytes.end));
    !cut_before && !cut_after
}
