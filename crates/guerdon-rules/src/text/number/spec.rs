//! Which numbers a rule asks for: by unit, and by the words around.

use std::ops::Range;

use super::units::{UnitAt, Units};
use super::{Capture, Number, Numbers};
use crate::text::literals::Found;
use crate::text::near::Near;

/// Which numbers a rule asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct NumberSpec {
    /// Ids of [`Units`]; none: any number.
    pub(crate) units: Vec<u32>,
    /// Numbers without a unit too.
    pub(crate) optional: bool,
    pub(crate) near: Near,
}

impl Number {
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

    /// The numbers that fit, in order.
    pub(crate) fn captures<'a>(
        &'a self,
        text: &'a str,
        numbers: &'a Numbers,
        units: &'a Units,
        found: &'a Found,
    ) -> impl Iterator<Item = Capture<'a>> {
        numbers.numbers.iter().filter_map(move |number| {
            let of = |range: &Range<usize>| numbers.units.get(range.clone()).unwrap_or_default();
            let capture = self.fit(number, [of(&number.units), of(&number.shared)], units)?;
            self.near.holds(text, &capture.bytes, found).then_some(capture)
        })
    }

    fn fit<'u>(
        &self,
        number: &Number,
        units: [&[UnitAt]; 2],
        names: &'u Units,
    ) -> Option<Capture<'u>> {
        let [beside, shared] = units;
        let wanted = |at: &&UnitAt| self.units.contains(&at.unit);
        // Units come longest first, and those after a number before those in front of it.
        if let Some(at) = beside.iter().find(wanted) {
            let own = &number.bytes;
            let bytes = if at.after { own.start..at.edge } else { at.edge..own.end };
            return Some(number.captured(Some(names.name(at.unit)), bytes));
        }
        if let Some(at) = shared.iter().find(wanted) {
            return Some(number.captured(Some(names.name(at.unit)), number.bytes.clone()));
        }
        let without = self.units.is_empty() || self.optional;
        (without && !number.bare).then(|| number.captured(None, number.bytes.clone()))
    }
}
