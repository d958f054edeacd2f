//! What a pack becomes: rules whose patterns are compiled, and one automaton that finds the literals of all of them.

use std::ops::Range;

use aho_corasick::{AhoCorasick, BuildError};
use regex::Regex;

use crate::expr::Expr;
use crate::number::NumberSpec;
use crate::pack::{Across, Condition, Language, On, Repeated};

/// All rules of all packs, in pack and rule order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) folded: Literals,
    pub(crate) raw: Literals,
}

/// One rule, ready to run.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) pack: String,
    pub(crate) id: String,
    pub(crate) points: f64,
    pub(crate) per_hit: bool,
    pub(crate) cap: Option<f64>,
    pub(crate) veto: bool,
    pub(crate) shadow: bool,
    pub(crate) on: On,
    pub(crate) when: Vec<Condition>,
    /// `where` without a capture: said of the context alone.
    pub(crate) condition: Option<Expr>,
    pub(crate) matcher: Matcher,
}

/// A test, compiled.
#[derive(Debug)]
pub(crate) enum Matcher {
    Literals { leaf: usize, fold: bool, word: bool, count: usize },
    Regex { regex: Regex, fold: bool, condition: Option<Expr>, count: usize },
    Number { spec: NumberSpec, condition: Option<Expr>, count: usize },
    All { matchers: Vec<Self>, count: usize },
    Any { matchers: Vec<Self>, count: usize },
    Not(Box<Self>),
    Length { min: Option<usize>, max: Option<usize> },
    Repetition { across: Across, of: Repeated },
    LanguageMix { language: Option<Language>, share: f64, min: usize, allow: Vec<String> },
}

/// The literals of many leaves in one automaton: a text is scanned once, however many rules there are.
#[derive(Debug, Default)]
pub(crate) struct Literals {
    automaton: Option<AhoCorasick>,
    patterns: Vec<String>,
    /// For each pattern, the leaves that asked for it.
    owners: Vec<Vec<usize>>,
    leaves: usize,
}

impl Literals {
    /// A new leaf that asks for `words`.
    pub(crate) fn add(&mut self, words: impl IntoIterator<Item = String>) -> usize {
        let leaf = self.leaves;
        self.leaves += 1;
        for word in words {
            self.patterns.push(word);
            self.owners.push(vec![leaf]);
        }
        leaf
    }

    /// Merges equal patterns and builds the automaton.
    pub(crate) fn build(&mut self) -> Result<(), BuildError> {
        let mut pairs: Vec<(String, Vec<usize>)> =
            std::mem::take(&mut self.patterns).into_iter().zip(std::mem::take(&mut self.owners)).collect();
        pairs.sort();
        for (pattern, owners) in pairs {
            if self.patterns.last() == Some(&pattern)
                && let Some(last) = self.owners.last_mut()
            {
                last.extend(owners);
                continue;
            }
            self.patterns.push(pattern);
            self.owners.push(owners);
        }
        if !self.patterns.is_empty() {
            self.automaton = Some(AhoCorasick::new(&self.patterns)?);
        }
        Ok(())
    }

    /// Every occurrence, overlapping ones too, by leaf.
    pub(crate) fn find(&self, text: &str) -> Vec<Vec<Range<usize>>> {
        let mut found = vec![Vec::new(); self.leaves];
        let Some(automaton) = &self.automaton else {
            return found;
        };
        for hit in automaton.find_overlapping_iter(text) {
            for leaf in self.owners.get(hit.pattern().as_usize()).into_iter().flatten() {
                if let Some(ranges) = found.get_mut(*leaf) {
                    ranges.push(hit.range());
                }
            }
        }
        found
    }
}

/// The leftmost and, there, longest of `ranges`, without overlaps.
pub(crate) fn leftmost_longest(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut end = 0;
    ranges.retain(|range| {
        let free = range.start >= end;
        if free {
            end = range.end;
        }
        free
    });
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_literals_of_two_rules_are_found_for_both() {
        let mut literals = Literals::default();
        let one = literals.add(["工单".to_owned(), "工单号".to_owned()]);
        let two = literals.add(["工单".to_owned()]);
        literals.build().unwrap();
        let found = literals.find("工单号");
        assert_eq!(leftmost_longest(found[one].clone()), vec![0..9]);
        assert_eq!(found[two], vec![0..6]);
    }
}
