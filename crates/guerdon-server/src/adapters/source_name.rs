//! A source by its name and channel: where a result keeps what it said, and what that adds to the reward.

use guerdon_fusion::Channel;
use guerdon_types::{Finite, FusionConfig, FusionMethod, InnerMethod, SourceId, TurnResult};

/// A source, and where its opinion stands in a result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SourceName {
    pub(crate) id: SourceId,
    pub(crate) channel: Channel,
}

impl SourceName {
    /// The number with which it entered the fusion: the RM's score, or points.
    pub(crate) fn value(&self, turn: &TurnResult) -> Option<f64> {
        let number = match self.channel {
            Channel::Base => turn.rm.as_ref().map(|part| part.score),
            Channel::Judge => turn.judge.as_ref().map(|part| part.points),
            Channel::Rules => turn.rules.as_ref().map(|part| part.points),
            Channel::Other => turn.other.get(&self.id).map(|part| part.points),
        };
        number.map(Finite::get)
    }

    /// What it adds to the turn's reward, before clips and gates.
    pub(crate) fn contribution(&self, turn: &TurnResult, fusion: &FusionConfig) -> f64 {
        let (value, bound, weights) =
            (self.value(turn).unwrap_or(0.0), fusion.bound.get(), &fusion.weights);
        let summed = match fusion.method {
            FusionMethod::Gated => fusion.inner == InnerMethod::WeightedSum,
            method => method == FusionMethod::WeightedSum,
        };
        let weight = match self.channel {
            Channel::Base => weights.rm,
            Channel::Judge => weights.judge,
            Channel::Rules => weights.rules,
            Channel::Other => weights.other,
        };
        match self.channel {
            Channel::Base if summed => weight.get() * value,
            Channel::Base => value,
            _ if summed => weight.get() * value.clamp(-bound, bound) / bound,
            _ => turn.rm.as_ref().map_or(0.0, |rm| rm.score.get().abs()) * value / bound,
        }
    }
}
