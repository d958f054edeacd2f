//! Numbers with a unit: one scan of a text finds every number; each number rule then asks for its units and words.
//!
//! Reads folded text, so full-width digits and commas are plain ones by now. `1,200`, `1200.50`, `1.2万`, `3k`.

use std::ops::Range;

/// A number in a folded text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Number {
    /// Its value, magnitude (千, 万, 亿, k) included.
    pub(crate) value: f64,
    /// Its digits and magnitude, in bytes.
    pub(crate) bytes: Range<usize>,
}

/// Which numbers a rule asks for. All texts are folded; `units` longest first.
#[derive(Debug, Clone)]
pub(crate) struct NumberSpec {
    pub(crate) units: Vec<String>,
    pub(crate) near: Vec<String>,
    pub(crate) not_near: Vec<String>,
    pub(crate) within: usize,
}

/// A number that fits a [`NumberSpec`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Capture {
    pub(crate) value: f64,
    pub(crate) unit: Option<String>,
    /// Number and unit, in bytes.
    pub(crate) bytes: Range<usize>,
}

impl Capture {
    /// Percent off the full price: `85折` and `8.5折` are 15, `15%` is 15.
    pub(crate) fn percent_off(&self) -> Option<f64> {
        match self.unit.as_deref() {
            Some("%") => Some(self.value),
            Some("折") if self.value <= 10.0 => Some(100.0 - 10.0 * self.value),
            Some("折") => Some(100.0 - self.value),
            _ => None,
        }
    }
}

/// Every number in `text`.
pub(crate) fn scan(text: &str) -> Vec<Number> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let whole = digits(at);
        if whole == 0 {
            at += 1;
            continue;
        }
        let start = at;
        at += whole;
        if whole <= 3 {
            while bytes.get(at) == Some(&b',') && digits(at + 1) == 3 {
                at += 4;
            }
        }
        if bytes.get(at) == Some(&b'.') && digits(at + 1) > 0 {
            at += 1 + digits(at + 1);
        }
        let written: String = text.get(start..at).unwrap_or_default().chars().filter(|c| *c != ',').collect();
        let (times, length) = magnitude(text.get(at..).unwrap_or_default());
        at += length;
        // Longer than any price: an identifier. f64 would not keep its digits either.
        if let (true, Ok(value)) = (written.len() <= 15, written.parse::<f64>()) {
            found.push(Number { value: value * times, bytes: start..at });
        }
    }
    found
}

fn magnitude(rest: &str) -> (f64, usize) {
    let mut chars = rest.chars();
    let Some(first) = chars.next() else {
        return (1.0, 0);
    };
    match first {
        '千' => (1e3, first.len_utf8()),
        '万' => (1e4, first.len_utf8()),
        '亿' => (1e8, first.len_utf8()),
        'k' if !chars.next().is_some_and(|c| c.is_ascii_alphabetic()) => (1e3, 1),
        _ => (1.0, 0),
    }
}

impl NumberSpec {
    /// The numbers that fit, in order.
    pub(crate) fn captures(&self, text: &str, numbers: &[Number]) -> Vec<Capture> {
        numbers.iter().filter_map(|number| self.capture(text, number)).collect()
    }

    fn capture(&self, text: &str, number: &Number) -> Option<Capture> {
        let (unit, bytes) = if self.units.is_empty() {
            (None, number.bytes.clone())
        } else {
            self.unit(text, &number.bytes)?
        };
        if !self.near.is_empty() || !self.not_near.is_empty() {
            let window = window(text, &bytes, self.within);
            let says = |words: &[String]| words.iter().any(|word| contains_word(window, word));
            if (!self.near.is_empty() && !says(&self.near)) || says(&self.not_near) {
                return None;
            }
        }
        Some(Capture { value: number.value, unit, bytes })
    }

    fn unit(&self, text: &str, number: &Range<usize>) -> Option<(Option<String>, Range<usize>)> {
        let after = text.get(number.end..)?;
        let spaces = after.len() - after.trim_start_matches(' ').len();
        let rest = after.get(spaces..)?;
        for unit in &self.units {
            let bounded = |c: Option<char>| !(ends_latin(unit) && c.is_some_and(|c| c.is_ascii_alphabetic()));
            if let Some(beyond) = rest.strip_prefix(unit.as_str())
                && bounded(beyond.chars().next())
            {
                return Some((Some(unit.clone()), number.start..number.end + spaces + unit.len()));
            }
        }
        let before = text.get(..number.start)?.trim_end_matches(' ');
        for unit in self.units.iter().filter(|unit| may_precede(unit)) {
            if let Some(beyond) = before.strip_suffix(unit.as_str()) {
                let last = beyond.trim_end_matches(' ').chars().next_back();
                // In "480 USD 500" the unit belongs to 480.
                let taken = last.is_some_and(|c| c.is_ascii_digit());
                let glued =
                    starts_latin(unit) && beyond.chars().next_back().is_some_and(|c| c.is_ascii_alphabetic());
                if !taken && !glued {
                    return Some((Some(unit.clone()), beyond.len()..number.end));
                }
            }
        }
        None
    }
}

/// Currency signs and codes may stand before the number; 元, 折 and % only follow it.
fn may_precede(unit: &str) -> bool {
    unit.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '$' | '¥' | '€' | '£'))
}

fn starts_latin(word: &str) -> bool {
    word.chars().next().is_some_and(|c| c.is_ascii_alphanumeric())
}

fn ends_latin(word: &str) -> bool {
    word.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric())
}

/// What stands within `chars` characters of `bytes`, in the same sentence.
fn window<'a>(text: &'a str, bytes: &Range<usize>, chars: usize) -> &'a str {
    let before = text.get(..bytes.start).unwrap_or_default();
    let start = before
        .char_indices()
        .rev()
        .take(chars)
        .take_while(|(_, c)| !ends_sentence(*c))
        .last()
        .map_or(bytes.start, |(at, _)| at);
    let after = text.get(bytes.end..).unwrap_or_default();
    let end = after
        .char_indices()
        .take(chars)
        .take_while(|(_, c)| !ends_sentence(*c))
        .last()
        .map_or(bytes.end, |(at, c)| bytes.end + at + c.len_utf8());
    text.get(start..end).unwrap_or_default()
}

/// Whether `c` ends a sentence in a folded text.
pub(crate) const fn ends_sentence(c: char) -> bool {
    matches!(c, '。' | '!' | '?' | ';' | '\n')
}

/// Whether `text` holds `word`; a Latin word only whole.
pub(crate) fn contains_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| is_whole(text, &(at..at + word.len())))
}

/// Whether `bytes` of `text` do not cut a Latin word.
pub(crate) fn is_whole(text: &str, bytes: &Range<usize>) -> bool {
    let word = text.get(bytes.clone()).unwrap_or_default();
    let alnum = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let cut_before = starts_latin(word) && alnum(text.get(..bytes.start).and_then(|t| t.chars().next_back()));
    let cut_after = ends_latin(word) && alnum(text.get(bytes.end..).and_then(|t| t.chars().next()));
    !cut_before && !cut_after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::fold;

    fn values(text: &str, units: &[&str]) -> Vec<f64> {
        let text = fold(text);
        let units = units.iter().map(|u| fold(u)).collect();
        let spec = NumberSpec { units, near: vec![], not_near: vec![], within: 12 };
        spec.captures(&text, &scan(&text)).iter().map(|c| c.value).collect()
    }

    #[test]
    fn a_unit_may_stand_before_or_after() {
        assert_eq!(
            values("就４８０元，或 ¥1,200.5 / RMB 99 / 300 usd", &["元", "￥", "RMB", "USD"]),
            [480.0, 1200.5, 99.0, 300.0]
        );
    }

    #[test]
    fn a_number_without_its_unit_is_no_capture() {
        assert_eq!(values("电话010-63553377，3楼", &["元", "¥"]), Vec::<f64>::new());
        assert_eq!(values("480 usdollars", &["USD"]), Vec::<f64>::new());
    }

    #[test]
    fn magnitudes_multiply() {
        assert_eq!(values("1.2万元, 3k元, 5千元", &["元"]), [12_000.0, 3_000.0, 5_000.0]);
    }

    #[test]
    fn a_discount_in_tenths_is_a_percentage_off() {
        let text = fold("打85折 8.5折 15%");
        let spec =
            NumberSpec { units: vec!["折".into(), "%".into()], near: vec![], not_near: vec![], within: 4 };
        for capture in spec.captures(&text, &scan(&text)) {
            assert!((capture.percent_off().unwrap() - 15.0).abs() < 1e-9);
        }
    }

    #[test]
    fn nearness_ends_with_the_sentence_and_with_the_window() {
        let spec =
            NumberSpec {
                units: vec!["元".into()], near: vec!["成交".into()], not_near: vec![], within: 4
            };
        let hits = |text: &str| spec.captures(text, &scan(text)).len();
        assert_eq!(hits("480元成交"), 1);
        assert_eq!(hits("480元。成交"), 0);
        assert_eq!(hits("480元一二三四五成交"), 0);
    }
}
