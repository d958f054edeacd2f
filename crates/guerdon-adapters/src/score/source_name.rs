//! A source by its name, kind and role: its number in a result, and its contribution to the reward.

use guerdon_fusion::Channel;
use guerdon_types::{
    Finite, FusionConfig, FusionMethod, InnerMethod, SourceId, SourceKind, SourceRole, TurnResult,
};

/// A source of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceName {
    /// The source's name.
    pub id: SourceId,
    /// The source's kind, by which a result without `parts` reports it.
    pub kind: SourceKind,
    /// The source's role in the fusion.
    pub role: SourceRole,
}

impl SourceName {
    /// The source's number: a model's score, points, or the number of a function.
    pub(crate) fn value(&self, turn: &TurnResult) -> Option<f64> {
        if let Some(part) = turn.parts.get(&self.id) {
            return Some(part.value.get());
        }
        let number = match self.kind {
            SourceKind::Model => turn.rm.as_ref().map(|part| part.score),
            SourceKind::Judge => turn.judge.as_ref().map(|part| part.points),
            SourceKind::Rules => turn.rules.as_ref().map(|part| part.points),
            _ => turn.other.get(&self.id).map(|part| part.points),
        };
        number.map(Finite::get)
    }

    /// The number that entered the fusion.
    fn term(&self, turn: &TurnResult) -> Option<f64> {
        turn.parts.get(&self.id).map_or_else(|| self.value(turn), |part| Some(part.term()))
    }

    /// The source's contribution to the turn's reward, before clips and gates.
    pub(crate) fn contribution(&self, turn: &TurnResult, fusion: &FusionConfig) -> f64 {
        let (term, bound, weights) =
            (self.term(turn).unwrap_or(0.0), fusion.bound.get(), &fusion.weights);
        let summed = match fusion.method {
            FusionMethod::Gated => fusion.inner == InnerMethod::WeightedSum,
            method => method == FusionMethod::WeightedSum,
        };
        let Some(channel) = Channel::of(self.kind, self.role) else { return 0.0 };
        let weight = match channel {
            Channel::Base => weights.rm,
            Channel::Judge => weights.judge,
            Channel::Rules => weights.rules,
            Channel::Other => weights.other,
        };
        match channel {
            Channel::Base if summed => weight.get() * term,
            Channel::Base => term,
            _ if summed => weight.get() * term.clamp(-bound, bound) / bound,
            _ => base(turn).abs() * term / bound,
        }
    }
}

/// The term of the base source; 0 without one.
fn base(turn: &TurnResult) -> f64 {
    let is_base = |role: Option<SourceRole>| role == Some(SourceRole::Base);
    let named = turn.parts.values().find(|part| is_base(part.role())).map(|part| part.term());
    named.or_else(|| turn.rm.as_ref().map(|rm| rm.score.get())).unwrap_or(0.0)
}
