//! A source by its name and channel: its number in a result, and its contribution to the reward.

use guerdon_fusion::Channel;
use guerdon_types::{Finite, FusionConfig, FusionMethod, InnerMethod, SourceId, TurnResult};

/// A source, and the channel under which results report it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceName {
    /// The source's name.
    pub id: SourceId,
    /// The source's channel.
    pub channel: Channel,
}

impl SourceName {
    /// The number that entered the fusion: the RM's score, or points.
    pub(crate) fn value(&self, turn: &TurnResult) -> Option<f64> {
        let number = match self.channel {
            Channel::Base => turn.rm.as_ref().map(|part| part.score),
            Channel::Judge => turn.judge.as_ref().map(|part| part.points),
            Channel::Rules => turn.rules.as_ref().map(|part| part.points),
            Channel::Other => turn.other.get(&self.id).map(|part| part.points),
        };
        number.map(Finite::get)
    }

    /// The source's contribution to the turn's reward, before clips and gates.
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
