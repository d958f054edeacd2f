//! The codes of the diagnostics about rule packs.

use guerdon_text::Code;

/// The code of a diagnostic. A code keeps its meaning across versions, so that users can search for
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PackCode {
    Syntax,
    UnknownKey,
    MissingKey,
    WrongType,
    BadValue,
    DuplicateId,
    BadRegex,
    BadExpression,
    Contradiction,
    ExampleMustHit,
    ExampleMustMiss,
    ExampleUndecided,
    TooLarge,
    Expired,
    NoAbout,
    NoExamples,
    Expires,
    MatchesEmpty,
    NoCap,
    NeverMatches,
    Slow,
    LoosePrice,
    Overlap,
    Shadowed,
    NegationListed,
}

impl From<PackCode> for Code {
    fn from(code: PackCode) -> Self {
        use PackCode as Pack;
        match code {
            Pack::Syntax => Self::error("R001"),
            Pack::UnknownKey => Self::error("R002"),
            Pack::MissingKey => Self::error("R003"),
            Pack::WrongType => Self::error("R004"),
            Pack::BadValue => Self::error("R005"),
            Pack::DuplicateId => Self::error("R006"),
            Pack::BadRegex => Self::error("R007"),
            Pack::BadExpression => Self::error("R008"),
            Pack::Contradiction => Self::error("R009"),
            Pack::ExampleMustHit => Self::error("R010"),
            Pack::ExampleMustMiss => Self::error("R011"),
            Pack::ExampleUndecided => Self::error("R012"),
            Pack::TooLarge => Self::error("R013"),
            Pack::Expired => Self::error("R014"),
            Pack::NoAbout => Self::warning("R101"),
            Pack::NoExamples => Self::warning("R102"),
            Pack::Expires => Self::warning("R103"),
            Pack::MatchesEmpty => Self::warning("R104"),
            Pack::NoCap => Self::warning("R105"),
            Pack::NeverMatches => Self::warning("R106"),
            Pack::Slow => Self::warning("R107"),
            Pack::LoosePrice => Self::warning("R108"),
            Pack::Overlap => Self::warning("R109"),
            Pack::Shadowed => Self::warning("R110"),
            Pack::NegationListed => Self::warning("R111"),
        }
    }
}
