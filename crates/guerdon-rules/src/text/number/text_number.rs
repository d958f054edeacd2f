//! A number of a text, and a number that a rule selects.

use std::ops::Range;

use super::reading::{BuiltIn, ReadNumber};
use super::units::is_percent;

/// A number in a folded text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TextNumber {
    /// The value, multiplied by the magnitude (千, 万, 亿, k, w).
    pub(crate) value: f64,
    /// The digits and the magnitude, in bytes of the text.
    pub(crate) bytes: Range<usize>,
    /// The lower end of the range that the number is an end of; otherwise its own value.
    pub(crate) low: f64,
    /// The upper end of the range; otherwise its own value.
    pub(crate) high: f64,
    /// Set for a single numeral such as 一, which is a number only if a unit follows.
    pub(crate) bare: bool,
    /// Set if spaces separate the digits: `4 8 0`.
    pub(crate) spaced: bool,
    /// The byte at which its unit is sought.
    pub(super) unit_at: usize,
    /// The magnitude of a number that is one coefficient and one magnitude; else 1.
    pub(super) times: f64,
    pub(super) built_in: Option<BuiltIn>,
    /// Its units, as a range of [`TextNumbers::units`].
    pub(super) units: Range<usize>,
    /// The units of the other end of its range, if they apply to both ends.
    pub(super) shared: Range<usize>,
}

impl TextNumber {
    pub(super) fn new(read: &ReadNumber) -> Self {
        Self {
            value: read.value,
            bytes: read.bytes.clone(),
            low: read.value,
            high: read.value,
            bare: read.bare,
            spaced: read.spaced,
            unit_at: read.unit_at,
            times: read.times,
            built_in: read.built_in,
            units: 0..0,
            shared: 0..0,
        }
    }

    /// Multiplies the value by a magnitude.
    pub(super) fn scale(&mut self, times: f64) {
        self.value *= times;
        self.low *= times;
        self.high *= times;
        self.times = times;
    }
}

/// A number that fits a [`NumberSpec`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Capture<'u> {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) unit: Option<&'u str>,
    /// The number and its unit, in bytes of the text.
    pub(crate) bytes: Range<usize>,
    pub(crate) spaced: bool,
}

impl Capture<'_> {
    /// The discount in percent: 15 for `85折`, `八五折`, `8.5折`, `0.85折` and `15%`.
    pub(crate) fn percent_off(&self) -> Option<f64> {
        match self.unit {
            Some(unit) if is_percent(unit) => Some(self.value),
            Some("折") if self.value < 1.0 => Some(100.0 - 100.0 * self.value),
            Some("折") if self.value <= 10.0 => Some(100.0 - 10.0 * self.value),
            Some("折") => Some(100.0 - self.value),
            _ => None,
        }
    }
}
