//! The codes of the diagnostics about rule packs.

use guerdon_text::Code;

/// The code of a diagnostic. A code keeps its meaning across versions, so that users can search for
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PackCode {
    /// The file is not YAML.
    Syntax,
    /// A key is unknown.
    UnknownKey,
    /// A required key is missing.
    MissingKey,
    /// A value has the wrong type.
    WrongType,
    /// A value is not allowed.
    BadValue,
    /// Two packs or rules share an id.
    DuplicateId,
    /// A pattern is not a regex, or is too large.
    BadRegex,
    /// A `where` or `must` is invalid.
    BadExpression,
    /// Two keys exclude each other.
    Contradiction,
    /// An example under `hits` is not hit.
    ExampleMustHit,
    /// An example under `misses` is hit.
    ExampleMustMiss,
    /// An example cannot be decided, because a fact is missing.
    ExampleUndecided,
    /// The pack, or all packs together, are too large.
    TooLarge,
    /// The rule has expired. Only `guerdon rules check` reports it.
    Expired,
    /// A fact is not declared under `facts`, or cannot have the value.
    UnknownFact,
    /// A file cannot be imported.
    BadImport,
    /// The pack or the rule has no `about`.
    NoAbout,
    /// The rule has no examples.
    NoExamples,
    /// The rule expires soon, or has expired.
    Expires,
    /// A regex matches the empty text.
    MatchesEmpty,
    /// Points are summed without a cap.
    NoCap,
    /// A regex never matches.
    NeverMatches,
    /// A regex runs over every turn.
    Slow,
    /// A price may be the end of a longer one.
    LoosePrice,
    /// A word is also counted by another rule.
    Overlap,
    /// A word is covered by a shorter one of its list.
    Shadowed,
    /// A negation is under `not_near` next to `unless: negated`.
    NegationListed,
    /// A rule has 0 points.
    NoPoints,
    /// A regex repeats a repetition, such as `o++`.
    Possessive,
    /// The pack reads facts and declares none.
    NoFacts,
    /// Values contradict each other, so that a rule hits every turn or none.
    Contradicting,
    /// A language is unknown, or a fact has a name that expressions cannot use.
    UselessName,
    /// A rule about tool calls does not say which turns it reads.
    CallsOfOneTurn,
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
            Pack::UnknownFact => Self::error("R015"),
            Pack::BadImport => Self::error("R016"),
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
            Pack::NoPoints => Self::warning("R112"),
            Pack::Possessive => Self::warning("R113"),
            Pack::NoFacts => Self::warning("R114"),
            Pack::Contradicting => Self::warning("R115"),
            Pack::UselessName => Self::warning("R116"),
            Pack::CallsOfOneTurn => Self::warning("R117"),
        }
    }
}
