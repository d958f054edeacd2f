//! Shows how rules read a text: the numbers in it, and the pattern that is compared with it.

use std::cell::OnceCell;

use crate::engine::pattern::fold_pattern;
use crate::text::literals::LiteralHits;
use crate::text::near::Surroundings;
use crate::text::normalise::{FoldedText, fold};
use crate::text::number::{NumberSpec, TextNumbers, Units};

/// A number in a text, as `number:` reads it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NumberReading {
    /// The number and its unit, as a half-open range of Unicode scalar values.
    pub span: [usize; 2],
    /// The value.
    pub value: f64,
    /// The lower end of its range; otherwise the value.
    pub low: f64,
    /// The upper end of its range; otherwise the value.
    pub high: f64,
    /// The unit, folded.
    pub unit: Option<String>,
    /// The discount in percent that the number states.
    pub percent_off: Option<f64>,
}

/// The numbers of `text`, with the unit among `units` next to each.
#[must_use]
pub fn read_numbers(text: &str, units: &[String]) -> Vec<NumberReading> {
    let mut known = Units::default();
    let spec = NumberSpec {
        units: known.intern_all(units.iter().map(|unit| fold(unit)).filter(|u| !u.is_empty())),
        optional: true,
        ..NumberSpec::default()
    };
    let mut view = FoldedText::default();
    view.read_folded(text);
    let mut numbers = TextNumbers::default();
    numbers.scan(view.number_text(), &view.numerals, &known, || false);
    let (found, sentences) = (LiteralHits::default(), OnceCell::new());
    let around = Surroundings { text: view.text(), found: &found, sentences: &sentences };
    let captures = spec.captures(&numbers, &known, around);
    captures
        .map(|capture| NumberReading {
            span: view.span(text, &capture.bytes),
            value: capture.value,
            low: capture.low,
            high: capture.high,
            unit: capture.unit.map(str::to_owned),
            percent_off: capture.percent_off(),
        })
        .collect()
}

/// The regex `pattern` with its characters folded as texts are folded.
#[must_use]
pub fn folded_pattern(pattern: &str) -> String {
    fold_pattern(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_shown_with_its_span_unit_and_range() {
        let units = ["元".to_owned(), "折".to_owned()];
        let read = read_numbers("好，四百二十元到４８０元，8折，3晚", &units);
        let shown: Vec<_> = read
            .iter()
            .map(|n| (n.span, n.value, n.low, n.high, n.unit.as_deref(), n.percent_off))
            .collect();
        assert_eq!(
            shown,
            [
                ([2, 7], 420.0, 420.0, 480.0, Some("元"), None),
                ([8, 12], 480.0, 420.0, 480.0, Some("元"), None),
                ([13, 15], 8.0, 8.0, 8.0, Some("折"), Some(20.0)),
                ([16, 17], 3.0, 3.0, 3.0, None, None),
            ]
        );
    }

    #[test]
    fn a_pattern_is_shown_folded() {
        assert_eq!(folded_pattern("目標：[0-9]+"), r"目标\:[0-9]+");
    }
}
