//! The outcome of a matcher in a text, and the sum of several.

use guerdon_types::{RuleHit, SuppressedMatch};

use crate::engine::scan::Suppression;

/// The greatest number of spans that a hit reports. All of them count.
pub(super) const MAX_SPANS: usize = 64;

/// The verdict of a rule on a turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RuleVerdict {
    /// The rule hits. True if it was found only because of folding.
    Hit(RuleHit, bool),
    Miss,
    Unknown(String),
}

/// The verdict of a rule, with the matches that did not count.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RuleOutcome {
    pub(crate) verdict: RuleVerdict,
    pub(crate) suppressed: Option<SuppressedMatch>,
}

impl From<RuleVerdict> for RuleOutcome {
    fn from(verdict: RuleVerdict) -> Self {
        Self { verdict, suppressed: None }
    }
}

/// Matches that do not count because of how their words are meant.
#[derive(Debug, Clone, Default)]
pub(super) struct SuppressedMatches {
    /// The reason of the first one.
    pub(super) why: Option<Suppression>,
    /// Spans in the scored turn.
    pub(super) spans: Vec<[usize; 2]>,
}

/// The text that a hit is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HitText {
    ScoredTurn,
    /// Another message, by index.
    Message(usize),
    /// Earlier messages, joined.
    Earlier,
}

/// The place of a hit, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HitPlace {
    pub(super) text: HitText,
    pub(super) span: [usize; 2],
}

/// The hits of a matcher so far.
#[derive(Debug, Clone, Default)]
pub(super) struct MatchOutcome {
    pub(super) yes: bool,
    pub(super) hits: usize,
    pub(super) places: Vec<HitPlace>,
    pub(super) details: Vec<String>,
    /// The missing fact without which there might be more hits.
    pub(super) unknown: Option<String>,
    /// Set if a hit was written in disguise.
    pub(super) disguised: bool,
    pub(super) suppressed: SuppressedMatches,
}

impl SuppressedMatches {
    pub(super) const fn is_empty(&self) -> bool {
        self.why.is_none()
    }

    pub(super) fn absorb(&mut self, other: Self) {
        self.why = self.why.take().or(other.why);
        self.spans.extend(other.spans);
    }
}

impl MatchOutcome {
    pub(super) fn no() -> Self {
        Self::default()
    }

    pub(super) fn unknown(why: String) -> Self {
        Self { unknown: Some(why), ..Self::default() }
    }

    /// Adds a hit that has no place in a text.
    pub(super) fn add_call(&mut self, detail: String) {
        self.yes = true;
        self.hits += 1;
        self.details.push(detail);
    }

    /// Keeps the first reason that there might be more hits.
    pub(super) fn add_unknown(&mut self, why: String) {
        self.unknown.get_or_insert(why);
    }

    /// Adds the hits of `other` without its `yes`.
    pub(super) fn absorb(&mut self, other: Self) {
        self.hits += other.hits;
        self.places.extend(other.places);
        self.details.extend(other.details);
        self.unknown = self.unknown.take().or(other.unknown);
        self.disguised |= other.disguised;
        self.suppressed.absorb(other.suppressed);
    }

    /// Combines two outcomes of which one is enough.
    pub(super) fn join(&mut self, other: Self) {
        self.yes |= other.yes;
        self.absorb(other);
    }

    /// Combines the outcomes of two matchers of which one is enough. Words that both match count
    /// once.
    pub(super) fn join_distinct(&mut self, other: Self) {
        let again = again(&self.places, &other.places);
        self.join(other);
        self.hits = self.hits.saturating_sub(again);
    }

    /// Turns fewer than `count` hits into a miss.
    pub(super) fn at_least(mut self, count: usize) -> Self {
        self.yes = self.hits >= count;
        if !self.yes && self.unknown.is_none() {
            return Self { suppressed: self.suppressed, ..Self::no() };
        }
        self
    }

    /// Like `at_least`, but keeps a composition that is true without a span, such as `not`.
    pub(super) fn at_least_if_found(self, count: usize) -> Self {
        if count <= 1 || !self.yes { self } else { self.at_least(count) }
    }
}

/// The number of `places` that share a character with one of `known`.
fn again(known: &[HitPlace], places: &[HitPlace]) -> usize {
    if known.is_empty() || places.is_empty() {
        return 0;
    }
    // Sorted and joined where they overlap, so that their ends ascend too.
    let mut sorted = known.to_vec();
    sorted.sort_unstable();
    let mut joined: Vec<HitPlace> = Vec::with_capacity(sorted.len());
    for place in sorted {
        match joined.last_mut() {
            Some(last) if last.text == place.text && place.span[0] < last.span[1] => {
                last.span[1] = last.span[1].max(place.span[1]);
            }
            _ => joined.push(place),
        }
    }
    let is_known = |place: &&HitPlace| {
        let [start, end] = place.span;
        let next = joined.partition_point(|one| (one.text, one.span[1]) <= (place.text, start));
        joined.get(next).is_some_and(|one| one.text == place.text && one.span[0] < end)
    };
    places.iter().filter(is_known).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places() -> impl Strategy<Value = Vec<HitPlace>> {
        let texts = prop::sample::select(vec![HitText::ScoredTurn, HitText::Message(1)]);
        let place = (texts, 0_usize..20, 1_usize..6)
            .prop_map(|(text, start, length)| HitPlace { text, span: [start, start + length] });
        prop::collection::vec(place, 0..12)
    }

    proptest! {
        #[test]
        fn words_matched_again_are_found_as_by_a_search_of_all_pairs(
            known in places(),
            found in places(),
        ) {
            let meet = |a: &HitPlace, b: &HitPlace| {
                a.text == b.text && a.span[0] < b.span[1] && b.span[0] < a.span[1]
            };
            let wanted = found.iter().filter(|a| known.iter().any(|b| meet(a, b))).count();
            prop_assert_eq!(again(&known, &found), wanted);
        }
    }
}
