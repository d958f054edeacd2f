//! Ends of sentences, and the window around a place within its sentence.
//!
//! A full stop is the one ambiguous mark: it also writes decimals, abbreviations, list numbers and
//! domain names. It ends a sentence only where no other reading is likely.

use std::ops::Range;

use crate::text::steps;

/// Abbreviations whose full stop rarely ends a sentence.
const ABBREVIATIONS: [&str; 44] = [
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "eg", "ie", "approx", "dept",
    "inc", "ltd", "co", "corp", "est", "min", "max", "tel", "ext", "fig", "no", "nos", "rs", "jan",
    "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "mon", "tue",
    "wed", "thu", "fri",
];
/// The longest word before a full stop that is compared with the abbreviations, in bytes.
const LONGEST_WORD: usize = 8;

/// Returns true if the character `c` at byte `at` of `text` ends a sentence. Looks at a bounded
/// number of neighbours.
pub(crate) fn ends_sentence(text: &str, at: usize, c: char) -> bool {
    match c {
        '。' | '!' | '?' | ';' | '！' | '？' | '；' | '\n' => true,
        '.' | '．' => is_full_stop(text, at, c.len_utf8()),
        _ => false,
    }
}

fn is_full_stop(text: &str, at: usize, width: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let after = text.get(at + width..).unwrap_or_default();
    let closes = |c: &char| matches!(c, '"' | '\'' | ')' | ']' | '”' | '’' | '»' | '*' | '_');
    let beyond = after.chars().take(3).find(|c| !closes(c));
    let parted = beyond.is_none_or(char::is_whitespace);
    // `...` trails off and ends nothing.
    if !parted || before.ends_with(['.', '．', '…']) || after.starts_with(['.', '．', '…']) {
        return false;
    }
    let bytes = before.as_bytes();
    let word = bytes
        .iter()
        .rev()
        .take(LONGEST_WORD + 1)
        .inspect(|_| steps::add(1))
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    let written = before.get(at - word..).unwrap_or_default();
    let ahead = before.get(..at - word).and_then(|ahead| ahead.chars().next_back());
    let next = after.trim_start_matches(' ').chars().next();
    if written.is_empty() || word > LONGEST_WORD {
        return true;
    }
    if written.bytes().all(|b| b.is_ascii_digit()) {
        // `1. Rooms` at the start of a line is a list number.
        let opens_line = ahead.is_none_or(|c| c == '\n');
        return !(opens_line && word <= 2 && next.is_some());
    }
    // The last letter of `a.m.`, `u.s.` or `e.g.`.
    if word == 1 && ahead == Some('.') {
        return next.is_none();
    }
    let lower = written.to_ascii_lowercase();
    if lower == "no" || lower == "nos" {
        // `No. 5` is a number, `I said no.` a sentence.
        return !next.is_some_and(|c| c.is_ascii_digit());
    }
    next.is_none() || !ABBREVIATIONS.contains(&lower.as_str())
}

/// The ends of the sentences of a text, and counts of its characters, so that the window around a
/// place costs the same however wide it is.
#[derive(Debug, Default)]
pub(crate) struct SentenceIndex {
    /// The bytes of the marks that end a sentence, half-open.
    ends: Vec<[u32; 2]>,
    /// The number of characters before each block of bytes.
    chars: Vec<u32>,
    /// The number of all characters.
    length: usize,
}

/// The bytes of a block.
const BLOCK: usize = 64;

const fn is_boundary(byte: u8) -> bool {
    !matches!(byte, 0x80..=0xbf)
}

impl SentenceIndex {
    pub(crate) fn new(text: &str) -> Self {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let mut index = Self::default();
        for (at, c) in text.char_indices() {
            if ends_sentence(text, at, c) {
                index.ends.push([place(at), place(at + c.len_utf8())]);
            }
        }
        let mut before = 0;
        for block in text.as_bytes().chunks(BLOCK) {
            steps::add(block.len());
            index.chars.push(place(before));
            before += block.iter().filter(|byte| is_boundary(**byte)).count();
        }
        index.length = before;
        index
    }

    /// The bytes within `chars` characters of `bytes`, in the same sentence.
    pub(crate) fn window(&self, text: &str, bytes: &Range<usize>, chars: usize) -> Range<usize> {
        let first = self.ends.partition_point(|[_, end]| *end as usize <= bytes.start);
        let opens = first.checked_sub(1).and_then(|last| self.ends.get(last));
        let from = opens.map_or(0, |[_, end]| *end as usize);
        let next = self.ends.partition_point(|[start, _]| (*start as usize) < bytes.end);
        let to = self.ends.get(next).map_or(text.len(), |[start, _]| *start as usize);
        let start = self.character(text, bytes.start).saturating_sub(chars);
        let end = self.character(text, bytes.end).saturating_add(chars);
        let start = self.byte(text, start).max(from).min(bytes.start);
        start..self.byte(text, end).min(to).max(bytes.end)
    }

    /// The number of characters before `byte`.
    fn character(&self, text: &str, byte: usize) -> usize {
        let block = (byte / BLOCK).min(self.chars.len().saturating_sub(1));
        let rest = text.as_bytes().get(block * BLOCK..byte).unwrap_or_default();
        steps::add(rest.len());
        let counted = rest.iter().filter(|byte| is_boundary(**byte)).count();
        self.chars.get(block).map_or(0, |before| *before as usize) + counted
    }

    /// The byte at which character `index` begins; the end of the text beyond its last character.
    fn byte(&self, text: &str, index: usize) -> usize {
        if index >= self.length {
            return text.len();
        }
        let block = self.chars.partition_point(|before| *before as usize <= index);
        let Some(block) = block.checked_sub(1) else { return 0 };
        let counted = self.chars.get(block).map_or(0, |before| *before as usize);
        let rest = text.as_bytes().get(block * BLOCK..).unwrap_or_default();
        let boundaries = rest.iter().enumerate().filter(|(_, byte)| is_boundary(**byte));
        let found = boundaries.inspect(|_| steps::add(1)).nth(index - counted);
        found.map_or(text.len(), |(at, _)| block * BLOCK + at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(text: &str) -> usize {
        text.char_indices().filter(|(at, c)| ends_sentence(text, *at, *c)).count()
    }

    #[test]
    fn a_full_stop_ends_a_sentence_only_where_it_writes_nothing_else() {
        for (text, count) in [
            ("no refund. your plan is $50 a month.", 2),
            ("it is 3.5 stars, v1.2.3 of example.com", 0),
            ("mr. smith and dr. li pay approx. 480", 0),
            ("at 9 a.m. we meet, e.g. in the lobby", 0),
            ("well... we could. (maybe.) yes", 2),
            ("see no. 5. i said no. then i left.", 3),
            ("1. rooms\n2. prices\n", 2),
            ("we pay 480. deal", 1),
            ("按工.单说", 0),
            ("可以.\n好的。", 3),
            ("he said \"no refund.\" your plan", 1),
        ] {
            assert_eq!(ends(text), count, "{text}");
        }
    }

    /// The window by a walk from the place, character by character.
    fn walked(text: &str, bytes: &Range<usize>, chars: usize) -> Range<usize> {
        let (mut start, mut end) = (bytes.start, bytes.end);
        for (at, c) in text[..bytes.start].char_indices().rev().take(chars) {
            if ends_sentence(text, at, c) {
                break;
            }
            start = at;
        }
        for (at, c) in text[bytes.end..].char_indices().take(chars) {
            if ends_sentence(text, bytes.end + at, c) {
                break;
            }
            end = bytes.end + at + c.len_utf8();
        }
        start..end
    }

    proptest! {
        #[test]
        fn a_window_is_that_of_a_walk(
            text in "(?:[a-d .。工\n3]|\\PC){1,150}",
            from in 0_usize..150,
            length in 1_usize..6,
            chars in 0_usize..200,
        ) {
            let places: Vec<usize> =
                text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let start = places[from.min(places.len() - 2)];
            let at = places.iter().position(|place| *place == start).unwrap();
            let end = places[(at + length).min(places.len() - 1)];
            let found = SentenceIndex::new(&text).window(&text, &(start..end), chars);
            prop_assert_eq!(found, walked(&text, &(start..end), chars));
        }
    }
}
