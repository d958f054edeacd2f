//! A folded text with its numbers in digits: `deal - 480` for `deal - four hundred eighty`. A regex
//! that captures a number reads every spelling of it there.

use std::fmt::Write as _;
use std::ops::Range;

use super::TextNumbers;

/// A folded text with its numbers in digits, and its map to the folded text.
#[derive(Debug, Default)]
pub(crate) struct FiguredText {
    text: String,
    numbers: Vec<WrittenNumber>,
}

/// A number that was written in digits.
#[derive(Debug, Clone, Copy)]
struct WrittenNumber {
    /// The digits, in bytes of this text.
    digits: [usize; 2],
    /// The number, in bytes of the folded text.
    folded: [usize; 2],
}

impl FiguredText {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns true if a number was written in digits.
    pub(crate) const fn is_changed(&self) -> bool {
        !self.numbers.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.numbers.clear();
    }

    /// Replaces the contents by `folded` with those of `numbers` in digits that are written in
    /// another way. A range in one word (四五百), a share (百分之十五), a negative number and a single
    /// numeral stay as they are.
    pub(crate) fn read(&mut self, folded: &str, numbers: &TextNumbers) {
        self.clear();
        let all = &numbers.numbers;
        let mut end = 0;
        for (index, number) in all.iter().enumerate() {
            let Range { start, end: after } = number.bytes;
            let is_same = |other: Option<usize>| {
                other.and_then(|at| all.get(at)).is_some_and(|other| other.bytes.start == start)
            };
            let is_amount = !number.bare && number.built_in.is_none() && number.value >= 0.0;
            let written = folded.get(number.bytes.clone()).unwrap_or_default();
            if !is_amount
                || start < end
                || is_same(index.checked_sub(1))
                || is_same(Some(index + 1))
                || is_figure(written, number.value)
            {
                continue;
            }
            self.text.push_str(folded.get(end..start).unwrap_or_default());
            let at = self.text.len();
            // A display of a float has no exponent.
            let _ = write!(self.text, "{}", number.value);
            self.numbers
                .push(WrittenNumber { digits: [at, self.text.len()], folded: [start, after] });
            end = after;
        }
        if self.is_changed() {
            self.text.push_str(folded.get(end..).unwrap_or_default());
        }
    }

    /// The bytes of the folded text that `bytes` came from.
    pub(crate) fn folded_bytes(&self, bytes: &Range<usize>) -> Option<Range<usize>> {
        Some(self.folded_byte(bytes.start, false)?..self.folded_byte(bytes.end, true)?)
    }

    /// Returns true if `bytes` contain a number that was written in digits.
    pub(crate) fn is_figured(&self, bytes: &Range<usize>) -> bool {
        let first = self.numbers.partition_point(|number| number.digits[0] < bytes.start);
        self.numbers.get(first).is_some_and(|number| number.digits[1] <= bytes.end)
    }

    /// Returns true if `bytes` of the folded text share a byte with a number that was written in
    /// digits.
    pub(crate) fn is_part(&self, bytes: &Range<usize>) -> bool {
        let next = self.numbers.partition_point(|number| number.folded[1] <= bytes.start);
        self.numbers.get(next).is_some_and(|number| number.folded[0] < bytes.end)
    }

    /// The byte of the folded text at `byte`. `None` within digits.
    fn folded_byte(&self, byte: usize, is_end: bool) -> Option<usize> {
        let after = self.numbers.partition_point(|number| {
            if is_end { number.digits[0] < byte } else { number.digits[0] <= byte }
        });
        let Some(number) = after.checked_sub(1).and_then(|last| self.numbers.get(last)) else {
            return Some(byte);
        };
        let WrittenNumber { digits: [start, end], folded } = *number;
        match byte {
            _ if byte >= end => Some(folded[1] + (byte - end)),
            _ if byte == start => Some(folded[0]),
            _ => None,
        }
    }
}

/// Returns true if a number is written in plain digits, perhaps grouped by commas.
fn is_figure(written: &str, value: f64) -> bool {
    let digits: String = written.chars().filter(|c| *c != ',').collect();
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.parse::<f64>().is_ok_and(|read| read.total_cmp(&value).is_eq())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::normalise::FoldedText;
    use crate::text::number::tests::in_words;
    use crate::text::number::{TextNumbers, Units};

    fn figured(text: &str) -> (String, FiguredText) {
        let (mut view, mut units) = (FoldedText::default(), Units::default());
        view.read_folded(text);
        units.intern_all(["元", "$", "折", "%"].map(str::to_owned));
        let mut numbers = TextNumbers::default();
        numbers.scan(view.number_text(), &view.numerals, &units, || false);
        let mut figured = FiguredText::default();
        figured.read(view.text(), &numbers);
        (view.text().to_owned(), figured)
    }

    #[test]
    fn numbers_in_words_are_written_in_digits() {
        for (text, wanted) in [
            ("deal - four hundred eighty.", "deal - 480."),
            ("四百八可以", "480可以"),
            ("就4百80元，或1.2万元", "就480元,或12000元"),
            ("420块5毛成交", "420.5成交"),
            ("$2 million, ok", "$2000000, ok"),
        ] {
            assert_eq!(figured(text).1.text(), wanted, "{text}");
        }
        for text in ["480元，1,200元", "四五百块", "百分之十五", "-50元", "一个", "打八五折"]
        {
            let (_, figured) = figured(text);
            assert!(!figured.is_changed() || text.contains('折'), "{text}: {}", figured.text());
        }
    }

    proptest! {
        #[test]
        fn every_place_outside_of_digits_leads_back(
            parts in prop::collection::vec(("[a-c，工 ]{0,6}", 11_u32..99_999), 1..5),
        ) {
            let text: String =
                parts.iter().map(|(between, value)| between.clone() + &in_words(*value)).collect();
            let (folded, figured) = figured(&text);
            for (at, c) in figured.text().char_indices().filter(|(_, c)| !c.is_ascii_digit()) {
                let bytes = figured.folded_bytes(&(at..at + c.len_utf8())).unwrap();
                prop_assert!(folded[bytes].starts_with(c));
            }
            for number in &figured.numbers {
                let [start, end] = number.digits;
                let bytes = figured.folded_bytes(&(start..end)).unwrap();
                prop_assert_eq!(bytes, number.folded[0]..number.folded[1]);
                prop_assert!(figured.is_figured(&(start..end)));
                prop_assert!(end - start < 2 || figured.folded_bytes(&(start + 1..end)).is_none());
            }
        }
    }
}
