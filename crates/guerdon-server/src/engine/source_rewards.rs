//! The reward of each source by itself, for estimators that compare sources before they are added.

use std::collections::{BTreeMap, BTreeSet};

use guerdon_fusion::{Channel, Scorer, aggregate};
use guerdon_text::{did_you_mean, quote};
use guerdon_types::{
    Aggregate, Finite, Invalid, ProblemCode, RolloutResult, RolloutRubric, SourceId, SourceKind,
    TurnResult, Weights,
};

use crate::engine::criterion_rewards;
use crate::engine::scored_rollout::ScoredRollout;

/// The weights of the sources of one profile, whose rewards are compared by themselves.
#[derive(Debug)]
pub(crate) struct SourceWeights {
    weights: Vec<(SourceId, f64)>,
    /// The judges whose criteria are compared by themselves.
    by_criterion: BTreeSet<SourceId>,
    aggregate: Aggregate,
}

impl SourceWeights {
    /// The weights of the fused sources of `scorer`: those `asked` for, or else those of its fusion.
    pub(crate) fn new(asked: &BTreeMap<SourceId, Finite>, scorer: &Scorer) -> Self {
        let fusion = scorer.fusion();
        let weight = |id: &SourceId, channel| {
            asked.get(id).copied().unwrap_or_else(|| of(channel, &fusion.weights)).get()
        };
        let fused = scorer.sources().iter().filter_map(|one| Some((one.id(), one.channel()?)));
        let weights = fused.map(|(id, channel)| (id.clone(), weight(id, channel))).collect();
        Self { weights, by_criterion: BTreeSet::new(), aggregate: fusion.aggregate }
    }

    /// Compares the criteria of judges by themselves.
    pub(crate) fn by_criterion(self, scorer: &Scorer) -> Self {
        let judges = scorer.sources().iter().filter(|one| one.kind() == SourceKind::Judge);
        Self { by_criterion: judges.map(|judge| judge.id().clone()).collect(), ..self }
    }

    /// The names of the sources.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.weights.iter().map(|(source, _)| source.as_str())
    }

    /// The rewards of each source over `complete`, with its weight, or of each criterion of a judge
    /// with its share of the weight. `rubrics` has the rollouts' own ones by their index. What scored
    /// no rollout is left out.
    pub(crate) fn rewards(
        &self,
        complete: &[ScoredRollout],
        rubrics: &[RolloutRubric],
    ) -> Vec<(f64, Vec<Option<f64>>)> {
        let mut all = Vec::with_capacity(self.weights.len());
        for (source, weight) in &self.weights {
            let criteria = match self.by_criterion.contains(source) {
                true => criterion_rewards::rewards(source, complete, rubrics, self.aggregate),
                false => Vec::new(),
            };
            if criteria.is_empty() {
                let reward = |one: &ScoredRollout| self.reward(source, &one.result);
                all.push((*weight, complete.iter().map(reward).collect::<Vec<_>>()));
            }
            all.extend(criteria.into_iter().map(|(share, rewards)| (weight * share, rewards)));
        }
        all.retain(|(_, rewards)| rewards.iter().any(Option::is_some));
        all
    }

    /// The reward of one source: its numbers on the scored turns, aggregated as the fusion does.
    fn reward(&self, source: &SourceId, result: &RolloutResult) -> Option<f64> {
        let numbers: Vec<_> = result.turns.iter().map(|turn| number(source, turn)).collect();
        aggregate(&numbers, self.aggregate)
    }
}

/// Checks the weights that a request asks for against the sources of its profiles.
///
/// # Errors
/// [`Invalid`] for a weight of a source that is not fused, or a negative weight.
pub(crate) fn check_weights(
    asked: &BTreeMap<SourceId, Finite>,
    profiles: &BTreeMap<usize, SourceWeights>,
) -> Result<(), Invalid> {
    let known: Vec<&str> = profiles.values().flat_map(SourceWeights::names).collect();
    for (source, weight) in asked {
        let pointer = || {
            let key = source.as_str().replace('~', "~0").replace('/', "~1");
            format!("/advantages/weights/{key}")
        };
        if !known.contains(&source.as_str()) {
            let detail = format!(
                "source {} is not fused here, so it has no reward to weigh; the sources are {}",
                quote(source.as_str()),
                known.join(", ")
            );
            let invalid = Invalid::new(ProblemCode::UnknownSource, pointer(), detail);
            return Err(match did_you_mean(source.as_str(), known.iter().copied()) {
                Some(hint) => invalid.hint(hint),
                None => invalid,
            });
        }
        if weight.get() < 0.0 {
            let detail = format!("is {weight}; a negative weight would reverse the source");
            return Err(Invalid::new(ProblemCode::InvalidRequest, pointer(), detail));
        }
    }
    Ok(())
}

/// The weight of a channel in the fusion.
const fn of(channel: Channel, weights: &Weights) -> Finite {
    match channel {
        Channel::Base => weights.rm,
        Channel::Judge => weights.judge,
        Channel::Rules => weights.rules,
        Channel::Other => weights.other,
    }
}

/// The number of `source` on a turn, as it enters the fusion.
fn number(source: &SourceId, turn: &TurnResult) -> Option<f64> {
    if let Some(part) = turn.parts.get(source) {
        return Some(part.term());
    }
    let number = match source.as_str() {
        "rm" => turn.rm.as_ref().map(|part| part.score),
        "judge" => turn.judge.as_ref().map(|part| part.points),
        "rules" => turn.rules.as_ref().map(|part| part.points),
        _ => turn.other.get(source).map(|part| part.points),
    };
    number.map(Finite::get)
}
