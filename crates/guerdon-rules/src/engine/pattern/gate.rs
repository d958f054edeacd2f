//! Necessary conditions for a match, for patterns without a literal.

use std::ops::Range;

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};

use super::register::PatternRegistry;
use super::run_class::{RunClass, runs_between};
use crate::text::present::CharSet;

/// The least repetition of a class for which its longest run is measured.
const MIN_RUN: u32 = 8;

/// The conditions that a text must meet for a pattern to match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    /// Sets of characters. The text must contain a character of each set.
    needs: Vec<CharSet>,
    /// The least length of the text, in bytes.
    least: usize,
    /// A class of the plan, and the length of a run of its characters that the text must contain.
    run: Option<(u32, u32)>,
}

impl Gate {
    pub(super) fn of(hir: &Hir, plan: &mut impl PatternRegistry) -> Self {
        let mut needs = Vec::new();
        required(hir, &mut needs);
        needs.sort_by_key(|set| set.breadth());
        needs.dedup();
        needs.truncate(3);
        let run = run(hir).map(|(class, times)| (plan.run_class(RunClass::new(class)), times));
        Self { needs, least: hir.properties().minimum_len().unwrap_or(usize::MAX), run }
    }

    /// Returns true if almost every text passes.
    pub(crate) fn is_broad(&self) -> bool {
        self.run.is_none() && self.least < 64 && self.needs.iter().all(|set| set.breadth() > 64)
    }

    /// Returns true if a text with the characters `present` and a length of `bytes` may match.
    /// `has_run` takes a class and a length, and returns true if the text has such a run.
    pub(crate) fn passes(
        &self,
        present: CharSet,
        bytes: usize,
        has_run: impl FnOnce(u32, u32) -> bool,
    ) -> bool {
        bytes >= self.least
            && self.needs.iter().all(|set| set.meets(present))
            && self.run.is_none_or(|(class, times)| has_run(class, times))
    }
}

/// Adds sets of characters to `needs`. Every match of `hir` contains a character of each set.
fn required(hir: &Hir, needs: &mut Vec<CharSet>) {
    match hir.kind() {
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).unwrap_or_default();
            needs.extend(text.chars().map(CharSet::of));
        }
        HirKind::Class(class) => needs.push(CharSet::of_class(class)),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub, needs),
        HirKind::Capture(capture) => required(&capture.sub, needs),
        HirKind::Concat(parts) => parts.iter().for_each(|part| required(part, needs)),
        HirKind::Alternation(parts) => {
            let mut union = CharSet::default();
            for part in parts {
                let mut inner = Vec::new();
                required(part, &mut inner);
                let Some(narrowest) = inner.into_iter().min_by_key(|set| set.breadth()) else {
                    return;
                };
                union = union.union(narrowest);
            }
            needs.push(union);
        }
        _ => {}
    }
}

/// The longest run of a class that every match of `hir` contains.
fn run(hir: &Hir) -> Option<(&ClassUnicode, u32)> {
    match hir.kind() {
        HirKind::Repetition(repetition) if repetition.min >= MIN_RUN => match repetition.sub.kind()
        {
            HirKind::Class(Class::Unicode(class)) => Some((class, repetition.min)),
            _ => run(&repetition.sub),
        },
        HirKind::Repetition(repetition) if repetition.min > 0 => run(&repetition.sub),
        HirKind::Capture(capture) => run(&capture.sub),
        HirKind::Concat(parts) => parts.iter().filter_map(run).max_by_key(|(_, times)| *times),
        _ => None,
    }
}

/// The greatest number of repetitions that `hir` counts; nested counts are multiplied.
pub(super) fn greatest_count(hir: &Hir) -> u32 {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(repetition.min);
            most.saturating_mul(greatest_count(&repetition.sub).max(1))
        }
        HirKind::Capture(capture) => greatest_count(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(greatest_count).max().unwrap_or(0)
        }
        _ => 0,
    }
}

/// A pattern that is one repeated class, such as `[^\n]{80,}`.
#[derive(Debug)]
pub(super) struct CountedClass {
    class: RunClass,
    /// The least number of characters in a match.
    least: u32,
    /// The greatest number of characters in a match.
    most: u32,
}

impl CountedClass {
    pub(super) fn of(hir: &Hir) -> Option<Self> {
        let HirKind::Repetition(repetition) = hir.kind() else { return None };
        let (HirKind::Class(Class::Unicode(class)), true) =
            (repetition.sub.kind(), repetition.min > 0)
        else {
            return None;
        };
        let most =
            if repetition.greedy { repetition.max.unwrap_or(u32::MAX) } else { repetition.min };
        Some(Self { class: RunClass::new(class), least: repetition.min, most })
    }

    /// Calls `each` with the leftmost matches without overlaps, at most `limit`.
    pub(super) fn find(&self, text: &str, limit: usize, mut each: impl FnMut(Range<usize>)) {
        let Some(except) = self.class.except else {
            return self.find_by_characters(text, limit, each);
        };
        // The runs are usually whole lines, and most lines are too short for a match. Counting
        // their characters is cheaper than testing each one.
        let mut hits = 0;
        for (start, run) in runs_between(text, except) {
            let mut rest = run;
            while (hits < limit) && rest.len() >= self.least as usize {
                let length = rest.chars().count();
                if length < self.least as usize {
                    break;
                }
                let cut = (length > self.most as usize)
                    .then(|| rest.char_indices().nth(self.most as usize));
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
