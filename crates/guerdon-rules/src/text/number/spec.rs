//! Selection of numbers by unit and by the words near them.

use std::ops::Range;

use super::units::{UnitAt, Units};
use super::{Capture, TextNumber, TextNumbers};
use crate::text::near::{Near, Surroundings};

/// The numbers that a rule selects.
#[derive(Debug, Clone, Default)]
pub(crate) struct NumberSpec {
    /// Ids of [`Units`]; if empty, any number is selected.
    pub(crate) units: Vec<u32>,
    /// Set if numbers without a unit are selected too.
    pub(crate) optional: bool,
    pub(crate) near: Near,
}

impl TextNumber {
    const fn captured<'u>(&self, unit: Option<&'u str>, bytes: Range<usize>) -> Capture<'u> {
        let Self { value, low, high, spaced, .. } = *self;
        Capture { value, low, high, unit, bytes, spaced }
    }
}

impl NumberSpec {
    /// A bit for each unit's id, modulo 64.
    pub(crate) fn mask(&self) -> u64 {
        self.units.iter().fold(0, |mask, unit| mask | 1 << (unit % 64))
    }

    /// The selected numbers, in the order of the text.
    pub(crate) fn captures<'a>(
        &'a self,
        numbers: &'a TextNumbers,
        units: &'a Units,
        around: Surroundings<'a>,
    ) -> impl Iterator<Item = Capture<'a>> {
        numbers.numbers.iter().filter_map(move |number| {
            let of = |range: &Range<usize>| numbers.units.get(range.clone()).unwrap_or_default();
            let capture = self.fit(number, [of(&number.units), of(&number.shared)], units)?;
            self.near.holds(&capture.bytes, around).then_some(capture)
        })
    }

    fn fit<'u>(
        &self,
        number: &TextNumber,
        units: [&[UnitAt]; 2],
        names: &'u Units,
    ) -> Option<Capture<'u>> {
        let [own, shared] = units;
        let wanted = |at: &&UnitAt| self.units.contains(&at.unit);
        // Units come longest first, and units after a number come before units in front of it.
        if let Some(at) = own.iter().find(wanted) {
            let digits = &number.bytes;
            let bytes = if at.after { digits.start..at.edge } else { at.edge..digits.end };
            return Some(number.captured(Some(names.name(at.unit)), bytes));
        }
        if let Some(at) = shared.iter().find(wanted) {
            return Some(number.captured(Some(names.name(at.unit)), number.bytes.clone()));
        }
        let without = self.units.is_empty() || self.optional;
        (without && !number.bare).then(|| number.captured(None, number.bytes.clone()))
    }
}
