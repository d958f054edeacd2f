//! Reading of one number at a place of a folded text.
//!
//! | File | Contents |
//! |---|---|
//! | `figures.rs` | Digits with grouping, decimals and fractions |
//! | `chinese.rs` | Chinese numerals, also mixed with digits: `4百80`, `一千二三百` |
//! | `english.rs` | English number words and magnitudes |
//! | `tails.rs` | Text after a number that belongs to it: `多`, `块5毛` |
//! | `sign.rs` | Signs before a number |
//!
//! A number that can be read in more than one way is no number: [`Reading::Unclear`].

mod chinese;
mod english;
mod figures;
mod sign;
mod tails;

use std::ops::Range;

pub(super) use english::starts as english_starts;

/// A folded text and the bytes at which no number continues: a full-width comma between prices, a
/// dash, or a change from circled to plain digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberText<'t> {
    pub(crate) text: &'t str,
    pub(crate) breaks: &'t [u32],
}

/// The result of reading at a place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reading {
    Number(ReadNumber),
    /// Text up to this byte has no certain reading.
    Unclear(usize),
    Nothing,
}

/// A number that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReadNumber {
    pub(super) value: f64,
    /// The lower end if two numbers are written as one: 四五百.
    pub(super) low: Option<f64>,
    pub(super) bytes: Range<usize>,
    /// The byte at which its unit is sought.
    pub(super) unit_at: usize,
    pub(super) bare: bool,
    pub(super) spaced: bool,
    /// The magnitude of a number that is one coefficient and one magnitude, such as `2万`; else 1.
    pub(super) times: f64,
    /// Set for a number that is an amount only with the unit in its own words: 半价, 百分百.
    pub(super) built_in: Option<BuiltIn>,
}

/// A unit that the words of a number contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BuiltIn {
    /// 百分百, 百分之, 千分之.
    Percent,
    /// 半价, 对折, `half price`: half of the price, as a discount.
    HalfPrice,
}

impl ReadNumber {
    const fn plain(value: f64, bytes: Range<usize>) -> Self {
        Self {
            value,
            low: None,
            unit_at: bytes.end,
            bytes,
            bare: false,
            spaced: false,
            times: 1.0,
            built_in: None,
        }
    }
}

impl<'t> NumberText<'t> {
    fn rest(self, at: usize) -> &'t str {
        self.text.get(at..).unwrap_or_default()
    }

    fn byte(self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn is_digit(self, at: usize) -> bool {
        self.byte(at).is_some_and(|byte| byte.is_ascii_digit())
    }

    fn is_break(self, at: usize) -> bool {
        !self.breaks.is_empty()
            && u32::try_from(at).is_ok_and(|at| self.breaks.binary_search(&at).is_ok())
    }

    fn before(self, at: usize) -> Option<char> {
        self.text.get(..at)?.chars().next_back()
    }
}

/// Reads the number that begins at byte `at`. `last` is the end of the number before it.
pub(super) fn number(text: NumberText<'_>, at: usize, last: usize) -> Reading {
    let Some(first) = text.rest(at).chars().next() else { return Reading::Nothing };
    let read = match first {
        '0'..='9' => figures::read(text, at),
        'a'..='z' => english::read(text, at),
        _ if figures::vulgar(first).is_some() => figures::read_vulgar(at, first),
        _ => chinese::read(text, at),
    };
    match read {
        Reading::Number(mut number) => {
            tails::extend(text, &mut number, last);
            sign::apply(text, &mut number, last);
            // 三分之一 is no price.
            if text.rest(number.bytes.end).starts_with("分之") {
                return Reading::Unclear(chinese::beyond_fraction(text, number.bytes.end));
            }
            if number.value.is_finite() { Reading::Number(number) } else { Reading::Nothing }
        }
        other => other,
    }
}

/// The value of an ideograph that is a numeral.
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

/// The magnitude that an ideograph stands for.
fn magnitude(c: char) -> Option<f64> {
    Some(match c {
        '十' | '拾' => 10.0,
        '百' | '佰' => 100.0,
        '千' | '仟' => 1e3,
        '万' => 1e4,
        '亿' => 1e8,
        _ => return None,
    })
}
