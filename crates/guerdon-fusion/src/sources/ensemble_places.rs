//! The places of ensembles and of their members among the sources of a scorer, members first.

use std::collections::BTreeMap;

use guerdon_types::SourceId;

use super::ScorerSource;

/// An ensemble by the places of its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnsemblePlaces {
    pub(crate) place: usize,
    pub(crate) members: Vec<usize>,
}

/// The ensembles among `sources`, each after the ensembles that are its members. One whose members
/// lead back to it is left out.
pub(crate) fn in_order(sources: &[ScorerSource]) -> Vec<EnsemblePlaces> {
    let places: BTreeMap<&SourceId, usize> =
        sources.iter().enumerate().map(|(place, source)| (source.id(), place)).collect();
    let mut open: Vec<EnsemblePlaces> = Vec::new();
    for (place, source) in sources.iter().enumerate() {
        if let Some(ensemble) = source.ensemble() {
            let members = ensemble.of.iter().filter_map(|id| places.get(id).copied()).collect();
            open.push(EnsemblePlaces { place, members });
        }
    }
    let mut ordered: Vec<EnsemblePlaces> = Vec::with_capacity(open.len());
    loop {
        let waits = |one: &EnsemblePlaces| {
            one.members.iter().any(|member| open.iter().any(|other| other.place == *member))
        };
        let Some(next) = open.iter().position(|one| !waits(one)) else { break };
        ordered.push(open.remove(next));
    }
    ordered
}
