//! What a text must have before a pattern without a literal is run on it.

use std::ops::Range;

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};

use super::register::Register;
use crate::normalise::Longest;
use crate::present::Present;

/// A counted class of at least this many characters is asked for by its run.
const RUN: u32 = 8;

/// Necessary conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    /// Of each set, a character.
    needs: Vec<Present>,
    /// Bytes.
    least: usize,
    /// A run of so many characters of a class of the plan.
    run: Option<(u32, u32)>,
}

/// A class whose longest run is measured, once a text, for all patterns that count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunClass {
    ascii: u128,
    /// Whether all the basic ideographs are in it, or none; otherwise they are looked up.
    ideographs: Option<bool>,
    /// The one character that is not in it.
    except: Option<char>,
    within: Within,
    class: ClassUnicode,
}

/// What a class is a part of, where a folded text knows the longest run of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Letters,
    Ideographs,
    Anything,
}

impl Gate {
    pub(super) fn of(hir: &Hir, plan: &mut impl Register) -> Self {
        let mut needs = Vec::new();
        required(hir, &mut needs);
        needs.sort_by_key(|set| set.breadth());
        needs.dedup();
        needs.truncate(3);
        let run = run(hir).map(|(class, times)| (plan.run(RunClass::new(class)), times));
        Self { needs, least: hir.properties().minimum_len().unwrap_or(usize::MAX), run }
    }

    /// Whether about every text passes.
    pub(crate) fn is_broad(&self) -> bool {
        self.run.is_none() && self.least < 64 && self.needs.iter().all(|set| set.breadth() > 64)
    }

    /// Whether a text may match; `has_run` tells whether a class has a run of that length.
    pub(crate) fn passes(
        &self,
        present: Present,
        bytes: usize,
        has_run: impl FnOnce(u32, u32) -> bool,
    ) -> bool {
        bytes >= self.least
            && self.needs.iter().all(|set| set.meets(present))
            && self.run.is_none_or(|(class, times)| has_run(class, times))
    }
}

fn required(hir: &Hir, needs: &mut Vec<Present>) {
    match hir.kind() {
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).unwrap_or_default();
            needs.extend(text.chars().map(Present::of));
        }
        HirKind::Class(class) => needs.push(Present::of_class(class)),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub, needs),
        HirKind::Capture(capture) => required(&capture.sub, needs),
        HirKind::Concat(parts) => parts.iter().for_each(|part| required(part, needs)),
        HirKind::Alternation(parts) => {
            let mut union = Present::default();
            for part in parts {
                let mut inner = Vec::new();
                required(part, &mut inner);
                let Some(narrowest) = inner.into_iter().min_by_key(|set| set.breadth()) else { return };
                union = union.union(narrowest);
            }
            needs.push(union);
        }
        _ => {}
    }
}

fn run(hir: &Hir) -> Option<(&ClassUnicode, u32)> {
    match hir.kind() {
        HirKind::Repetition(repetition) if repetition.min >= RUN => match repetition.sub.kind() {
            HirKind::Class(Class::Unicode(class)) => Some((class, repetition.min)),
            _ => run(&repetition.sub),
        },
        HirKind::Repetition(repetition) if repetition.min > 0 => run(&repetition.sub),
        HirKind::Capture(capture) => run(&capture.sub),
        HirKind::Concat(parts) => parts.iter().filter_map(run).max_by_key(|(_, times)| *times),
        _ => None,
    }
}

/// How far the widest counted repetition counts.
pub(super) fn counts(hir: &Hir) -> u32 {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(repetition.min);
            most.saturating_mul(counts(&repetition.sub).max(1))
        }
        HirKind::Capture(capture) => counts(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(counts).max().unwrap_or(0),
        _ => 0,
    }
}

/// A pattern that is a counted class and nothing else.
#[derive(Debug)]
pub(super) struct Run {
    class: RunClass,
    least: u32,
    /// Characters that a match takes at most.
    most: u32,
}

impl Run {
    pub(super) fn of(hir: &Hir) -> Option<Self> {
        let HirKind::Repetition(repetition) = hir.kind() else { return None };
        let (HirKind::Class(Class::Unicode(class)), true) = (repetition.sub.kind(), repetition.min > 0)
        else {
            return None;
        };
        let most = if repetition.greedy { repetition.max.unwrap_or(u32::MAX) } else { repetition.min };
        Some(Self { class: RunClass::new(class), least: repetition.min, most })
    }

    /// The leftmost matches, without overlaps, at most `limit`.
    pub(super) fn find(&self, text: &str, limit: usize, mut each: impl FnMut(Range<usize>)) {
        let Some(except) = self.class.except else { return self.find_by_characters(text, limit, each) };
        // Whole lines, most of them not long enough: they are counted, not walked through.
        let mut hits = 0;
        for (start, run) in runs_between(text, except) {
            let mut rest = run;
            while (hits < limit) && rest.len() >= self.least as usize {
                let length = rest.chars().count();
                if length < self.least as usize {
                    break;
                }
                let cut = (length > self.most as usize).then(|| rest.char_indices().nth(self.most as usize));
                let end = cut.flatten().map_or(rest.len(), |(end, _)| end);
                let from = start + (run.len() - rest.len());
                each(from..from + end);
                hits += 1;
                rest = rest.get(end..).unwrap_or_default();
            }
        }
    }

    fn find_by_characters(&self, text: &str, limit: usize, mut each: impl FnMut(Range<usize>)) {
        let (mut start, mut length, mut hits) = (0, 0_u32, 0);
        let mut close = |bytes: Range<usize>, length: u32| {
            if length >= self.least && hits < limit {
                hits += 1;
                each(bytes);
            }
        };
        for (at, c) in text.char_indices() {
            if !self.class.has(c) {
                close(start..at, length);
                length = 0;
                continue;
            }
            if length == self.most {
                close(start..at, length);
                length = 0;
            }
            if length == 0 {
                start = at;
            }
            length += 1;
        }
        close(start..text.len(), length);
    }
}

impl RunClass {
    fn new(class: &ClassUnicode) -> Self {
        let has = |c: char| class.ranges().iter().any(|range| range.start() <= c && c <= range.end());
        let all = class.ranges().iter().any(|r| r.start() <= '\u{4e00}' && r.end() >= '\u{9fff}');
        let some = class.ranges().iter().any(|r| r.start() <= '\u{9fff}' && r.end() >= '\u{4e00}');
        let ascii = (0..128_u8).filter(|b| has(char::from(*b))).fold(0, |bits, b| bits | 1_u128 << b);
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
        let is_within = |start, end| class.ranges().iter().all(|r| start <= r.start() && r.end() <= end);
        let within = if is_within('a', 'z') {
            Within::Letters
        } else if is_within('\u{4e00}', '\u{9fff}') {
            Within::Ideographs
        } else {
            Within::Anything
        };
        Self { ascii, ideographs, except, within, class: class.clone() }
    }

    fn has(&self, c: char) -> bool {
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

    /// What the longest run of its characters is at most, in a folded text with such runs, if that can be told.
    pub(crate) const fn at_most(&self, longest: Longest) -> Option<usize> {
        match self.within {
            Within::Letters => Some(longest.letters),
            Within::Ideographs => Some(longest.ideographs),
            Within::Anything => None,
        }
    }

    /// The longest run of its characters in `text`.
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

/// What lies between each two of `except`, and where it begins.
fn runs_between(text: &str, except: char) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split(except).map(move |run| {
        let at = start;
        start += run.len() + except.len_utf8();
        (at, run)
    })
}
