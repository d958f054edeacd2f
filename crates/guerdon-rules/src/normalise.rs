//! Folding: what a learning policy may vary without changing what a reader sees is made one before rules look at it.
//!
//! Width, compatibility forms, letter case, Latin accents, zero-width and direction marks, look-alike letters, digits of
//! other scripts, traditional characters, exotic and repeated spaces. Character by character, so that the way back is
//! exact: spans are told in the original. What takes more than one character to see (`w o r k`, `w0rk`) is `loose.rs`'s.
//!
//! Folding is one pass over runs of a kind; whatever stays as it is gets copied whole. On the way it notes what later
//! passes would otherwise have to look for: which characters there are, where numbers begin, and whether anything is
//! spaced out or spelt with digits.

mod characters;
mod folder;
mod loose;
mod runs;

use std::ops::Range;

pub(crate) use characters::Change;
use folder::Folder;
pub(crate) use loose::{Loose, skeleton};

use crate::present::Present;

/// A text as rules see it, and the way back.
#[derive(Debug, Default)]
pub(crate) struct View {
    text: String,
    edits: Vec<Edit>,
    /// Characters of the original before each 64th of its bytes.
    chars: Vec<u32>,
    /// Which characters occur.
    pub(crate) present: Present,
    /// Where runs of digits and of numerals begin, in bytes of the view.
    pub(crate) numerals: Vec<u32>,
    /// Whether something may be spaced out or spelt with digits, so that [`Loose`] should look.
    pub(crate) suspicious: bool,
}

/// A place where the view is not the original byte for byte.
#[derive(Debug, Clone, Copy)]
struct Edit {
    /// In the view, half-open.
    view: [u32; 2],
    /// In the original, half-open.
    original: [u32; 2],
    change: Change,
}

/// Bytes between two counts of characters.
const STRIDE: usize = 64;

impl View {
    /// The folded text.
    pub(crate) fn read_folded(&mut self, original: &str) {
        self.clear(original);
        Folder::new(self, original).fold();
        self.text.make_ascii_lowercase();
    }

    fn clear(&mut self, original: &str) {
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
        let mut within = self.edits.iter().skip(first).take_while(|edit| (edit.view[0] as usize) < bytes.end);
        within.any(|edit| edit.change == Change::Disguise)
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

/// `text` as rules see it: width, case, invisible characters, look-alike letters, traditional characters and runs of
/// spaces made one.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut view = View::default();
    view.read_folded(text);
    view.text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &str) -> View {
        let mut view = View::default();
        view.read_folded(text);
        view
    }

    #[test]
    fn width_case_marks_and_look_alikes_fold_to_one() {
        assert_eq!(fold("Ｗｏｒｋ\u{3000} Order"), "work order");
        assert_eq!(fold("wо\u{200b}rk"), "work");
        assert_eq!(fold("４８０￥"), "480¥");
        assert_eq!(fold("Café"), "cafe");
        assert_eq!(fold("工\u{feff}单"), "工单");
        assert_eq!(fold("𝓌𝕠𝐫𝚔 ⓞⓡⓓⓔⓡ"), "work order");
        assert_eq!(fold("🅆🄾🅡🅺"), "work");
        assert_eq!(fold("目標價是٤٢٠"), "目标价是420");
        assert_eq!(fold("don’t\r\n"), "don't \n");
        assert_eq!(fold(" \u{fe72}"), " \u{64c}");
    }

    #[test]
    fn a_span_is_told_in_the_original_and_covers_what_was_dropped() {
        let original = "按工\u{200b}单，好";
        let view = folded(original);
        let at = view.text().find("工单").unwrap();
        assert_eq!(view.span(original, &(at..at + "工单".len())), [1, 4]);
        assert!(view.is_disguised(&(at..at + "工单".len())));
        assert!(!view.is_disguised(&(0.."按工".len())));
        assert!(!view.is_disguised(&(at + "工".len()..at + "工单，".len() - 2)));
    }

    #[test]
    fn spaced_out_and_digit_spelt_words_are_noticed_and_prices_are_not() {
        for odd in ["our w o r k order", "w0rk", "工 单", "工*单", "wo*rk", "0rder", "P@rtner", "ｗ０ｒｋ"]
        {
            assert!(folded(odd).suspicious, "{odd}");
        }
        for plain in ["480元", "I am here", "a 2-bed room", "房间，可以", "3.5 stars", "USD 420"] {
            assert!(!folded(plain).suspicious, "{plain}");
        }
    }

    proptest! {
        #[test]
        fn the_way_back_never_falls_and_stays_within(text in "(?:\\PC|[ 　\t\u{200b}ﷺ①價４a工])*") {
            let view = folded(&text);
            let chars = text.chars().count();
            let mut last = 0;
            for (at, c) in view.text().char_indices() {
                let [start, end] = view.span(&text, &(at..at + c.len_utf8()));
                prop_assert!(last <= start && start < end && end <= chars, "{at} {start} {end}");
                last = start;
            }
        }

        #[test]
        fn a_character_folds_on_its_own_to_what_it_folds_to_in_its_text(text in "(?:\\PC|[a４價， 工]){0,20}") {
            let mut alone = String::new();
            for c in text.chars() {
                for f in fold(&c.to_string()).chars() {
                    if f != ' ' || !alone.ends_with(' ') {
                        alone.push(f);
                    }
                }
            }
            prop_assert_eq!(fold(&text), alone);
        }

        #[test]
        fn folding_twice_is_folding_once(text in "[ -~\u{4e00}-\u{4e20}０-９Ａ-Ｚ\u{200b}\u{3000}а-я價標]*") {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }

        #[test]
        fn every_character_of_the_view_is_present(text in "(?:\\PC|[a-z0-9，。工])*") {
            let view = folded(&text);
            for c in view.text().chars() {
                prop_assert!(view.present.may_have(c), "{c:?}");
            }
        }
    }
}
