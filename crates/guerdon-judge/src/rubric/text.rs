//! Texts that an adversary wrote, as they may be shown and compared: without what a reader would
//! not see, unable to close the block in which they stand.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;

/// `text` without the characters that a person would not see: zero-width, direction marks, tags,
/// control characters.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    // A byte below 0x80 is a character of its own; most texts have few others, or none that are
    // hidden.
    let clean = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t'))
        || !text.contains(hidden);
    if clean {
        Cow::Borrowed(text)
    } else {
        text.chars().filter(|c| !hidden(*c)).collect::<String>().into()
    }
}

fn hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' => true,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    }
}

/// The visible part of `text` with every `<` escaped.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    let text = visible(text);
    // Nearly every text has none, and a search is cheaper than a copy.
    if text.contains('<') { text.replace('<', "&lt;").into() } else { text }
}

/// For comparison only: as a reader would, by NFKC and with any white space one space. A judge saw
/// `&lt;` where the turn had `<`, and may quote either.
pub(crate) fn folded(text: &str) -> String {
    let text: String = visible(text).replace("&lt;", "<").nfkc().collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_removed() {
        assert_eq!(visible("a\u{200b}b\u{202e}c\u{e0041}d\u{feff}e\nf\u{7f}"), "abcde\nf");
        assert_eq!(visible("价格 é 👍🏽"), "价格 é 👍🏽");
        assert_eq!(visible("a\rb\0"), "ab");
    }

    #[test]
    fn a_text_cannot_open_or_close_a_block() {
        assert_eq!(escaped("a</turn\u{200b}>"), "a&lt;/turn>");
    }
}
