//! Folding: what a learning policy may vary without changing what a reader sees is made one before rules look at it.
//!
//! Full and half width, compatibility forms (NFKC, character by character), letter case, Latin accents, zero-width and
//! bidirectional marks, look-alike Cyrillic and Greek letters, exotic and repeated spaces. Character by character, so
//! that every folded byte knows the original character it came from: spans are told in the original.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

/// A text as rules see it, and the way back.
#[derive(Debug)]
pub(crate) struct View {
    text: String,
    /// For each byte of `text`, the index of the original character it came from; never falls.
    origin: Vec<u32>,
    /// Characters of the original.
    chars: u32,
}

impl View {
    /// The text as it is.
    pub(crate) fn raw(original: &str) -> Self {
        let mut view = Self::empty(original);
        for (index, c) in (0_u32..).zip(original.chars()) {
            view.push(c, index);
        }
        view
    }

    /// The folded text.
    pub(crate) fn folded(original: &str) -> Self {
        let mut view = Self::empty(original);
        for (index, c) in (0_u32..).zip(original.chars()) {
            fold_char(c, |folded| {
                if folded != ' ' || !view.text.ends_with(' ') {
                    view.push(folded, index);
                }
            });
        }
        view
    }

    fn empty(original: &str) -> Self {
        let chars = u32::try_from(original.chars().count()).unwrap_or(u32::MAX);
        Self {
            text: String::with_capacity(original.len()),
            origin: Vec::with_capacity(original.len()),
            chars,
        }
    }

    fn push(&mut self, c: char, index: u32) {
        self.text.push(c);
        self.origin.resize(self.text.len(), index);
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The original's characters, half-open, that `bytes` of this view came from.
    pub(crate) fn span(&self, bytes: &Range<usize>) -> [usize; 2] {
        let at = |byte: usize| self.origin.get(byte).copied().unwrap_or(self.chars) as usize;
        let start = at(bytes.start);
        if bytes.is_empty() {
            return [start, start];
        }
        [start, (at(bytes.end - 1) + 1).min(self.chars as usize)]
    }

    /// The same bytes with a digit between two letters read as the letter it stands for (`w0rk`), if there is any.
    /// Every replacement has the digit's own length, so the way back stays the same.
    pub(crate) fn unleeted(&self) -> Option<String> {
        let bytes = self.text.as_bytes();
        let mut out: Option<Vec<u8>> = None;
        for (i, window) in bytes.windows(3).enumerate() {
            let [before, digit, after] = window else { continue };
            if !before.is_ascii_alphabetic() || !after.is_ascii_alphabetic() {
                continue;
            }
            let letter = match digit {
                b'0' => b'o',
                b'1' => b'l',
                b'3' => b'e',
                b'4' | b'@' => b'a',
                b'5' | b'$' => b's',
                b'7' => b't',
                _ => continue,
            };
            if let Some(byte) = out.get_or_insert_with(|| bytes.to_vec()).get_mut(i + 1) {
                *byte = letter;
            }
        }
        out.and_then(|bytes| String::from_utf8(bytes).ok())
    }
}

/// A pattern's literal, folded as texts are.
pub(crate) fn fold(text: &str) -> String {
    View::folded(text).text
}

/// A regex whose non-ASCII characters are folded as texts are, so that `：` in a pattern still finds a colon.
///
/// Only a character that folds to one other character is replaced, and escaped where it would become an operator.
pub(crate) fn fold_pattern(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        let folded = if c.is_ascii() { None } else { single(c) };
        match folded {
            Some(f) if f != c => {
                if f.is_ascii_punctuation() {
                    out.push('\\');
                }
                out.push(f);
            }
            _ => out.push(c),
        }
    }
    out
}

fn single(c: char) -> Option<char> {
    let mut folded = Vec::new();
    fold_char(c, |f| folded.push(f));
    match folded.as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

fn fold_char(c: char, mut emit: impl FnMut(char)) {
    if c.is_ascii() {
        match c {
            '\t' | '\u{b}' | '\u{c}' | '\r' => emit(' '),
            _ => emit(c.to_ascii_lowercase()),
        }
        return;
    }
    // The bulk of Chinese text: nothing to fold.
    if matches!(c, '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{3001}' | '\u{3002}') {
        emit(c);
        return;
    }
    for compatible in std::iter::once(c).nfkc() {
        for lower in compatible.to_lowercase() {
            if is_invisible(lower) {
                continue;
            }
            if lower.is_whitespace() {
                emit(if matches!(lower, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}') { '\n' } else { ' ' });
                continue;
            }
            emit(look_alike(unaccented(lower)));
        }
    }
}

/// Zero-width, bidirectional, variation-selecting and combining characters.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{300}'..='\u{36f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{180b}'..='\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

fn unaccented(c: char) -> char {
    if matches!(c, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}') {
        return std::iter::once(c).nfd().next().unwrap_or(c);
    }
    c
}

/// Lower-case Cyrillic and Greek letters that are drawn like a Latin one.
const fn look_alike(c: char) -> char {
    match c {
        'а' | 'α' => 'a',
        'в' => 'b',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ё' | 'є' => 'e',
        'һ' => 'h',
        'і' | 'ї' | 'ι' | 'ı' => 'i',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'м' => 'm',
        'о' | 'ο' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'у' | 'γ' => 'y',
        'ѵ' | 'ν' => 'v',
        'ԝ' => 'w',
        'х' | 'χ' => 'x',
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn width_case_marks_and_look_alikes_fold_to_one() {
        assert_eq!(fold("Ｗｏｒｋ\u{3000} Order"), "work order");
        assert_eq!(fold("wо\u{200b}rk"), "work");
        assert_eq!(fold("４８０￥"), "480¥");
        assert_eq!(fold("Café"), "cafe");
        assert_eq!(fold("工\u{feff}单"), "工单");
    }

    #[test]
    fn a_span_is_told_in_the_original_and_covers_what_was_dropped() {
        let view = View::folded("按工\u{200b}单，好");
        let at = view.text().find("工单").unwrap();
        assert_eq!(view.span(&(at..at + "工单".len())), [1, 4]);
    }

    #[test]
    fn a_digit_between_letters_is_read_as_a_letter_and_a_price_is_not() {
        assert_eq!(View::folded("our w0rk order").unleeted().as_deref(), Some("our work order"));
        assert_eq!(View::folded("480元 a40b").unleeted(), None);
    }

    #[test]
    fn a_full_width_operator_in_a_pattern_stays_a_character() {
        assert_eq!(fold_pattern("思考[：（]."), r"思考[\:\(].");
    }

    proptest! {
        #[test]
        fn the_way_back_never_falls_and_stays_within(text in "\\PC*") {
            for view in [View::folded(&text), View::raw(&text)] {
                prop_assert_eq!(view.text.len(), view.origin.len());
                prop_assert!(view.origin.is_sorted());
                prop_assert!(view.origin.last().is_none_or(|last| *last < view.chars));
                let whole = view.span(&(0..view.text.len()));
                prop_assert!(whole[0] <= whole[1] && whole[1] <= text.chars().count());
            }
        }

        #[test]
        fn folding_twice_is_folding_once(text in "[ -~\u{4e00}-\u{4e20}０-９Ａ-Ｚ\u{200b}\u{3000}а-я]*") {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }
    }
}
