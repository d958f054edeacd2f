//! The sources of a turn in one form, whether the reply names them in `parts` or in fields of their
//! own.

use guerdon_types::{Evidence, Part, SourceKind, SourcePart, SourceRole, TurnResult};

/// A source's number on a turn, as it enters the fusion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TurnSource {
    /// The name.
    pub(crate) name: String,
    /// The kind, as in the reply.
    pub(crate) kind: String,
    /// The role in the fusion; `None` for a word that this version does not know.
    pub(crate) role: Option<SourceRole>,
    /// The number before weight and normaliser.
    pub(crate) value: f64,
    /// The number that enters the fusion.
    pub(crate) term: f64,
    /// True if the source forbids the reward.
    pub(crate) veto: bool,
    /// The numbers that `value` is made of.
    pub(crate) components: Vec<(String, f64)>,
    /// The places and quotes behind the number.
    pub(crate) evidence: Vec<Evidence>,
}

impl TurnSource {
    fn new(name: &str, part: &SourcePart) -> Self {
        let components =
            part.components.iter().map(|(name, number)| (name.clone(), number.get())).collect();
        Self {
            name: name.to_owned(),
            kind: part.kind.as_str().to_owned(),
            role: part.role(),
            value: part.value.get(),
            term: part.term(),
            veto: part.veto,
            components,
            evidence: part.evidence.clone(),
        }
    }
}

/// The sources that gave a number: bases first, then in the order of their names.
#[must_use]
pub(crate) fn turn_sources(turn: &TurnResult) -> Vec<TurnSource> {
    let mut sources: Vec<TurnSource> =
        turn.parts.iter().map(|(name, part)| TurnSource::new(name.as_str(), part)).collect();
    let mut add = |name: &str, kind: SourceKind, part: Part| {
        if !sources.iter().any(|source| source.name == name) {
            sources.push(TurnSource::new(name, &SourcePart::new(kind, &part)));
        }
    };
    if let Some(part) = &turn.rm {
        add("rm", SourceKind::Model, Part::Rm(part.clone()));
    }
    if let Some(part) = &turn.judge {
        add("judge", SourceKind::Judge, Part::Judge(part.clone()));
    }
    if let Some(part) = &turn.rules {
        add("rules", SourceKind::Rules, Part::Rules(part.clone()));
    }
    for (name, part) in &turn.other {
        add(name.as_str(), SourceKind::External, Part::Other(part.clone()));
    }
    sources.sort_by_key(|source| source.role != Some(SourceRole::Base));
    sources
}

/// The sum of the bases' terms; `None` without a base.
#[must_use]
pub(crate) fn base(sources: &[TurnSource]) -> Option<f64> {
    let bases = sources.iter().filter(|source| source.role == Some(SourceRole::Base));
    bases.map(|source| source.term).reduce(|sum, term| sum + term)
}

/// The sum of the terms that modulate the base, before any clipping.
#[must_use]
pub(crate) fn points(sources: &[TurnSource]) -> f64 {
    let points = sources.iter().filter(|source| source.role == Some(SourceRole::Points));
    points.map(|source| source.term).sum()
}
