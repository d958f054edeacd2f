//! The assertions of a criterion's sentence about the reply, as far as a word list can tell.

/// The judgement that a word expresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sense {
    Fault,
    Virtue,
}

impl Sense {
    /// The opposite sense if `negated`, otherwise the same.
    pub(super) const fn negated_if(self, negated: bool) -> Self {
        match (self, negated) {
            (sense, false) => sense,
            (Self::Fault, true) => Self::Virtue,
            (Self::Virtue, true) => Self::Fault,
        }
    }
}

/// The assertions of a sentence about the reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Assertions {
    /// The sense of each group of assertions. "And" separates groups; alternatives joined by "or"
    /// are one group.
    pub(super) groups: Vec<Sense>,
}

impl Assertions {
    /// The sense that all groups share, if there is one.
    pub(super) fn sense(&self) -> Option<Sense> {
        let first = *self.groups.first()?;
        self.groups.iter().all(|sense| *sense == first).then_some(first)
    }

    /// True if at least two things of one sense are asserted.
    pub(super) fn is_compound(&self) -> bool {
        self.groups.len() > 1 && self.sense().is_some()
    }
}
