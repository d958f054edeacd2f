//! A class of characters. Its longest run in a text is measured once for all patterns that need it.

use regex_syntax::hir::ClassUnicode;

use crate::text::normalise::LongestRuns;

/// A class of characters whose longest run is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunClass {
    /// The ASCII characters of the class, one bit each.
    ascii: u128,
    /// `Some(true)` if the class contains all basic ideographs (U+4E00 to U+9FFF), `Some(false)` if
    /// it contains none, and `None` if each must be looked up.
    ideographs: Option<bool>,
    /// The only character that is not in the class, if there is exactly one.
    pub(super) except: Option<char>,
    superset: Superset,
    class: ClassUnicode,
}

/// A superset of a class. Folding a text measures its longest runs of letters and of ideographs,
/// which bound the longest run of a class that they include.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Superset {
    Letters,
    Ideographs,
    Anything,
}

impl RunClass {
    pub(super) fn new(class: &ClassUnicode) -> Self {
        let has =
            |c: char| class.ranges().iter().any(|range| range.start() <= c && c <= range.end());
        let all = class.ranges().iter().any(|r| r.start() <= '\u{4e00}' && r.end() >= '\u{9fff}');
        let some = class.ranges().iter().any(|r| r.start() <= '\u{9fff}' && r.end() >= '\u{4e00}');
        let ascii =
            (0..128_u8).filter(|b| has(char::from(*b))).fold(0, |bits, b| bits | 1_u128 << b);
        let ideographs = if all {
            Some(true)
        } else if some {
            None
        } else {
            Some(false)
        };
        let mut others = class.clone();
        others.negate();
        let except = match others.ranges() {
            [range] if range.start() == range.end() => Some(range.start()),
            _ => None,
        };
        let is_within =
            |start, end| class.ranges().iter().all(|r| start <= r.start() && r.end() <= end);
        let superset = if is_within('a', 'z') {
            Superset::Letters
        } else if is_within('\u{4e00}', '\u{9fff}') {
            Superset::Ideographs
        } else {
            Superset::Anything
        };
        Self { ascii, ideographs, except, superset, class: class.clone() }
    }

    pub(super) fn has(&self, c: char) -> bool {
        let code = u32::from(c);
        if code < 128 {
            return self.ascii >> code & 1 == 1;
        }
        if let (0x4e00..=0x9fff, Some(all)) = (code, self.ideographs) {
            return all;
        }
        let at = self.class.ranges().partition_point(|range| range.end() < c);
        self.class.ranges().get(at).is_some_and(|range| range.start() <= c)
    }

    /// An upper bound of the class's longest run in a folded text whose measured runs are
    /// `longest`.
    pub(crate) const fn at_most(&self, longest: LongestRuns) -> Option<usize> {
        match self.superset {
            Superset::Letters => Some(longest.letters),
            Superset::Ideographs => Some(longest.ideographs),
            Superset::Anything => None,
        }
    }

    /// The length of the longest run of the class's characters in `text`.
    pub(crate) fn longest(&self, text: &str) -> u32 {
        if let Some(except) = self.except {
            let longest = runs_between(text, except).map(|(_, run)| run.chars().count()).max();
            return u32::try_from(longest.unwrap_or(0)).unwrap_or(u32::MAX);
        }
        let (mut longest, mut run) = (0, 0_u32);
        for c in text.chars() {
            run = if self.has(c) { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        longest
    }
}

/// The parts of `text` between occurrences of `except`, and their starts.
pub(super) fn runs_between(text: &str, except: char) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split(except).map(move |run| {
        let at = start;
        start += run.len() + except.len_utf8();
        (at, run)
    })
}
