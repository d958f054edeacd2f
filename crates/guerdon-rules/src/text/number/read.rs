//! Reading of one number at a place of a folded text.

use std::ops::Range;

use crate::text::steps;

/// A number that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReadNumber {
    pub(super) value: f64,
    /// The lower end if two numbers are written as one: 四五百.
    pub(super) low: Option<f64>,
    pub(super) bytes: Range<usize>,
    pub(super) bare: bool,
    pub(super) spaced: bool,
}

/// The greatest number of digits. A longer number is an identifier, and an f64 would not keep it.
const MAX_DIGITS: usize = 15;

/// Reads the number that begins at byte `at`.
pub(super) fn number(text: &str, at: usize) -> Option<ReadNumber> {
    let rest = text.get(at..)?;
    if rest.as_bytes().first()?.is_ascii_digit() { digits(text, at) } else { words(rest, at) }
}

fn digits(text: &str, at: usize) -> Option<ReadNumber> {
    let bytes = text.as_bytes();
    // Reading stops behind the greatest number of digits, because the next place may be the second
    // digit of the same identifier.
    let run = |from: usize| {
        let digits = bytes.iter().skip(from).take(MAX_DIGITS + 1).inspect(|_| steps::add(1));
        digits.take_while(|b| b.is_ascii_digit()).count()
    };
    let whole = run(at);
    let mut end = at + whole;
    if whole == 1
        && let Some(read) = spaced(bytes, at)
    {
        return Some(read);
    }
    let mut value = 0.0;
    let mut written = 0;
    let take = |value: &mut f64, written: &mut usize, range: Range<usize>| {
        for byte in bytes.get(range).unwrap_or_default() {
            *value = *value * 10.0 + f64::from(byte - b'0');
            *written += 1;
        }
    };
    take(&mut value, &mut written, at..end);
    if whole <= 3 {
        while written <= MAX_DIGITS && bytes.get(end) == Some(&b',') && run(end + 1) == 3 {
            take(&mut value, &mut written, end + 1..end + 4);
            end += 4;
        }
    }
    if bytes.get(end) == Some(&b'.') {
        let decimals = run(end + 1);
        if decimals > 0 {
            take(&mut value, &mut written, end + 1..end + 1 + decimals);
            value /= 10_f64.powi(i32::try_from(decimals).ok()?);
            end += 1 + decimals;
        }
    }
    if written > MAX_DIGITS {
        return None;
    }
    let (value, end) = magnitudes(text, value, end);
    Some(ReadNumber { value, low: None, bytes: at..end, bare: false, spaced: false })
}

/// Reads at least three single digits, each separated by a space: `4 8 0`.
fn spaced(bytes: &[u8], at: usize) -> Option<ReadNumber> {
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    if at.checked_sub(2).is_some_and(|before| digit(before) && bytes.get(at - 1) == Some(&b' ')) {
        return None;
    }
    let mut value = f64::from(bytes.get(at)? - b'0');
    let (mut last, mut count) = (at, 1);
    while bytes.get(last + 1) == Some(&b' ') && digit(last + 2) && !digit(last + 3) {
        last += 2;
        count += 1;
        value = value * 10.0 + f64::from(bytes.get(last)? - b'0');
    }
    let fits = (3..=MAX_DIGITS).contains(&count);
    fits.then(|| ReadNumber { value, low: None, bytes: at..last + 1, bare: false, spaced: true })
}

/// Reads the magnitude that follows the digits: `1.2万`, `3千5`, `1万2千`, `3k`.
fn magnitudes(text: &str, value: f64, end: usize) -> (f64, usize) {
    let rest = text.get(end..).unwrap_or_default();
    let mut chars = rest.chars();
    let first = chars.next();
    let (times, length) = match first {
        Some('k') if !letter(chars.next()) => return (value * 1e3, end + 1),
        Some('w') if !letter(chars.next()) => return (value * 1e4, end + 1),
        Some(c) => match unit(c) {
            Some(times) if times >= 100.0 => (times, c.len_utf8()),
            _ => return (value, end),
        },
        None => return (value, end),
    };
    let mut value = value * times;
    let mut end = end + length;
    let after = text.get(end..).unwrap_or_default();
    if times <= 1e4 && after.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        // A digit after the magnitude: 3千5 is 3,500, 1万2千 is 12,000.
        let mut chars = after.chars();
        let digit = f64::from(chars.next().and_then(|c| c.to_digit(10)).unwrap_or(0));
        match chars.next() {
            Some(c) if c.is_ascii_digit() || c == '.' => {}
            Some(c) if unit(c).is_some_and(|smaller| smaller < times) => {
                value += digit * unit(c).unwrap_or(1.0);
                end += 1 + c.len_utf8();
            }
            _ => {
                value += digit * times / 10.0;
                end += 1;
            }
        }
    }
    (value, end)
}

fn letter(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_ascii_alphabetic())
}

/// Reads Chinese number words.
fn words(rest: &str, at: usize) -> Option<ReadNumber> {
    let mut reader = NumeralParser::default();
    let mut end = 0;
    for (offset, c) in rest.char_indices() {
        let next = rest.get(offset + c.len_utf8()..).and_then(|rest| rest.chars().next());
        if !reader.take(c, next) {
            break;
        }
        end = offset + c.len_utf8();
    }
    let value = reader.value()?;
    let (low, value) = reader.approximate(value);
    Some(ReadNumber { value, low, bytes: at..at + end, bare: reader.taken == 1, spaced: false })
}

/// The state of reading number words.
#[derive(Debug, Default)]
struct NumeralParser {
    taken: usize,
    /// Digits that no unit has multiplied yet, such as the 4 of 四百.
    digits: Option<f64>,
    /// The number of digits in a row: 二零二七 is 2027.
    side_by_side: usize,
    /// The first of two digits in a row.
    first: f64,
    /// The value of the section below 万.
    section: f64,
    /// The value of the sections from 万 on.
    total: f64,
    /// The last unit, for 四百二.
    unit: f64,
    /// Set if 零 followed the last unit.
    zero: bool,
    /// The place value of the next decimal.
    decimal: Option<f64>,
    decimals: f64,
    /// The two digits of 四五百 and their unit.
    about: Option<(f64, f64, f64)>,
}

impl NumeralParser {
    /// Takes the next character. Returns false if it does not continue the number.
    fn take(&mut self, c: char, next: Option<char>) -> bool {
        if let Some(place) = self.decimal {
            let Some(digit) = numeral(c) else { return false };
            self.decimals += digit * place;
            self.decimal = Some(place / 10.0);
            self.taken += 1;
            return true;
        }
        if c == '点' {
            let minutes = next.and_then(numeral).is_none();
            if minutes || self.taken == 0 {
                return false;
            }
            self.decimal = Some(0.1);
            self.taken += 1;
            return true;
        }
        let went_on = match (numeral(c), unit(c)) {
            (Some(digit), _) => self.digit(digit),
            (None, Some(times)) => self.multiply(times),
            (None, None) => false,
        };
        self.taken += usize::from(went_on);
        went_on
    }

    fn digit(&mut self, digit: f64) -> bool {
        if self.about.is_some() || self.side_by_side > 9 {
            return false;
        }
        match self.digits {
            None => {
                self.first = digit;
                self.digits = Some(digit);
                self.side_by_side = 1;
                // 零 after a unit marks an empty place.
                if digit < 1.0 && self.unit > 0.0 {
                    self.zero = true;
                    self.digits = None;
                    self.side_by_side = 0;
                }
            }
            // After 百 or 千 a second digit begins another number.
            Some(_) if self.unit > 0.0 => return false,
            Some(digits) => {
                self.digits = Some(digits * 10.0 + digit);
                self.side_by_side += 1;
            }
        }
        true
    }

    fn multiply(&mut self, times: f64) -> bool {
        let ten = times < 11.0;
        if times >= 1e4 {
            let section = self.section + self.digits.unwrap_or(0.0);
            if section < 1.0 && self.total < 1.0 {
                return false;
            }
            if self.side_by_side == 2 && self.unit < 1.0 && !self.two_in_a_row(times) {
                return false;
            }
            self.total = if times > 1e4 {
                (self.total + section) * times
            } else {
                self.total + section * times
            };
            self.section = 0.0;
        } else {
            if self.unit > 0.0 && self.unit < 1e4 && times >= self.unit {
                return false;
            }
            if self.side_by_side >= 2 && !self.two_in_a_row(times) {
                return false;
            }
            // 十 may stand without 一 before it; 百 and 千 may not.
            let digit = match self.digits {
                Some(digit) => digit,
                None if ten => 1.0,
                None => return false,
            };
            self.section += digit * times;
        }
        self.unit = times;
        self.zero = false;
        self.digits = None;
        self.side_by_side = 0;
        true
    }

    /// Reads 四五百 as the range from 400 to 500.
    fn two_in_a_row(&mut self, times: f64) -> bool {
        let Some(digits) = self.digits else { return false };
        let second = digits - 10.0 * self.first;
        if self.side_by_side != 2 || self.unit > 0.0 || (second - self.first - 1.0).abs() > 0.5 {
            return false;
        }
        self.about = Some((self.first, second, times));
        self.digits = Some(second);
        true
    }

    fn value(&self) -> Option<f64> {
        if self.taken == 0 || (self.digits.is_none() && self.unit <= 0.0) {
            return None;
        }
        let rest = match self.digits {
            // 四百二 is 420, 四百零二 is 402.
            Some(digit) if self.unit > 10.0 && !self.zero => digit * self.unit / 10.0,
            Some(digit) => digit,
            None => 0.0,
        };
        Some(self.total + self.section + rest + self.decimals)
    }

    fn approximate(&self, value: f64) -> (Option<f64>, f64) {
        match self.about {
            Some((first, second, times)) if (value - second * times).abs() < 0.5 => {
                (Some(first * times), value)
            }
            _ => (None, value),
        }
    }
}

fn numeral(c: char) -> Option<f64> {
    Some(match c {
        '零' => 0.0,
        '一' | '壹' => 1.0,
        '二' | '两' | '贰' => 2.0,
        '三' | '叁' => 3.0,
        '四' | '肆' => 4.0,
        '五' | '伍' => 5.0,
        '六' | '陆' => 6.0,
        '七' | '柒' => 7.0,
        '八' | '捌' => 8.0,
        '九' | '玖' => 9.0,
        _ => return None,
    })
}

fn unit(c: char) -> Option<f64> {
    Some(match c {
        '十' | '拾' => 10.0,
        '百' | '佰' => 100.0,
        '千' | '仟' => 1e3,
        '万' => 1e4,
        '亿' => 1e8,
        _ => return None,
    })
}
