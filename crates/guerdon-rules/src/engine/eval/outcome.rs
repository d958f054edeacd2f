//! What a test found in a text, and how findings add up.

use guerdon_types::RuleHit;

/// What a rule says of a turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// It hits; whether only folding found it.
    Hit(RuleHit, bool),
    Miss,
    Unknown(String),
}

/// What a test found so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    pub(super) yes: bool,
    pub(super) hits: usize,
    /// Places in the scored turn.
    pub(super) spans: Vec<[usize; 2]>,
    pub(super) details: Vec<String>,
    /// Why it might be more than was found.
    pub(super) unknown: Option<String>,
    /// Some place was written in a way that hides it.
    pub(super) disguised: bool,
}

impl Outcome {
    pub(super) fn no() -> Self {
        Self::default()
    }

    pub(super) fn unknown(why: String) -> Self {
        Self { unknown: Some(why), ..Self::default() }
    }

    /// Takes over what `other` found, but not its `yes`.
    pub(super) fn absorb(&mut self, other: Self) {
        self.hits += other.hits;
        self.spans.extend(other.spans);
        self.details.extend(other.details);
        self.unknown = self.unknown.take().or(other.unknown);
        self.disguised |= other.disguised;
    }

    /// Either.
    pub(super) fn join(&mut self, other: Self) {
        self.yes |= other.yes;
        self.absorb(other);
    }

    /// Fewer than `count` hits are none.
    pub(super) fn at_least(mut self, count: usize) -> Self {
        self.yes = self.hits >= count;
        if !self.yes && self.unknown.is_none() {
            return Self::no();
        }
        self
    }

    /// As `at_least`, but a composition may be true without a hit to show, as `not` is.
    pub(super) fn at_least_if_found(self, count: usize) -> Self {
        if count <= 1 || !self.yes { self } else { self.at_least(count) }
    }
}
