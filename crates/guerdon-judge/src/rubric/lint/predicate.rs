//! What a criterion's sentence asserts of the reply, as far as a word list can tell.

/// The judgement that a word expresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sense {
    Fault,
    Virtue,
}

impl Sense {
    /// The opposite, if `negated`.
    pub(super) const fn negated_if(self, negated: bool) -> Self {
        match (self, negated) {
            (sense, false) => sense,
            (Self::Fault, true) => Self::Virtue,
            (Self::Virtue, true) => Self::Fault,
        }
    }
}

/// What a sentence asserts of the reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Assertions {
    /// The senses of what is asserted, in groups that "and" joins. Alternatives joined by "or" are
    /// one group.
    pub(super) groups: Vec<Sense>,
}

impl Assertions {
    /// The sense of the whole sentence, if all of it has one.
    pub(super) fn sense(&self) -> Option<Sense> {
        let first = *self.groups.first()?;
        self.groups.iter().all(|sense| *sense == first).then_some(first)
    }

    /// True if at least two things of one sense are asserted.
    pub(super) fn is_compound(&self) -> bool {
        self.groups.len() > 1 && self.sense().is_some()
    }
}
