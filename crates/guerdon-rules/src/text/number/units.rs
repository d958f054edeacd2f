//! The units that rules use, and their search next to a number.

use std::ops::Range;

use super::reading::BuiltIn;

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

/// The place of a number whose units are sought.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnitPlace<'n> {
    /// The number, in bytes of the text.
    pub(super) number: &'n Range<usize>,
    /// The byte at which a unit behind it may begin.
    pub(super) after: usize,
    pub(super) built_in: Option<BuiltIn>,
}

/// Words for `%`, longest first. A rule that lists one of them finds all.
const PERCENT: [&str; 8] =
    ["percentage points", "percent", "per cent", "个百分点", "百分点", "pct", "个点", "%"];
/// Letters before `$` or `¥` that name the currency which the sign alone means.
const OWN_DOLLARS: [&str; 2] = ["us", "usd"];
const OWN_YUAN: [&str; 3] = ["cn", "rmb", "cny"];
/// Codes behind a number that name another currency than the sign before it.
const OTHER_CURRENCIES: [&str; 18] = [
    "hkd", "aud", "cad", "sgd", "nzd", "twd", "ntd", "mxn", "jpy", "krw", "aus", "hk$", "brl",
    "ars", "clp", "港", "加元", "澳元",
];
/// Nouns that 块 counts: 100块砖 is no money.
const PIECES: &str = "砖地布石玉牌肉糖板玻煤木表屏皮铁豆";
/// Continuations that make 元 part of another word.
const YUAN_WORDS: &str = "素旦宵年件";

/// Returns true if `unit` means percent.
pub(crate) fn is_percent(unit: &str) -> bool {
    PERCENT.contains(&unit)
}

impl UnitAt {
    /// A unit that the words of a number up to `edge` contain.
    pub(super) fn built_in(unit: Option<u32>, edge: usize) -> Option<Self> {
        Some(Self { unit: unit?, edge, after: true })
    }
}

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

    /// The id of `name`, if a rule uses it.
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        let at = self.names.iter().position(|known| known == name)?;
        u32::try_from(at).ok()
    }

    /// Calls `each` with every unit directly after or before a number, apart from spaces.
    pub(super) fn next_to(&self, text: &str, place: UnitPlace<'_>, mut each: impl FnMut(UnitAt)) {
        let UnitPlace { number, after, built_in } = place;
        if built_in.is_some() {
            self.percents(|unit| each(UnitAt { unit, edge: number.end, after: true }));
            return;
        }
        self.behind(text, number, after, &mut each);
        self.in_front(text, number, &mut each);
    }

    /// Calls `each` with every unit that means percent.
    fn percents(&self, mut each: impl FnMut(u32)) {
        for (id, name) in (0..).zip(&self.names) {
            if is_percent(name) {
                each(id);
            }
        }
    }

    /// Finds the units behind a number.
    fn behind(
        &self,
        text: &str,
        number: &Range<usize>,
        after: usize,
        each: &mut impl FnMut(UnitAt),
    ) {
        let bytes = text.as_bytes();
        let spaces = bytes.iter().skip(after).take_while(|b| **b == b' ').count();
        let mut at = after + spaces;
        // `36-month contract`, `three-year`.
        let joined = spaces == 0
            && bytes.get(at) == Some(&b'-')
            && bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic);
        at += usize::from(joined);
        let (Some(rest), Some(first)) = (text.get(at..), bytes.get(at)) else { return };
        let cut = |unit: &str| {
            ends_latin(unit) && bytes.get(at + unit.len()).is_some_and(u8::is_ascii_alphabetic)
        };
        if let Some(word) = PERCENT.iter().find(|word| rest.starts_with(**word) && !cut(word)) {
            let edge = at + word.len();
            return self.percents(|unit| each(UnitAt { unit, edge, after: true }));
        }
        for id in ids(&self.by_first, *first) {
            let unit = self.name(*id);
            let written = rest.starts_with(unit) || unit == "元" && is_formal_yuan(rest);
            if written && !cut(unit) && !is_other_word(unit, rest) {
                let edge = (at + unit.len()).max(number.end);
                each(UnitAt { unit: *id, edge, after: true });
            }
        }
    }

    /// Finds the units in front of a number.
    fn in_front(&self, text: &str, number: &Range<usize>, each: &mut impl FnMut(UnitAt)) {
        let before = text.get(..number.start).unwrap_or_default();
        let before = before.trim_end_matches(' ');
        let Some(last) = before.bytes().next_back() else { return };
        let after = text.get(number.end..).unwrap_or_default().trim_start_matches(' ');
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
                if !taken && !glued && !is_other_currency(unit, beyond, after) {
                    each(UnitAt { unit: *id, edge: beyond.len(), after: false });
                }
            }
        }
    }
}

/// Returns true if `rest` begins with 圆, the form of 元 on contracts, and not with a round thing.
fn is_formal_yuan(rest: &str) -> bool {
    let mut chars = rest.chars();
    chars.next() == Some('圆')
        && !chars.next().is_some_and(|c| "形桌满圈润规顶心舞明角".contains(c))
}

/// Returns true if `rest`, which begins with `unit`, is another word: 块砖, 元素.
fn is_other_word(unit: &str, rest: &str) -> bool {
    let next = rest.get(unit.len()..).and_then(|rest| rest.chars().next());
    match unit {
        "块" => next.is_some_and(|c| PIECES.contains(c)),
        "元" => next.is_some_and(|c| YUAN_WORDS.contains(c)),
        _ => false,
    }
}

/// Returns true if letters before the sign `unit`, or a code behind the number, name another
/// currency: `HK$480`, `$480 CAD`.
fn is_other_currency(unit: &str, beyond: &str, after: &str) -> bool {
    let own: &[&str] = match unit {
        "$" => &OWN_DOLLARS,
        "¥" => &OWN_YUAN,
        _ => return false,
    };
    let length = beyond.bytes().rev().take(4).take_while(u8::is_ascii_alphabetic).count();
    let letters = beyond.get(beyond.len() - length..).unwrap_or_default();
    let prefixed = (1..=3).contains(&length) && !own.contains(&letters);
    prefixed || OTHER_CURRENCIES.iter().any(|code| after.starts_with(code))
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
