//! The units that rules use, and their search next to a number.

use std::ops::Range;

/// The units of all rules, folded. A unit's id is its index in `names`.
#[derive(Debug, Default)]
pub(crate) struct Units {
    names: Vec<String>,
    /// Ids by the first byte of the unit, longest first.
    by_first: Vec<(u8, Vec<u32>)>,
    /// Ids by the last byte of the unit, longest first.
    by_last: Vec<(u8, Vec<u32>)>,
}

/// A unit next to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnitAt {
    pub(super) unit: u32,
    /// The unit's far edge, in bytes: its end after a number, its start before one.
    pub(super) edge: usize,
    /// True if the unit follows the number.
    pub(super) after: bool,
}

/// The Chinese words for `%`, which precede the number.
const PERCENT: &str = "百分之";

impl Units {
    /// The ids of `names`, in ascending order. New names are added.
    pub(crate) fn intern_all(&mut self, names: impl IntoIterator<Item = String>) -> Vec<u32> {
        let mut ids: Vec<u32> = names.into_iter().map(|name| self.intern(name)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn intern(&mut self, name: String) -> u32 {
        if let Some(id) = self.names.iter().position(|known| *known == name) {
            return id as u32;
        }
        let id = self.names.len() as u32;
        let ends = [name.bytes().next(), name.bytes().next_back()];
        self.names.push(name);
        for (index, end) in [&mut self.by_first, &mut self.by_last].into_iter().zip(ends) {
            let Some(end) = end else { continue };
            match index.iter_mut().find(|(byte, _)| *byte == end) {
                Some((_, ids)) => {
                    ids.push(id);
                    ids.sort_by_key(|id| {
                        std::cmp::Reverse(self.names.get(*id as usize).map(String::len))
                    });
                }
                None => index.push((end, vec![id])),
            }
        }
        id
    }

    pub(crate) fn name(&self, id: u32) -> &str {
        self.names.get(id as usize).map_or("", String::as_str)
    }

    /// Calls `each` with every unit directly after or before `number`, apart from spaces.
    pub(super) fn next_to(&self, text: &str, number: &Range<usize>, mut each: impl FnMut(UnitAt)) {
        let bytes = text.as_bytes();
        let spaces = bytes.iter().skip(number.end).take_while(|b| **b == b' ').count();
        let after = number.end + spaces;
        if let (Some(rest), Some(first)) = (text.get(after..), bytes.get(after)) {
            for id in ids(&self.by_first, *first) {
                let unit = self.name(*id);
                let glued = ends_latin(unit)
                    && bytes.get(after + unit.len()).is_some_and(u8::is_ascii_alphabetic);
                if !glued && rest.starts_with(unit) {
                    each(UnitAt { unit: *id, edge: after + unit.len(), after: true });
                }
            }
        }
        let before = text.get(..number.start).unwrap_or_default();
        if let Some(start) = before.strip_suffix(PERCENT).map(str::len)
            && let Some(id) = self.names.iter().position(|name| name == "%")
        {
            each(UnitAt { unit: id as u32, edge: start, after: false });
        }
        let before = before.trim_end_matches(' ');
        let Some(last) = before.bytes().next_back() else { return };
        for id in ids(&self.by_last, last) {
            let unit = self.name(*id);
            if let (true, Some(beyond)) = (may_precede(unit), before.strip_suffix(unit)) {
                // In "480 USD 500" the unit belongs to 480.
                let taken = beyond
                    .trim_end_matches(' ')
                    .bytes()
                    .next_back()
                    .is_some_and(|b| b.is_ascii_digit());
                let glued = starts_latin(unit)
                    && beyond.bytes().next_back().is_some_and(|b| b.is_ascii_alphabetic());
                if !taken && !glued {
                    each(UnitAt { unit: *id, edge: beyond.len(), after: false });
                }
            }
        }
    }
}

fn ids(index: &[(u8, Vec<u32>)], byte: u8) -> &[u32] {
    index.iter().find(|(known, _)| *known == byte).map_or(&[], |(_, ids)| ids)
}

/// Returns true for currency signs and codes. Other units, such as 元, 折 and %, only follow a
/// number.
fn may_precede(unit: &str) -> bool {
    unit.chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '$' | '¥' | '€' | '£'))
}

fn starts_latin(word: &str) -> bool {
    word.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

fn ends_latin(word: &str) -> bool {
    word.bytes().next_back().is_some_and(|b| b.is_ascii_alphanumeric())
}
