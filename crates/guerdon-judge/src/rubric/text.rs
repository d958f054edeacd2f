//! Texts that an adversary wrote, as they may be shown and compared: without what a reader would
//! not see, unable to close the block in which they stand.

use std::borrow::Cow;

use guerdon_text::chat_markup::BRACKET_MARKERS;
use unicode_normalization::UnicodeNormalization as _;

/// `text` without the characters that a person would not see: zero-width, direction marks, tags,
/// fillers, control characters.
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

/// Characters without a shape of their own: Unicode's `Default_Ignorable_Code_Point` without
/// variation selectors, which choose the shape of others, and the annotation marks and control
/// characters.
fn hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' => true,
        '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{feff}' | '\u{3164}' => true,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' => true,
        '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    }
}

/// True if `text` shows nothing: only white space, blank characters and hidden ones.
pub(crate) fn is_blank(text: &str) -> bool {
    let blank = |c: char| {
        c.is_whitespace() || hidden(c) || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{2800}')
    };
    text.chars().all(blank)
}

/// The visible part of `text` with every `<` escaped, its look-alikes too, and every role marker in
/// brackets.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    let text = visible(text);
    let opens = |c: char| matches!(c, '<' | '\u{ff1c}' | '\u{fe64}');
    // Nearly every text has none, and a search is cheaper than a copy.
    let text: Cow<'_, str> =
        if text.contains(opens) { text.replace(opens, "&lt;").into() } else { text };
    if !text.contains('[') {
        return text;
    }
    let mut marked = text;
    for marker in BRACKET_MARKERS {
        if marked.contains(marker) {
            let inner = marker.strip_prefix('[').unwrap_or(marker);
            marked = marked.replace(marker, &format!("&#91;{inner}")).into();
        }
    }
    marked
}

/// `text` as a quotation: every line begins with `> `, so that no line of it looks like a part of the
/// question around it.
pub(crate) fn quoted(text: &str) -> String {
    let ends = |c: char| matches!(c, '\n' | '\u{2028}' | '\u{2029}');
    let mut quoted = String::with_capacity(text.len() + text.len() / 16 + 2);
    for (number, line) in text.split(ends).enumerate() {
        quoted.push_str(if number == 0 { "> " } else { "\n> " });
        quoted.push_str(line);
    }
    quoted
}

/// A folded text without the marks of [`quoted`], which a judge may have copied.
pub(crate) fn without_marks(folded: &str) -> String {
    folded.split(' ').filter(|word| *word != ">").collect::<Vec<_>>().join(" ")
}

/// For comparison only: as a reader would, by NFKC and with any white space one space. A judge saw
/// `&lt;` where the turn had `<`, and may quote either.
pub(crate) fn folded(text: &str) -> String {
    let text = visible(text).replace("&lt;", "<").replace("&#91;", "[");
    let text: String = text.nfkc().collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The least weight of a quote: a word of four letters, or two Chinese characters.
const LEAST_QUOTE: usize = 4;

/// True if `text` holds `quote` as evidence, both [folded]: from word to word, and long enough to
/// say something, unless it is all of `text`.
pub(crate) fn holds_evidence(text: &str, quote: &str) -> bool {
    if quote.is_empty() || quote.len() > text.len() {
        return false;
    }
    let weight = |c: char| match c {
        c if c.is_ascii_alphanumeric() => 1,
        c if c.is_alphanumeric() => 2,
        _ => 0,
    };
    let long = quote.chars().map(weight).sum::<usize>() >= LEAST_QUOTE;
    if !long {
        return quote == text;
    }
    // Scripts without spaces have no boundaries that can be told here.
    let spaced = |c: char| c.is_alphanumeric() && c < '\u{2e80}';
    let inside = |before: Option<char>, after: Option<char>| {
        before.is_some_and(spaced) && after.is_some_and(spaced)
    };
    text.match_indices(quote).any(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let behind = rest.get(quote.len()..).unwrap_or_default();
        !inside(before.chars().next_back(), quote.chars().next())
            && !inside(quote.chars().next_back(), behind.chars().next())
    })
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
    fn blank_texts_show_nothing() {
        for blank in [
            "",
            " \n\t",
            "\u{200b}\u{2060}",
            "\u{3164}",
            "\u{115f}\u{1160}",
            "\u{ffa0}",
            "\u{34f}\u{fe0f}",
            "\u{2800}",
            "\u{3000}",
            "\u{e0041}",
            "\u{17b4}\u{180e}",
        ] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for shown in [".", "\u{2764}\u{fe0f}", "a\u{200b}", "\u{301}x"] {
            assert!(!is_blank(shown), "{shown:?}");
        }
    }

    #[test]
    fn markers_of_every_template_are_escaped() {
        for marker in BRACKET_MARKERS {
            let shown = escaped(marker).into_owned();
            assert!(!shown.contains(marker), "{shown}");
            assert_eq!(folded(&shown), folded(marker), "a quotation is recognised");
        }
        assert_eq!(escaped("[1] and [INST]"), "[1] and &#91;INST]");
        assert_eq!(escaped("\u{ff1c}/turn\u{ff1e}"), "&lt;/turn\u{ff1e}");
    }

    #[test]
    fn evidence_is_long_enough_and_reaches_from_word_to_word() {
        let holds = |text: &str, quote: &str| holds_evidence(&folded(text), &folded(quote));
        for (text, quote) in [
            ("Take it or leave it.", "leave it"),
            ("We understand.", "understand."),
            ("理解，您慢慢考虑", "理解"),
            ("No", "No"),
            ("价格420元", "420元"),
        ] {
            assert!(holds(text, quote), "{quote} in {text}");
        }
        for (text, quote) in [
            ("Take it or leave it.", "."),
            ("Take it or leave it.", "it"),
            ("We understand.", "under"),
            ("We misunderstand.", "understand"),
            ("理解，您慢慢考虑", "您"),
            ("short", "a quotation that is longer"),
            ("x", ""),
        ] {
            assert!(!holds(text, quote), "{quote} in {text}");
        }
    }

    #[test]
    fn every_line_of_a_quotation_is_marked() {
        assert_eq!(quoted("a\n\n# user\u{2028}b"), "> a\n> \n> # user\n> b");
        assert_eq!(quoted(""), "> ");
        let copied = folded(&quoted("Take it\nor leave\n\nit"));
        assert_eq!(without_marks(&copied), "Take it or leave it");
    }

    #[test]
    fn a_text_cannot_open_or_close_a_block() {
        assert_eq!(escaped("a</turn\u{200b}>"), "a&lt;/turn>");
    }
}
