//! Cuts of one content at the borders of its own tokens.

use std::borrow::Cow;

/// Characters per token beyond which a content is not encoded. Except in long runs of spaces, a
/// token seldom exceeds a few characters. A cut that needs more text than this would be slow for a
/// long content, and keeps fewer tokens instead.
pub(crate) const TEXT_PER_TOKEN: usize = 16;

/// The text between the two ends of a content whose middle is left out.
pub(crate) const OMISSION: &str = " ... ";

/// The tokens of a content by itself.
pub(crate) trait Pieces {
    /// The tokens' ranges of characters in `text`, without special tokens of the tokenizer's own.
    fn pieces(&self, text: &str) -> Result<Vec<(usize, usize)>, String>;

    /// The number of the content's tokens; if the content is much too long for `limit` tokens,
    /// that of its end.
    fn count(&self, content: &str, limit: usize) -> Result<usize, String> {
        Ok(self.pieces(last_characters(content, limit.saturating_mul(TEXT_PER_TOKEN)))?.len())
    }
}

/// A content, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    pub(crate) text: Cow<'a, str>,
    /// Tokens of the text by itself.
    pub(crate) tokens: usize,
    /// Set if the text is not the whole content.
    pub(crate) cut: bool,
}

impl<'a> Fragment<'a> {
    pub(crate) const fn empty() -> Self {
        Self { text: Cow::Borrowed(""), tokens: 0, cut: true }
    }

    /// The first `most` tokens of the content.
    pub(crate) fn head(by: &impl Pieces, content: &'a str, most: usize) -> Result<Self, String> {
        let text = first_characters(content, most.saturating_mul(TEXT_PER_TOKEN));
        let pieces = by.pieces(text)?;
        let tokens = pieces.len().min(most);
        let text = match pieces.len() <= most {
            true => text,
            false => first_characters(text, most.checked_sub(1).map_or(0, |last| pieces[last].1)),
        };
        Ok(Self { text: text.into(), tokens, cut: text.len() < content.len() })
    }

    /// The last `most` tokens of the content.
    pub(crate) fn tail(by: &impl Pieces, content: &'a str, most: usize) -> Result<Self, String> {
        let text = last_characters(content, most.saturating_mul(TEXT_PER_TOKEN));
        let pieces = by.pieces(text)?;
        let tokens = pieces.len().min(most);
        let text = match pieces.len() <= most {
            true => text,
            false => after_characters(
                text,
                pieces.get(pieces.len() - most).map_or(usize::MAX, |piece| piece.0),
            ),
        };
        Ok(Self { text: text.into(), tokens, cut: text.len() < content.len() })
    }

    /// The whole content if it has at most `most` tokens; otherwise its first and last tokens,
    /// about as many of each, with [`OMISSION`] between them. If there is little room, only the
    /// last ones.
    pub(crate) fn ends(by: &impl Pieces, content: &'a str, most: usize) -> Result<Self, String> {
        let tail = Self::tail(by, content, most)?;
        let omission = by.pieces(OMISSION)?.len();
        if !tail.cut || most < 4 * omission {
            return Ok(tail);
        }
        let head = (most - omission) / 2;
        let tail = Self::tail(by, content, most - omission - head)?;
        let head = Self::head(by, content, head)?;
        let text = format!("{}{OMISSION}{}", head.text, tail.text);
        Ok(Self { text: text.into(), tokens: head.tokens + tail.tokens, cut: true })
    }
}

/// The first `count` characters of the text.
fn first_characters(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}

/// The text after its first `count` characters.
fn after_characters(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or("", |(start, _)| &text[start..])
}

/// The last `count` characters of the text.
fn last_characters(text: &str, count: usize) -> &str {
    match count.checked_sub(1) {
        None => "",
        Some(count) => {
            text.char_indices().nth_back(count).map_or(text, |(start, _)| &text[start..])
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One token for each run of letters or of anything else.
    struct Runs;

    impl Pieces for Runs {
        fn pieces(&self, text: &str) -> Result<Vec<(usize, usize)>, String> {
            let mut pieces: Vec<(usize, usize)> = Vec::new();
            let mut kind = None;
            for (place, letter) in text.chars().enumerate() {
                let letters = Some(letter.is_alphanumeric());
                match pieces.last_mut() {
                    Some(piece) if kind == letters => piece.1 = place + 1,
                    _ => pieces.push((place, place + 1)),
                }
                kind = letters;
            }
            Ok(pieces)
        }
    }

    #[test]
    fn contents_are_cut_at_token_borders() {
        let text = "one, two, três; four";
        let cut =
            |fragment: Fragment<'_>| (fragment.text.into_owned(), fragment.tokens, fragment.cut);
        assert_eq!(cut(Fragment::head(&Runs, text, 3).unwrap()), ("one, two".to_owned(), 3, true));
        assert_eq!(
            cut(Fragment::tail(&Runs, text, 3).unwrap()),
            ("três; four".to_owned(), 3, true)
        );
        assert_eq!(cut(Fragment::tail(&Runs, text, 7).unwrap()), (text.to_owned(), 7, false));
        assert_eq!(cut(Fragment::tail(&Runs, text, 0).unwrap()), (String::new(), 0, true));
        assert_eq!(cut(Fragment::head(&Runs, text, 0).unwrap()), (String::new(), 0, true));
        assert_eq!(
            cut(Fragment::ends(&Runs, text, 4).unwrap()),
            ("one ... ; four".to_owned(), 3, true)
        );
        assert_eq!(cut(Fragment::ends(&Runs, text, 7).unwrap()), (text.to_owned(), 7, false));
        assert_eq!(cut(Fragment::ends(&Runs, text, 3).unwrap()).0, "três; four");
    }

    #[test]
    fn a_huge_content_is_not_encoded_whole() {
        struct Bounded;
        impl Pieces for Bounded {
            fn pieces(&self, text: &str) -> Result<Vec<(usize, usize)>, String> {
                assert!(text.chars().count() <= 10 * TEXT_PER_TOKEN);
                Runs.pieces(text)
            }
        }
        let text = "wörter ".repeat(100_000);
        for most in 0..=10 {
            assert!(Fragment::ends(&Bounded, &text, most).unwrap().tokens <= most);
            assert!(Fragment::head(&Bounded, &text, most).unwrap().cut);
        }
        assert!(Bounded.count(&text, 10).unwrap() > 10);
    }

    proptest! {
        #[test]
        fn ends_are_parts_of_the_content(text in "[a-zé ,]{0,80}", most in 0usize..40) {
            let fragment = Fragment::ends(&Runs, &text, most).unwrap();
            prop_assert!(fragment.tokens <= most);
            prop_assert_eq!(fragment.cut, fragment.text != text);
            match fragment.text.split_once(OMISSION) {
                Some((head, tail)) => prop_assert!(text.starts_with(head) && text.ends_with(tail)),
                None => prop_assert!(text.ends_with(&*fragment.text)),
            }
        }
    }
}
