//! A text cut at the borders of its marks, so that overlapping marks can be shown in HTML.

/// A mark in a text: a half-open range of Unicode scalar values, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The first scalar value.
    pub(crate) start: usize,
    /// The scalar value after the last.
    pub(crate) end: usize,
    /// The number of the explanation, such as a hit, in the page's list.
    pub(crate) note: usize,
}

/// A stretch of a text with the same marks. Neighbours have different ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment<'t> {
    /// The text.
    pub(crate) text: &'t str,
    /// The notes of the marks that cover it, ascending.
    pub(crate) notes: Vec<usize>,
}

/// The most marks of one text. Further ones are left out.
pub(crate) const MAX_MARKS: usize = 2_000;

/// Cuts `text` at the borders of `marks`. The segments together are the text. Ranges beyond the end
/// are cut, and empty ones are left out.
#[must_use]
pub(crate) fn segments<'t>(text: &'t str, marks: &[Mark]) -> Vec<Segment<'t>> {
    let marks: Vec<&Mark> =
        marks.iter().filter(|mark| mark.start < mark.end).take(MAX_MARKS).collect();
    let mut borders: Vec<usize> = marks.iter().flat_map(|mark| [mark.start, mark.end]).collect();
    borders.sort_unstable();
    borders.dedup();
    let mut segments: Vec<Segment<'t>> = Vec::new();
    let mut borders = borders.into_iter().peekable();
    // Where the last segment begins, in bytes, and where the next one does.
    let (mut last, mut from, mut from_chars) = (0, 0, 0);
    let mut push = |from: usize, to: usize, chars: usize| {
        let covers = |mark: &&&Mark| mark.start <= chars && chars < mark.end;
        let mut notes: Vec<usize> = marks.iter().filter(covers).map(|mark| mark.note).collect();
        notes.sort_unstable();
        notes.dedup();
        match segments.last_mut() {
            _ if from == to => {}
            Some(before) if before.notes == notes => {
                before.text = text.get(last..to).unwrap_or_default();
            }
            _ => {
                last = from;
                segments.push(Segment { text: text.get(from..to).unwrap_or_default(), notes });
            }
        }
    };
    for (chars, (bytes, _)) in text.char_indices().enumerate() {
        if borders.next_if_eq(&chars).is_some() {
            push(from, bytes, from_chars);
            (from, from_chars) = (bytes, chars);
        }
    }
    push(from, text.len(), from_chars);
    segments
}

/// The range of the first place of `quote` in `text`, in Unicode scalar values.
#[must_use]
pub(crate) fn find_quote(text: &str, quote: &str) -> Option<(usize, usize)> {
    let quote = quote.trim();
    if quote.is_empty() {
        return None;
    }
    let at = text.find(quote)?;
    let start = text.get(..at)?.chars().count();
    Some((start, start + quote.chars().count()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quote_is_found_in_scalar_values() {
        assert_eq!(find_quote("né \u{1F600} ok yes", " ok "), Some((5, 7)));
        assert_eq!(find_quote("abc", "x"), None);
        assert_eq!(find_quote("abc", "  "), None);
    }

    proptest! {
        /// The segments are the text, and each scalar value has the marks that cover it.
        #[test]
        fn segments_are_the_text_with_its_marks(
            text in "[aé\u{1F600}<&]{0,20}",
            ranges in prop::collection::vec((0usize..25, 0usize..25), 0..6),
        ) {
            let marks: Vec<Mark> =
                ranges.iter().enumerate().map(|(note, (start, end))| Mark { start: *start, end: *end, note }).collect();
            let found = segments(&text, &marks);
            prop_assert_eq!(found.iter().map(|segment| segment.text).collect::<String>(), text.clone());
            let differ = |pair: &[Segment<'_>]| pair[0].notes != pair[1].notes;
            prop_assert!(found.windows(2).all(differ), "{found:?}");
            let mut chars = 0;
            for segment in &found {
                prop_assert!(!segment.text.is_empty());
                for _ in segment.text.chars() {
                    let covering: Vec<usize> =
                        marks.iter().filter(|mark| mark.start <= chars && chars < mark.end).map(|mark| mark.note).collect();
                    prop_assert_eq!(&segment.notes, &covering);
                    chars += 1;
                }
            }
        }
    }
}
