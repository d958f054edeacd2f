//! Numbers with units. One scan reads every number of a text for all rules. Each rule then selects
//! by unit and by the words near a number.
//!
//! Reads folded text, in which full-width digits and commas are ASCII. A number that can be read in
//! more than one way is no number, because a misread price passes every rule about prices.
//!
//! | File or folder | Contents |
//! |---|---|
//! | `read/`, `reading.rs` | One number at a place |
//! | `text_number.rs` | A number of a text, and one that a rule selects |
//! | `ranges.rs` | Two numbers that are the ends of a range |
//! | `units.rs` | Units next to a number; other currencies, percent words |
//! | `spec.rs` | The numbers that a rule selects |
//! | `figured.rs` | A text with its numbers in digits |

mod figured;
mod ranges;
mod read;
mod reading;
mod spec;
#[cfg(test)]
mod spellings;
mod text_number;
mod units;

pub(crate) use figured::FiguredText;
pub(crate) use reading::NumberText;
use reading::{BuiltIn, ReadNumber, Reading};
pub(crate) use spec::NumberSpec;
pub(crate) use text_number::{Capture, TextNumber};
use units::UnitAt;
pub(crate) use units::{Units, is_percent};

/// The numbers of one text.
#[derive(Debug, Default)]
pub(crate) struct TextNumbers {
    numbers: Vec<TextNumber>,
    /// The units of all numbers, in the order of the numbers.
    units: Vec<UnitAt>,
    /// A bit for each unit's id, modulo 64.
    mask: u64,
    /// The places of one text, with those of words.
    places: Vec<u32>,
}

impl TextNumbers {
    /// Reads a text. `places` are the bytes at which a number in digits or Chinese may begin,
    /// ascending.
    ///
    /// Asks `is_over` before each number, and stops if it returns true.
    pub(crate) fn scan(
        &mut self,
        text: NumberText<'_>,
        places: &[u32],
        units: &Units,
        is_over: impl Fn() -> bool,
    ) {
        self.clear();
        self.places.clear();
        self.places.extend_from_slice(places);
        read::english_starts(text.text, |at| self.places.extend(u32::try_from(at)));
        if self.places.len() > places.len() {
            self.places.sort_unstable();
            self.places.dedup();
        }
        let (mut end, mut last) = (0, 0);
        let all = std::mem::take(&mut self.places);
        for place in &all {
            let place = *place as usize;
            if is_over() {
                break;
            }
            if place < end {
                continue;
            }
            match read::number(text, place, last) {
                Reading::Number(read) => {
                    end = read.bytes.end;
                    last = end;
                    self.add(&read);
                }
                Reading::Unclear(beyond) => end = beyond,
                Reading::Nothing => {}
            }
        }
        self.places = all;
        self.find_units(text.text, units);
        self.join_cents(text.text);
        ranges::join(text.text, &mut self.numbers);
        let mask = self.units.iter().fold(0, |mask, at| mask | 1 << (at.unit % 64));
        self.mask = mask;
    }

    /// Removes all numbers.
    pub(crate) fn clear(&mut self) {
        self.numbers.clear();
        self.units.clear();
        self.mask = 0;
    }

    fn add(&mut self, read: &ReadNumber) {
        let number = TextNumber::new(read);
        if let Some(low) = read.low {
            // `四五百` is two numbers in one.
            let bounds = TextNumber { low, high: read.value, ..number };
            self.numbers.push(TextNumber { value: low, ..bounds.clone() });
            self.numbers.push(bounds);
        } else {
            self.numbers.push(number);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &TextNumber> {
        self.numbers.iter()
    }

    /// Returns true if a number may have one of the units of `mask`.
    pub(crate) const fn may_have(&self, mask: u64) -> bool {
        self.mask & mask != 0
    }

    /// Returns true if there is a number that needs no unit.
    pub(crate) fn has_plain(&self) -> bool {
        self.numbers.iter().any(|number| !number.bare)
    }

    fn find_units(&mut self, text: &str, units: &Units) {
        let mut tenths = Vec::new();
        for (index, number) in self.numbers.iter_mut().enumerate() {
            let start = self.units.len();
            let place = units::UnitPlace {
                number: &number.bytes,
                after: number.unit_at,
                built_in: number.built_in,
            };
            units.next_to(text, place, |unit| self.units.push(unit));
            number.units = start..self.units.len();
            if number.built_in == Some(BuiltIn::HalfPrice) {
                tenths.push(index);
            }
        }
        // Half of the price is 50 % off and five tenths.
        for (added, index) in tenths.into_iter().enumerate() {
            let Some(half) = self.numbers.get(index + added) else { continue };
            let tenth = UnitAt::built_in(units.find("折"), half.bytes.end);
            let number = TextNumber { value: 5.0, low: 5.0, high: 5.0, ..half.clone() };
            let start = self.units.len();
            self.units.extend(tenth);
            let number = TextNumber { units: start..self.units.len(), ..number };
            self.numbers.insert(index + added, number);
        }
    }

    /// Adds the cents to the dollars of `4 dollars and 50 cents`.
    fn join_cents(&mut self, text: &str) {
        let mut joined = Vec::new();
        for (index, pair) in self.numbers.windows(2).enumerate() {
            let [dollars, cents] = pair else { continue };
            let between = text.get(dollars.bytes.end..cents.bytes.start).unwrap_or_default();
            let after = text.get(cents.bytes.end..).unwrap_or_default().trim_start_matches(' ');
            let between = between.trim();
            let counts = ["dollar", "dollars", "dollars and", "dollar and", "dollars,"];
            let whole = dollars.value.fract().abs() < f64::EPSILON && cents.value < 100.0;
            if whole && counts.contains(&between) && after.starts_with("cent") {
                joined.push((index, cents.value / 100.0));
            }
        }
        for (index, part) in joined.into_iter().rev() {
            self.numbers.remove(index + 1);
            if let Some(dollars) = self.numbers.get_mut(index) {
                let value = dollars.value + part;
                (dollars.value, dollars.low, dollars.high) = (value, value, value);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use std::cell::OnceCell;

    use super::*;
    use crate::text::literals::LiteralHits;
    use crate::text::near::Surroundings;
    use crate::text::normalise::{FoldedText, fold};

    fn captured(text: &str, wanted: &[&str]) -> Vec<(f64, f64, f64, String)> {
        let mut units = Units::default();
        let spec = NumberSpec {
            units: units.intern_all(wanted.iter().map(|u| fold(u))),
            ..NumberSpec::default()
        };
        let mut view = FoldedText::default();
        view.read_folded(text);
        let mut numbers = TextNumbers::default();
        numbers.scan(view.number_text(), &view.numerals, &units, || false);
        let (found, sentences) = (LiteralHits::default(), OnceCell::new());
        let around = Surroundings { text: view.text(), found: &found, sentences: &sentences };
        let captures = spec.captures(&numbers, &units, around);
        captures.map(|c| (c.value, c.low, c.high, view.text()[c.bytes].to_owned())).collect()
    }

    pub(super) fn values(text: &str, units: &[&str]) -> Vec<f64> {
        captured(text, units).into_iter().map(|(value, ..)| value).collect()
    }

    #[test]
    fn a_unit_may_stand_before_or_after() {
        assert_eq!(
            values("就４８０元，或 ¥1,200.5 / RMB 99 / 300 usd", &["元", "￥", "RMB", "USD"]),
            [480.0, 1200.5, 99.0, 300.0]
        );
        assert_eq!(values("480 USD 500", &["usd"]), [480.0]);
    }

    #[test]
    fn numbers_without_the_unit_are_not_captured() {
        assert_eq!(values("电话010-63553377，3楼", &["元", "¥"]), Vec::<f64>::new());
        assert_eq!(values("480 usdollars", &["USD"]), Vec::<f64>::new());
    }

    #[test]
    fn magnitudes_multiply() {
        assert_eq!(
            values("1.2万元, 3k元, 5千元, 3千5元, 1万2千元, 1.5w元, 4百元", &["元"]),
            [12_000.0, 3_000.0, 5_000.0, 3_500.0, 12_000.0, 15_000.0, 400.0]
        );
    }

    #[test]
    fn number_words_are_read_next_to_a_unit() {
        for (text, value) in [
            ("四百二十元", 420.0),
            ("四百二块", 420.0),
            ("一千零五元", 1005.0),
            ("两千元", 2000.0),
            ("一万二元", 12_000.0),
            ("十五元", 15.0),
            ("二十元", 20.0),
            ("肆佰贰拾圆", 420.0),
            ("四二零元", 420.0),
            ("三点五元", 3.5),
            ("一亿三千万元", 130_000_000.0),
            ("一元", 1.0),
            ("三百八十五点五元", 385.5),
        ] {
            assert_eq!(values(text, &["元", "块", "圆"]), [value], "{text}");
        }
        assert_eq!(values("一下午有四百二十间", &[]), [420.0]);
        assert_eq!(values("万一不行，千万别", &["元"]), Vec::<f64>::new());
    }

    #[test]
    fn a_discount_in_tenths_is_a_percentage_off() {
        let mut units = Units::default();
        let spec = NumberSpec {
            units: units.intern_all(["折".into(), "%".into()]),
            ..NumberSpec::default()
        };
        let mut view = FoldedText::default();
        view.read_folded("打85折 8.5折 15% 八五折 百分之十五");
        let mut numbers = TextNumbers::default();
        numbers.scan(view.number_text(), &view.numerals, &units, || false);
        let (found, sentences) = (LiteralHits::default(), OnceCell::new());
        let around = Surroundings { text: view.text(), found: &found, sentences: &sentences };
        let found: Vec<f64> = spec
            .captures(&numbers, &units, around)
            .map(|capture| capture.percent_off().unwrap())
            .collect();
        assert_eq!(found.len(), 5);
        assert!(found.iter().all(|off| (off - 15.0).abs() < 1e-9), "{found:?}");
    }

    #[test]
    fn both_ends_of_a_range_have_its_bounds() {
        for text in
            ["400-450元", "400元到450元", "¥400 - 450", "400~450元", "between 400 and 450 yuan"]
        {
            let found = captured(text, &["元", "¥", "yuan"]);
            let ends: Vec<_> =
                found.iter().map(|(value, low, high, _)| (*value, *low, *high)).collect();
            assert_eq!(ends, [(400.0, 400.0, 450.0), (450.0, 400.0, 450.0)], "{text}");
        }
        let found = captured("四五百块", &["块"]);
        assert_eq!(found.iter().map(|(value, ..)| *value).collect::<Vec<_>>(), [400.0, 500.0]);
        assert_eq!(captured("420元，不是480元", &["元"])[0].2.to_bits(), 420.0_f64.to_bits());
    }

    #[test]
    fn spaced_digits_are_one_number() {
        assert_eq!(values("就4 8 0元", &["元"]), [480.0]);
        assert_eq!(values("12 15元", &["元"]), [15.0]);
    }

    #[test]
    fn identifiers_are_not_numbers() {
        assert_eq!(values("订单12345678901234567元", &["元"]), Vec::<f64>::new());
    }

    proptest! {
        #[test]
        fn any_text_is_read_in_order(
            text in "(?:[0-9０-９,. 零一二三四五六七八九十百千万亿两半点k元折%¥到-]|百分之|\\PC){0,40}",
        ) {
            let mut last = 0;
            let mut view = FoldedText::default();
            view.read_folded(&text);
            let mut units = Units::default();
            units.intern_all(["元".into(), "折".into(), "%".into(), "¥".into()]);
            let mut numbers = TextNumbers::default();
            numbers.scan(view.number_text(), &view.numerals, &units, || false);
            for number in numbers.iter() {
                prop_assert!(number.value.is_finite());
                prop_assert!(number.low <= number.value && number.value <= number.high);
                prop_assert!(number.bytes.start >= last || number.low < number.high);
                prop_assert!(view.text().get(number.bytes.clone()).is_some_and(|written| !written.is_empty()));
                last = number.bytes.end;
            }
        }

        #[test]
        fn numbers_in_digits_round_trip(value in 0_u32..100_000_000, cents in 0_u32..100) {
            let written = format!("{value}.{cents:02}元");
            let read = values(&written, &["元"]);
            prop_assert_eq!(read.len(), 1);
            prop_assert!((read[0] - (f64::from(value) + f64::from(cents) / 100.0)).abs() < 1e-6);
        }

        #[test]
        fn numbers_in_words_round_trip(value in 1_u32..100_000_000) {
            let words = in_words(value);
            let read = values(&format!("{words}元"), &["元"]);
            prop_assert_eq!(read, [f64::from(value)], "{}", words);
        }
    }

    /// A number below 10^8 in Chinese words, in the standard form.
    pub(super) fn in_words(value: u32) -> String {
        const DIGITS: [char; 10] = ['零', '一', '二', '三', '四', '五', '六', '七', '八', '九'];
        let section = |mut value: u32, lead: bool| -> String {
            let (mut out, mut zero) = (String::new(), lead && value < 1000);
            for (unit, name) in [(1000, "千"), (100, "百"), (10, "十"), (1, "")] {
                let digit = value / unit;
                value %= unit;
                if digit == 0 {
                    zero = zero || !out.is_empty();
                    continue;
                }
                if zero {
                    out.push('零');
                }
                zero = false;
                out.push(DIGITS[digit as usize]);
                out.push_str(name);
            }
            out
        };
        let (high, low) = (value / 10_000, value % 10_000);
        let mut words = String::new();
        if high > 0 {
            words += &section(high, false);
            words.push('万');
        }
        if low > 0 {
            words += &section(low, high > 0);
        }
        words
    }
}
