//! The standing of an asked source on one turn. A missing number has a type of its own, so that no
//! fusion can take it for a number or for a source that was not asked.

use guerdon_types::Signal;

/// The answer of a source, or of several sources of one [`Channel`](crate::Channel), that were asked
/// about a turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// Every source gave its whole number; the value is the sum.
    Scored(f64),
    /// Some number is missing: a source abstained in part, or one of several abstained. The value is
    /// the sum of the rest.
    PartlyScored(f64),
    /// No source gave a number.
    Silent,
}

impl Standing {
    /// The standing of the source that gave `signal`.
    #[must_use]
    pub fn of(signal: &Signal) -> Self {
        match &signal.part {
            None => Self::Silent,
            Some(part) if signal.abstained.is_empty() => Self::Scored(part.value()),
            Some(part) => Self::PartlyScored(part.value()),
        }
    }

    /// The number, complete or not; `None` for a silent source.
    #[must_use]
    pub const fn value(self) -> Option<f64> {
        match self {
            Self::Scored(value) | Self::PartlyScored(value) => Some(value),
            Self::Silent => None,
        }
    }

    /// True if nothing is missing.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::Scored(_))
    }

    /// The standing of two sources of one channel together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Silent, Self::Silent) => Self::Silent,
            (Self::Scored(a), Self::Scored(b)) => Self::Scored(a + b),
            (a, b) => Self::PartlyScored(a.value().unwrap_or(0.0) + b.value().unwrap_or(0.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::{AbstainWhy, Abstention, Finite, OtherPart, Part, SourceId};
    use proptest::prelude::*;

    use super::*;

    fn any_standing() -> impl Strategy<Value = Standing> {
        prop_oneof![
            (-9..9i32).prop_map(|n| Standing::Scored(n.into())),
            (-9..9i32).prop_map(|n| Standing::PartlyScored(n.into())),
            Just(Standing::Silent),
        ]
    }

    proptest! {
        #[test]
        fn joint_standing_is_whole_only_if_both_are_and_silent_only_if_both_are(
            a in any_standing(), b in any_standing(), c in any_standing(),
        ) {
            let both = a.and(b);
            prop_assert_eq!(both.is_whole(), a.is_whole() && b.is_whole());
            prop_assert_eq!(both == Standing::Silent, a == Standing::Silent && b == Standing::Silent);
            prop_assert_eq!(both, b.and(a));
            prop_assert_eq!(both.and(c), a.and(b.and(c)));
        }
    }

    #[test]
    fn signal_with_an_abstention_is_never_whole() {
        let part = OtherPart { points: Finite::from(3), ..OtherPart::default() };
        let scored = Signal::scored(Part::Other(part));
        let why = Abstention::new(SourceId::judge(), AbstainWhy::Deadline, "late");
        let in_part = scored.clone().and_abstained([why.clone()]);
        let mut empty = scored.clone();
        empty.part = None;
        assert_eq!(Standing::of(&scored), Standing::Scored(3.0));
        assert_eq!(Standing::of(&in_part), Standing::PartlyScored(3.0));
        assert_eq!(Standing::of(&Signal::abstained(why)), Standing::Silent);
        assert_eq!(Standing::of(&empty), Standing::Silent, "a signal without a reason");
    }
}
