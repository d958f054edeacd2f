//! The variables that a value is made of.

use std::collections::BTreeMap;

/// A name that holds a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name<'a> {
    /// A variable, a loop's target or a macro's parameter.
    Variable(&'a str),
    /// An attribute of a namespace, whichever namespace it is.
    Attribute(&'a str),
}

impl<'a> Name<'a> {
    pub(super) const fn text(self) -> &'a str {
        match self {
            Self::Variable(text) | Self::Attribute(text) => text,
        }
    }
}

/// The part of a variable in a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// The number of times that the value holds it.
    pub(super) count: u64,
    /// Set if the value holds it inside another list or map.
    pub(super) nested: bool,
}

/// The variables that a value may hold, with their shares. Numbers and texts hold none: the engine
/// charges for the size of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Flow<'a>(pub(super) BTreeMap<Name<'a>, Share>);

impl<'a> Flow<'a> {
    pub(super) fn of(name: Name<'a>) -> Self {
        Self(BTreeMap::from([(name, Share { count: 1, nested: false })]))
    }

    /// The flow of a value that holds both.
    pub(super) fn and(self, other: Self) -> Self {
        self.merged(other, u64::saturating_add)
    }

    /// The flow of a value that is one or the other.
    pub(super) fn or(self, other: Self) -> Self {
        self.merged(other, u64::max)
    }

    /// The flow of a list or map that holds the value.
    pub(super) fn nested(mut self) -> Self {
        self.0.values_mut().for_each(|share| share.nested = true);
        self
    }

    /// The flow of a list that holds the value's items several times.
    pub(super) fn repeated(self) -> Self {
        self.clone().and(self)
    }

    fn merged(mut self, other: Self, count: fn(u64, u64) -> u64) -> Self {
        for (name, share) in other.0 {
            let own = self.0.entry(name).or_default();
            own.count = count(own.count, share.count);
            own.nested |= share.nested;
        }
        self
    }
}
