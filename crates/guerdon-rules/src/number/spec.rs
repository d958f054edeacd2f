//! Which numbers a rule asks for: by unit, and by the words around.

use std::ops::Range;

use super::{Capture, Number, Numbers, UnitAt, ends_sentence, is_whole};
use crate::literals::Found;

/// Which numbers a rule asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct NumberSpec {
    /// Ids of [`Units`]; none: any number.
    pub(crate) units: Vec<u32>,
    /// Numbers without a unit too.
    pub(crate) optional: bool,
    /// A leaf of words of which one must be near.
    pub(crate) near: Option<u32>,
    /// A leaf of words of which none may be near.
    pub(crate) not_near: Option<u32>,
    /// How many characters is near.
    pub(crate) within: usize,
}

/// The units that any rule asks for, folded.
#[derive(Debug, Default)]
pub(crate) struct Units {
    names: Vec<String>,
    /// By a unit's first and last byte, longest first.
    by_first: Vec<(u8, Vec<u32>)>,
    by_last: Vec<(u8, Vec<u32>)>,
}

/// Said before a number, it is `%`.
const PERCENT: &str = "百分之";

impl Units {
    /// The ids of `names`, new ones added.
    pub(crate) fn all(&mut self, names: impl IntoIterator<Item = String>) -> Vec<u32> {
        let mut ids: Vec<u32> = names.into_iter().map(|name| self.id(name)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn id(&mut self, name: String) -> u32 {
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
                    ids.sort_by_key(|id| std::cmp::Reverse(self.names.get(*id as usize).map(String::len)));
                }
                None => index.push((end, vec![id])),
            }
        }
        id
    }

    pub(crate) fn name(&self, id: u32) -> &str {
        self.names.get(id as usize).map_or("", String::as_str)
    }

    /// Every unit after and before a number, with its far edge.
    pub(super) fn beside(&self, text: &str, number: &Range<usize>, mut each: impl FnMut(u32, usize, bool)) {
        let bytes = text.as_bytes();
        let spaces = bytes.iter().skip(number.end).take_while(|b| **b == b' ').count();
        let after = number.end + spaces;
        if let (Some(rest), Some(first)) = (text.get(after..), bytes.get(after)) {
            for id in ids(&self.by_first, *first) {
                let unit = self.name(*id);
                let glued =
                    ends_latin(unit) && bytes.get(after + unit.len()).is_some_and(u8::is_ascii_alphabetic);
                if !glued && rest.starts_with(unit) {
                    each(*id, after + unit.len(), true);
                }
            }
        }
        let before = text.get(..number.start).unwrap_or_default();
        if let Some(start) = before.strip_suffix(PERCENT).map(str::len)
            && let Some(id) = self.names.iter().position(|name| name == "%")
        {
            each(id as u32, start, false);
        }
        let before = before.trim_end_matches(' ');
        let Some(last) = before.bytes().next_back() else { return };
        for id in ids(&self.by_last, last) {
            let unit = self.name(*id);
            if let (true, Some(beyond)) = (may_precede(unit), before.strip_suffix(unit)) {
                // In "480 USD 500" the unit belongs to 480.
                let taken =
                    beyond.trim_end_matches(' ').bytes().next_back().is_some_and(|b| b.is_ascii_digit());
                let glued =
                    starts_latin(unit) && beyond.bytes().next_back().is_some_and(|b| b.is_ascii_alphabetic());
                if !taken && !glued {
                    each(*id, beyond.len(), false);
                }
            }
        }
    }
}

fn ids(index: &[(u8, Vec<u32>)], byte: u8) -> &[u32] {
    index.iter().find(|(known, _)| *known == byte).map_or(&[], |(_, ids)| ids)
}

/// Currency signs and codes may stand before the number; 元, 折 and % only follow it.
fn may_precede(unit: &str) -> bool {
    unit.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '$' | '¥' | '€' | '£'))
}

fn starts_latin(word: &str) -> bool {
    word.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

fn ends_latin(word: &str) -> bool {
    word.bytes().next_back().is_some_and(|b| b.is_ascii_alphanumeric())
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
            self.is_placed(text, &capture.bytes, found).then_some(capture)
        })
    }

    fn fit<'u>(&self, number: &Number, units: [&[UnitAt]; 2], names: &'u Units) -> Option<Capture<'u>> {
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

    fn is_placed(&self, text: &str, bytes: &Range<usize>, found: &Found) -> bool {
        let near = |leaf: u32, window: &Range<usize>| {
            let mut hits = found.of(leaf);
            hits.any(|hit| window.start <= hit.start && hit.end <= window.end && is_whole(text, &hit))
        };
        if self.near.is_none() && self.not_near.is_none() {
            return true;
        }
        let window = window(text, bytes, self.within);
        self.near.is_none_or(|leaf| near(leaf, &window))
            && !self.not_near.is_some_and(|leaf| near(leaf, &window))
    }
}

/// The bytes within `chars` characters of `bytes`, in the same sentence.
pub(crate) fn window(text: &str, bytes: &Range<usize>, chars: usize) -> Range<usize> {
    let before = text.get(..bytes.start).unwrap_or_default();
    let near = before.char_indices().rev().take(chars).take_while(|(_, c)| !ends_sentence(*c));
    let start = near.last().map_or(bytes.start, |(at, _)| at);
    let after = text.get(bytes.end..).unwrap_or_default();
    let near = after.char_indices().take(chars).take_while(|(_, c)| !ends_sentence(*c));
    let end = near.last().map_or(bytes.end, |(at, c)| bytes.end + at + c.len_utf8());
    start..end
}
