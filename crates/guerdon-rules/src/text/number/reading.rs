//! The result of reading a number at a place of a text.

use std::ops::Range;

/// A folded text and the bytes at which no number continues: a full-width comma between prices, a
/// dash, or a change from circled to plain digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberText<'t> {
    pub(crate) text: &'t str,
    pub(crate) breaks: &'t [u32],
}

/// The result of reading at a place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reading {
    Number(ReadNumber),
    /// Text up to this byte has no certain reading.
    Unclear(usize),
    Nothing,
}

/// A number that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReadNumber {
    pub(crate) value: f64,
    /// The lower end if two numbers are written as one: 四五百.
    pub(crate) low: Option<f64>,
    pub(crate) bytes: Range<usize>,
    /// The byte at which its unit is sought.
    pub(crate) unit_at: usize,
    pub(crate) bare: bool,
    pub(crate) spaced: bool,
    /// The magnitude of a number that is one coefficient and one magnitude, such as `2万`; else 1.
    pub(crate) times: f64,
    /// Set for a number that is an amount only with the unit in its own words: 半价, 百分百.
    pub(crate) built_in: Option<BuiltIn>,
}

/// A unit that the words of a number contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BuiltIn {
    /// 百分百, 百分之, 千分之.
    Percent,
    /// 半价, 对折, `half price`: half of the price, as a discount.
    HalfPrice,
}

impl ReadNumber {
    pub(crate) const fn plain(value: f64, bytes: Range<usize>) -> Self {
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
    pub(crate) fn rest(self, at: usize) -> &'t str {
        self.text.get(at..).unwrap_or_default()
    }

    pub(crate) fn byte(self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    pub(crate) fn is_digit(self, at: usize) -> bool {
        self.byte(at).is_some_and(|byte| byte.is_ascii_digit())
    }

    pub(crate) fn is_break(self, at: usize) -> bool {
        !self.breaks.is_empty()
            && u32::try_from(at).is_ok_and(|at| self.breaks.binary_search(&at).is_ok())
    }

    pub(crate) fn before(self, at: usize) -> Option<char> {
        self.text.get(..at)?.chars().next_back()
    }
}

/// The value of an ideograph that is a numeral.
pub(crate) fn numeral(c: char) -> Option<f64> {
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
pub(crate) fn magnitude(c: char) -> Option<f64> {
    Some(match c {
        '十' | '拾' => 10.0,
        '百' | '佰' => 100.0,
        '千' | '仟' => 1e3,
        '万' => 1e4,
        '亿' => 1e8,
        _ => return None,
    })
}
