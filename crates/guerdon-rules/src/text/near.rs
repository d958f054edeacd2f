//! Words near a place: at most a number of characters away and in the same sentence.

use std::cell::OnceCell;
use std::ops::Range;

use crate::text::literals::LiteralHits;
use crate::text::sentences::SentenceIndex;

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

/// A text with the hits of all words and its sentences, which are indexed when first needed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'t> {
    pub(crate) text: &'t str,
    pub(crate) found: &'t LiteralHits,
    pub(crate) sentences: &'t OnceCell<SentenceIndex>,
}

impl Near {
    /// Returns true if the hit at `bytes` of the folded text has a required word near it and no
    /// forbidden one.
    pub(crate) fn holds(&self, bytes: &Range<usize>, around: Surroundings<'_>) -> bool {
        if self.one.is_none() && self.none.is_none() {
            return true;
        }
        let Surroundings { text, found, sentences } = around;
        let sentences = sentences.get_or_init(|| SentenceIndex::new(text));
        let window = sentences.window(text, bytes, self.within);
        let near = |leaf: u32| found.has_within(leaf, &window, |hit| is_whole(text, hit));
        self.one.is_none_or(near) && !self.none.is_some_and(near)
    }
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
