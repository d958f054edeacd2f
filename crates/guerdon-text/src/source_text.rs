//! A text with the name under which diagnostics report it.

use std::ops::Range;

use crate::excerpt::floor_char_boundary;
use crate::hash::content_hash;

/// A text, such as a rule pack or a rubric, and its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SourceText {
    /// The name shown in reports, such as `rules/guardrails.yaml`.
    pub name: String,
    /// The text as its author wrote it.
    pub text: String,
}

impl SourceText {
    /// A text called `name`.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// The line and column of the byte `offset`. An offset beyond the text counts as its end, one
    /// inside a character as that character's start.
    #[must_use]
    pub fn location(&self, offset: usize) -> Location {
        LineIndex::new(&self.text).location(offset)
    }

    /// The hash of the text, as [`content_hash`] writes it. The name is not part of it.
    #[must_use]
    pub fn content_hash(&self) -> String {
        content_hash(&self.text)
    }
}

/// A position in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1 in Unicode scalar values.
    pub column: usize,
}

/// The line in which a span starts.
#[derive(Debug, Clone)]
pub(crate) struct Line<'a> {
    pub(crate) location: Location,
    /// The line without its end.
    pub(crate) text: &'a str,
    /// The part of the span that falls in this line, in bytes of `text`.
    pub(crate) span: Range<usize>,
}

/// The starts of the lines of a text. Finding a line then takes time that does not depend on the
/// length of the text.
#[derive(Debug)]
pub(crate) struct LineIndex<'a> {
    source: &'a str,
    /// Byte offsets, ascending. The first is 0.
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        let ends = source.match_indices('\n').map(|(at, _)| at + 1);
        Self { source, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// The line and column of a byte. An offset beyond the text counts as its end.
    pub(crate) fn location(&self, offset: usize) -> Location {
        self.line(&(offset..offset)).location
    }

    /// Finds the line in which `span`, a byte range of the text, starts. Accepts any span: it is
    /// clamped to the text and to character boundaries, and an end before its start counts as the
    /// start.
    pub(crate) fn line(&self, span: &Range<usize>) -> Line<'a> {
        let start = floor_char_boundary(self.source, span.start);
        let line = self.starts.partition_point(|line_start| *line_start <= start);
        let line_start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let end = self.starts.get(line).copied().unwrap_or(self.source.len());
        let whole = self.source.get(line_start..end).unwrap_or_default();
        let text = whole.trim_end_matches('\n').trim_end_matches('\r');
        let from = (start - line_start).min(text.len());
        let to = floor_char_boundary(text, span.end.saturating_sub(line_start)).max(from);
        let before = self.source.get(line_start..start).unwrap_or_default();
        let location = Location { line, column: before.chars().count() + 1 };
        Line { location, text, span: from..to }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let text = SourceText::new("a", "一\n二三 pints\n");
        assert_eq!(text.location(0), Location { line: 1, column: 1 });
        assert_eq!(text.location(11), Location { line: 2, column: 4 });
        assert_eq!(text.location(5), Location { line: 2, column: 1 }, "inside 二");
        assert_eq!(text.location(999), Location { line: 3, column: 1 });
    }

    #[test]
    fn a_span_over_two_lines_keeps_the_part_in_the_first() {
        let line = LineIndex::new("ab\r\ncd").line(&(1..6));
        assert_eq!((line.text, line.span), ("ab", 1..2));
    }

    proptest! {
        #[test]
        fn any_span_is_clamped_to_its_line(text in "[a一é\r\n ]{0,24}", start: u8, end: u8) {
            let span = Range { start: usize::from(start % 99), end: usize::from(end % 99) };
            let line = LineIndex::new(&text).line(&span);
            prop_assert!(line.text.get(line.span.clone()).is_some());
            prop_assert!(!line.text.contains('\n'));
            let before = text.get(..floor_char_boundary(&text, span.start)).unwrap();
            prop_assert_eq!(line.location.line, before.matches('\n').count() + 1);
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
            prop_assert_eq!(line.location.column, column);
        }
    }
}
