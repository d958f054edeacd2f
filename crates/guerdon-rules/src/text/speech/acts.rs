//! The speech acts, and sets of them.

/// A way in which words are meant, other than as a statement of the speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpeechAct {
    /// Denied, refused or forbidden.
    Negated,
    /// Part of a question.
    Question,
    /// Said by another speaker, or mentioned and not used.
    Reported,
    /// Stated under a condition.
    Conditional,
    /// Stated about an earlier time.
    Past,
    /// About what belongs to the addressee, or was given by them.
    Yours,
}

impl SpeechAct {
    /// All acts, in the order in which they are tried.
    pub(crate) const ALL: [Self; 6] =
        [Self::Negated, Self::Question, Self::Reported, Self::Conditional, Self::Past, Self::Yours];

    /// The name in packs and replies.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Negated => "negated",
            Self::Question => "question",
            Self::Reported => "reported",
            Self::Conditional => "conditional",
            Self::Past => "past",
            Self::Yours => "yours",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of speech acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SpeechActs(u8);

impl SpeechActs {
    pub(crate) const fn has(self, act: SpeechAct) -> bool {
        self.0 & act.bit() != 0
    }

    #[must_use]
    pub(crate) const fn with(self, act: SpeechAct) -> Self {
        Self(self.0 | act.bit())
    }

    #[must_use]
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
