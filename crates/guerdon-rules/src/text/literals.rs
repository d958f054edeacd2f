//! The literals of all rules in one automaton, so that a text is scanned once for any number of
//! rules.
//!
//! A leaf is a set of literals with one user: the words of a rule, the words near a number, or the
//! literals that a regex requires. Hits are kept by leaf in lists that share one vector, so that a
//! turn allocates nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use daachorse::CharwiseDoubleArrayAhoCorasick as Automaton;

use crate::text::span_index::SpanIndex;
use crate::text::steps;

/// The literals of many leaves.
#[derive(Default)]
pub(crate) struct Literals {
    /// The literals to build, each with its leaves.
    wanted: BTreeMap<String, Vec<u32>>,
    leaves: u32,
    automaton: Option<Automaton<u32>>,
    /// The range of `owners` with the leaves of each pattern.
    owner_ranges: Vec<Range<u32>>,
    /// Leaves, grouped by pattern.
    owners: Vec<u32>,
}

impl std::fmt::Debug for Literals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Literals")
            .field("patterns", &self.owner_ranges.len())
            .field("leaves", &self.leaves)
            .finish()
    }
}

impl Literals {
    /// Adds a leaf with `words`.
    pub(crate) fn leaf(&mut self, words: impl IntoIterator<Item = String>) -> u32 {
        let leaf = self.leaves;
        self.leaves += 1;
        for word in words {
            self.add(leaf, word);
        }
        leaf
    }

    /// Adds a word to `leaf`.
    pub(crate) fn add(&mut self, leaf: u32, word: String) {
        self.leaves = self.leaves.max(leaf + 1);
        let owners = self.wanted.entry(word).or_default();
        if owners.last() != Some(&leaf) {
            owners.push(leaf);
        }
    }

    /// Builds the automaton. Words added later are not found.
    pub(crate) fn build(&mut self) -> Result<(), String> {
        let wanted = std::mem::take(&mut self.wanted);
        if wanted.is_empty() {
            return Ok(());
        }
        let mut patterns = Vec::with_capacity(wanted.len());
        for (word, owners) in wanted {
            let start = self.owners.len() as u32;
            self.owners.extend(owners);
            self.owner_ranges.push(start..self.owners.len() as u32);
            patterns.push(word);
        }
        let with_ids = patterns.iter().zip(0_u32..);
        self.automaton = Some(Automaton::with_values(with_ids).map_err(|error| error.to_string())?);
        Ok(())
    }

    pub(crate) const fn leaves(&self) -> u32 {
        self.leaves
    }

    /// The size on the heap, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.automaton.as_ref().map_or(0, Automaton::heap_bytes)
            + 4 * self.owners.len()
            + 8 * self.owner_ranges.len()
    }

    /// Calls `each` with every occurrence, including overlapping ones, once for each of its leaves,
    /// until `each` returns false.
    pub(crate) fn find(&self, text: &str, mut each: impl FnMut(u32, Range<usize>) -> bool) {
        let Some(automaton) = &self.automaton else { return };
        for hit in automaton.find_overlapping_iter(text) {
            let range = self.owner_ranges.get(hit.value() as usize).cloned().unwrap_or_default();
            let owners =
                self.owners.get(range.start as usize..range.end as usize).unwrap_or_default();
            for leaf in owners {
                if !each(*leaf, hit.start()..hit.end()) {
                    return;
                }
            }
        }
    }
}

/// The number of hits of a leaf up to which a linear search is cheaper than an index.
const FEW_HITS: usize = 16;

/// The hits in one text, by leaf.
#[derive(Debug, Default)]
pub(crate) struct LiteralHits {
    /// The first and the last hit of each leaf, counted from 1; 0 if there is none.
    ends: Vec<[u32; 2]>,
    hits: Vec<Hit>,
    /// Leaves with a hit.
    pub(crate) touched: Vec<u32>,
    /// Working space for readers of the hits.
    pub(crate) scratch: RefCell<Vec<usize>>,
    /// Indexes of the leaves with many hits, built when first needed.
    indexes: RefCell<BTreeMap<u32, SpanIndex>>,
}

#[derive(Debug, Clone, Copy)]
struct Hit {
    start: u32,
    end: u32,
    /// The leaf's next hit, counted from 1.
    next: u32,
}

impl LiteralHits {
    /// Removes all hits and prepares for a text, in a plan with `leaves` leaves.
    pub(crate) fn reset(&mut self, leaves: u32) {
        if self.ends.len() == leaves as usize {
            for leaf in &self.touched {
                if let Some(ends) = self.ends.get_mut(*leaf as usize) {
                    *ends = [0, 0];
                }
            }
        } else {
            self.ends.clear();
            self.ends.resize(leaves as usize, [0, 0]);
        }
        self.touched.clear();
        self.hits.clear();
        self.indexes.get_mut().clear();
    }

    pub(crate) fn push(&mut self, leaf: u32, bytes: &Range<usize>) {
        let Some(ends) = self.ends.get_mut(leaf as usize) else { return };
        self.hits.push(Hit { start: bytes.start as u32, end: bytes.end as u32, next: 0 });
        let index = self.hits.len() as u32;
        if ends[0] == 0 {
            ends[0] = index;
            self.touched.push(leaf);
        } else if let Some(last) = self.hits.get_mut(ends[1] as usize - 1) {
            last.next = index;
        }
        ends[1] = index;
    }

    /// The hits of `leaf` in the order of their ends. Hits found only in the loose reading come
    /// last.
    pub(crate) fn of(&self, leaf: u32) -> impl Iterator<Item = Range<usize>> {
        let mut next = self.ends.get(leaf as usize).map_or(0, |ends| ends[0]);
        std::iter::from_fn(move || {
            let hit = self.hits.get((next as usize).checked_sub(1)?)?;
            steps::add(1);
            next = hit.next;
            Some(hit.start as usize..hit.end as usize)
        })
    }

    /// Returns true if a hit of `leaf` that passes `filter` is within `window`. All calls for one
    /// leaf must pass the same filter, because the index stores the hits that passed it.
    ///
    /// Up to [`FEW_HITS`] hits are searched linearly. Beyond that an index is built, because many
    /// windows compared with many hits would take quadratic time.
    pub(crate) fn has_within(
        &self,
        leaf: u32,
        window: &Range<usize>,
        filter: impl Fn(&Range<usize>) -> bool,
    ) -> bool {
        let mut hits = self.of(leaf);
        let few = hits.by_ref().take(FEW_HITS);
        let fits = |hit: &Range<usize>| window.start <= hit.start && hit.end <= window.end;
        if few.into_iter().any(|hit| fits(&hit) && filter(&hit)) {
            return true;
        }
        if hits.next().is_none() {
            return false;
        }
        let mut indexes = self.indexes.borrow_mut();
        let index =
            indexes.entry(leaf).or_insert_with(|| SpanIndex::new(self.of(leaf).filter(filter)));
        index.has_within(window)
    }

    pub(crate) fn has(&self, leaf: u32) -> bool {
        self.ends.get(leaf as usize).is_some_and(|ends| ends[0] != 0)
    }
}

/// Keeps the leftmost of overlapping `ranges`, and the longest of ranges with the same start.
pub(crate) fn leftmost_longest(ranges: &mut Vec<Range<usize>>) {
    if ranges.len() < 2 {
        return;
    }
    ranges.sort_unstable_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut end = 0;
    ranges.retain(|range| {
        let free = range.start >= end;
        if free {
            end = range.end;
        }
        free
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_of_two_leaves_is_reported_for_both() {
        let mut literals = Literals::default();
        let one = literals.leaf(["工单".to_owned(), "工单号".to_owned()]);
        let two = literals.leaf(["工单".to_owned()]);
        literals.build().unwrap();
        let mut found = LiteralHits::default();
        for _ in 0..2 {
            found.reset(literals.leaves());
            literals.find("工单号", |leaf, bytes| {
                found.push(leaf, &bytes);
                true
            });
            let mut first: Vec<_> = found.of(one).collect();
            leftmost_longest(&mut first);
            assert_eq!(first, vec![0..9]);
            assert_eq!(found.of(two).collect::<Vec<_>>(), vec![0..6]);
            assert_eq!(found.touched.len(), 2);
        }
    }
}
