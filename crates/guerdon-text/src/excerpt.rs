//! Bounded excerpts of untrusted text, for error messages and logs.

use std::borrow::Cow;

/// Longest text that [`quote`] shows, in characters.
const QUOTED_CHARS: usize = 60;

/// Shortens `text` to its first `max_chars` characters, followed by `…`. A text that is not longer
/// is returned unchanged.
///
/// ```
/// assert_eq!(guerdon_text::cut("价格 480", 2), "价格…");
/// assert_eq!(guerdon_text::cut("480", 3), "480");
/// ```
#[must_use]
pub fn cut(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars).and_then(|(end, _)| text.get(..end)) {
        Some(start) => Cow::Owned(format!("{start}…")),
        None => Cow::Borrowed(text),
    }
}

/// Quotes `text` in backticks on one line, at most 60 of its characters. Control characters are
/// escaped, so that the text can neither break the line nor change a terminal's state.
///
/// ```
/// assert_eq!(guerdon_text::quote("a\nb"), r"`a\nb`");
/// ```
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    for c in cut(text, QUOTED_CHARS).chars() {
        if c.is_control() {
            quoted.extend(c.escape_default());
        } else {
            quoted.push(c);
        }
    }
    quoted.push('`');
    quoted
}

/// The largest character boundary of `text` that is at most `offset`.
#[must_use]
pub fn floor_char_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quote_is_bounded_and_escapes_control_characters() {
        assert_eq!(quote("\u{1b}[31mred"), "`\\u{1b}[31mred`");
        assert_eq!(quote(&"价".repeat(500)).chars().count(), 2 + QUOTED_CHARS + 1);
    }

    proptest! {
        #[test]
        fn cut_keeps_the_start_and_its_bound(text in "\\PC{0,20}", max in 0_usize..24) {
            let short = cut(&text, max);
            prop_assert!(short.chars().count() <= max + 1);
            prop_assert!(text.starts_with(short.strip_suffix('…').unwrap_or(&short)));
        }

        #[test]
        fn the_floor_is_a_boundary(text in "\\PC{0,8}", offset in 0_usize..50) {
            let floor = floor_char_boundary(&text, offset);
            prop_assert!(text.is_char_boundary(floor) && floor <= offset);
            prop_assert!(offset.min(text.len()) - floor < 4);
        }
    }
}
