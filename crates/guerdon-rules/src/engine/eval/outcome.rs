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

/// The hits of a matcher so far.
#[derive(Debug, Clone, Default)]
pub(super) struct MatchOutcome {
    pub(super) yes: bool,
    pub(super) hits: usize,
    /// Spans in the scored turn.
    pub(super) spans: Vec<[usize; 2]>,
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

    /// Keeps the first reason that there might be more hits.
    pub(super) fn add_unknown(&mut self, why: String) {
        self.unknown.get_or_insert(why);
    }

    /// Adds the hits of `other` without its `yes`.
    pub(super) fn absorb(&mut self, other: Self) {
        self.hits += other.hits;
        self.spans.extend(other.spans);
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
