//! An ensemble: several sources of a profile as one source.

use std::collections::BTreeMap;

use guerdon_types::{
    AbstainWhy, Abstention, Finite, OnAbstain, OtherPart, Part, Signal, SourceId, SourceKind,
    Vocabulary as _,
};

use super::{Ensemble, EnsemblePlaces};
use crate::{
    Ask, BoxFuture, EnsembleValue, RewardSource, Scorer, ScorerSource, SourceVersion, combine,
};

/// A source that a [`Scorer`] computes from the signals of its members. It is never asked.
///
/// It abstains on a turn on which a member abstained, wholly or in part, for the reason of that
/// member, so that siblings are compared by the same members. A member with `on_abstain = "skip"`
/// is left out instead.
#[derive(Debug)]
pub struct EnsembleSource {
    id: SourceId,
    ensemble: Ensemble,
}

impl EnsembleSource {
    /// The ensemble `id`.
    #[must_use]
    pub const fn new(id: SourceId, ensemble: Ensemble) -> Self {
        Self { id, ensemble }
    }
}

impl RewardSource for EnsembleSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn kind(&self) -> SourceKind {
        SourceKind::Ensemble
    }

    fn about(&self) -> String {
        let of: Vec<&str> = self.ensemble.of.iter().map(SourceId::as_str).collect();
        format!("{} of {}", self.ensemble.combine.method.as_str(), of.join(", "))
    }

    fn version(&self) -> SourceVersion {
        SourceVersion::Texts([].into())
    }

    fn identity(&self) -> serde_json::Value {
        let Ensemble { of, combine } = &self.ensemble;
        serde_json::json!({ "of": of, "combine": combine })
    }

    fn ensemble(&self) -> Option<&Ensemble> {
        Some(&self.ensemble)
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        let detail = "an ensemble is computed by the scorer of its profile";
        let why = Abstention::new(self.id.clone(), AbstainWhy::Internal, detail);
        Box::pin(std::future::ready(vec![Signal::abstained(why); ask.turns.len()]))
    }
}

impl Scorer {
    /// Computes the signals of the ensembles from those of their members. `lengths` are those of
    /// the turns.
    pub(crate) fn combine(&self, signals: &mut [Vec<Signal>], lengths: &[usize]) {
        for EnsemblePlaces { place, members } in self.ensembles() {
            let Some(ensemble) = self.sources().get(*place) else { continue };
            let turns = signals.iter().map(Vec::len).max().unwrap_or_default();
            let combined: Vec<Signal> = (0..turns)
                .map(|turn| {
                    let length = lengths.get(turn).copied().unwrap_or_default();
                    self.combined(ensemble, members, (signals, turn, length))
                })
                .collect();
            ensemble.combined(&combined);
            if let Some(own) = signals.get_mut(*place) {
                *own = combined;
            }
        }
    }

    fn combined(
        &self,
        ensemble: &ScorerSource,
        members: &[usize],
        (signals, turn, length): (&[Vec<Signal>], usize, usize),
    ) -> Signal {
        let silent = |why: AbstainWhy, detail: String| {
            Signal::abstained(Abstention::new(ensemble.id().clone(), why, detail))
        };
        let Some(Ensemble { combine: how, .. }) = ensemble.ensemble() else {
            return silent(AbstainWhy::Internal, "it has no members".to_owned());
        };
        let (mut terms, mut components, mut veto) = (Vec::new(), BTreeMap::new(), false);
        for member in members {
            let Some(source) = self.sources().get(*member) else { continue };
            let Some(signal) = signals.get(*member).and_then(|signals| signals.get(turn)) else {
                return silent(
                    AbstainWhy::Internal,
                    format!("its member `{}` has no signal", source.id()),
                );
            };
            let may_lack = source.settings().on_abstain == Some(OnAbstain::Skip);
            if let (Some(first), false) = (signal.abstained.first(), may_lack) {
                let detail = format!("its member `{}` abstained: {}", source.id(), first.detail);
                let source = ensemble.id().clone();
                let prompt = None;
                return Signal::abstained(Abstention { source, detail, prompt, ..first.clone() });
            }
            let Some(part) = &signal.part else { continue };
            let Ok(term) = Finite::new(source.term(part.number(), length)) else {
                let detail = format!("the term of its member `{}` is not finite", source.id());
                return silent(AbstainWhy::NotFinite, detail);
            };
            terms.push(term.get());
            components.insert(source.id().to_string(), term);
            veto |= part.vetoes();
        }
        let Some(EnsembleValue { value, uncertainty }) = combine(how, &terms) else {
            return silent(AbstainWhy::Internal, "none of its members answered".to_owned());
        };
        match (Finite::new(value), Finite::new(uncertainty)) {
            (Ok(points), Ok(uncertainty)) => Signal::scored(Part::Other(OtherPart {
                points,
                veto,
                components,
                uncertainty: Some(uncertainty),
                ..OtherPart::default()
            })),
            _ => silent(AbstainWhy::NotFinite, "the combined value is not finite".to_owned()),
        }
    }
}
