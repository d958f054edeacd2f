//! Positions of the protocol, and bytes of a text.

use std::ops::Range;

use guerdon_text::FixRange;
use ls_types::{Position, PositionEncodingKind, Range as PositionRange};

/// The unit in which a client counts the characters of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf16,
    Utf32,
}

impl Encoding {
    /// The first known one of those that the client offers; UTF-16 if it offers none.
    pub(crate) fn negotiated(offered: Option<&[PositionEncodingKind]>) -> Self {
        let known = |kind: &PositionEncodingKind| match kind.as_str() {
            "utf-8" => Some(Self::Utf8),
            "utf-16" => Some(Self::Utf16),
            "utf-32" => Some(Self::Utf32),
            _ => None,
        };
        offered.unwrap_or_default().iter().find_map(known).unwrap_or(Self::Utf16)
    }

    pub(crate) const fn kind(self) -> PositionEncodingKind {
        match self {
            Self::Utf8 => PositionEncodingKind::UTF8,
            Self::Utf16 => PositionEncodingKind::UTF16,
            Self::Utf32 => PositionEncodingKind::UTF32,
        }
    }

    /// The length of a character.
    const fn length(self, c: char) -> usize {
        match self {
            Self::Utf8 => c.len_utf8(),
            Self::Utf16 => c.len_utf16(),
            Self::Utf32 => 1,
        }
    }
}

/// A text with the starts of its lines. A line ends with LF, CR LF or CR, as in the protocol.
#[derive(Debug)]
pub(crate) struct IndexedText {
    pub(crate) text: String,
    /// The first is 0.
    starts: Vec<usize>,
    /// The starts of the lines that end with LF, which reports of guerdon count.
    feeds: Vec<usize>,
    encoding: Encoding,
}

impl IndexedText {
    pub(crate) fn new(text: String, encoding: Encoding) -> Self {
        let bytes = text.as_bytes();
        let (mut starts, mut feeds) = (vec![0], vec![0]);
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' => {
                    starts.push(at + 1);
                    feeds.push(at + 1);
                }
                b'\r' if bytes.get(at + 1) != Some(&b'\n') => starts.push(at + 1),
                _ => {}
            }
        }
        Self { text, starts, feeds, encoding }
    }

    /// The line that starts at `start`, without its end.
    fn line_from(&self, start: usize) -> &str {
        let rest = self.text.get(start..).unwrap_or_default();
        rest.split(['\n', '\r']).next().unwrap_or_default()
    }

    /// The position of a byte. One beyond the text counts as its end.
    pub(crate) fn position(&self, byte: usize) -> Position {
        let byte = guerdon_text::floor_char_boundary(&self.text, byte);
        let line = self.starts.partition_point(|start| *start <= byte).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or_default();
        let before = self.text.get(start..byte).unwrap_or_default();
        let character = before.chars().map(|c| self.encoding.length(c)).sum();
        Position::new(small(line), small(character))
    }

    pub(crate) fn range(&self, bytes: &Range<usize>) -> PositionRange {
        PositionRange::new(self.position(bytes.start), self.position(bytes.end))
    }

    /// The byte at a position. A character beyond its line counts as the line's end, a line beyond
    /// the text as the text's end, and a position inside a character as the character's start.
    pub(crate) fn byte(&self, position: Position) -> usize {
        let Some(start) = self.starts.get(position.line as usize) else { return self.text.len() };
        let line = self.line_from(*start);
        let wanted = position.character as usize;
        let mut passed = 0;
        for (at, c) in line.char_indices() {
            passed += self.encoding.length(c);
            if passed > wanted {
                return start + at;
            }
        }
        start + line.len()
    }

    /// The byte at a line and a column of a report, which count from 1, the columns in Unicode
    /// scalar values.
    pub(crate) fn reported(&self, line: usize, column: usize) -> usize {
        let Some(start) = self.feeds.get(line.saturating_sub(1)) else { return self.text.len() };
        let rest = self.text.get(*start..).unwrap_or_default();
        let rest = rest.split('\n').next().unwrap_or_default();
        rest.char_indices()
            .nth(column.saturating_sub(1))
            .map_or(start + rest.len(), |(at, _)| start + at)
    }

    pub(crate) fn reported_range(&self, range: FixRange) -> Range<usize> {
        let start = self.reported(range.line, range.column);
        start..self.reported(range.end_line, range.end_column).max(start)
    }
}

fn small(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use guerdon_text::SourceText;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn characters_count_in_the_units_of_the_client() {
        for (encoding, column) in [(Encoding::Utf8, 7), (Encoding::Utf16, 3), (Encoding::Utf32, 2)]
        {
            let text = IndexedText::new("a\n价😀x".to_owned(), encoding);
            assert_eq!(text.position(9), Position::new(1, column), "{encoding:?}");
            assert_eq!(text.byte(Position::new(1, column)), 9);
        }
    }

    #[test]
    fn the_first_known_encoding_of_the_client_is_taken() {
        let offered = [
            PositionEncodingKind::new("utf-7"),
            PositionEncodingKind::UTF32,
            PositionEncodingKind::UTF8,
        ];
        assert_eq!(Encoding::negotiated(Some(&offered)), Encoding::Utf32);
        assert_eq!(Encoding::negotiated(Some(&[])), Encoding::Utf16);
        assert_eq!(Encoding::negotiated(None), Encoding::Utf16);
    }

    fn encodings() -> impl Strategy<Value = Encoding> {
        prop_oneof![Just(Encoding::Utf8), Just(Encoding::Utf16), Just(Encoding::Utf32)]
    }

    proptest! {
        #[test]
        fn bytes_and_positions_are_inverse(text in "[a价😀\r\n]{0,30}", encoding in encodings()) {
            let indexed = IndexedText::new(text.clone(), encoding);
            for (at, c) in text.char_indices() {
                // No position is between the CR and the LF of one line end.
                if c != '\n' || !text[..at].ends_with('\r') {
                    prop_assert_eq!(indexed.byte(indexed.position(at)), at);
                }
            }
        }

        #[test]
        fn any_position_is_a_boundary(
            text in "[a价😀\r\n]{0,30}", encoding in encodings(), line in 0_u32..9, character: u32,
        ) {
            let indexed = IndexedText::new(text.clone(), encoding);
            let byte = indexed.byte(Position::new(line, character % 40));
            prop_assert!(text.is_char_boundary(byte));
        }

        #[test]
        fn reported_places_are_those_of_the_report(text in "[a价😀\r\n]{0,30}", at in 0_usize..60) {
            let indexed = IndexedText::new(text.clone(), Encoding::Utf16);
            let at = guerdon_text::floor_char_boundary(&text, at);
            let place = SourceText::new("a", text).location(at);
            prop_assert_eq!(indexed.reported(place.line, place.column), at);
        }
    }
}
