//! The other sources' parts of recorded turns, with which a diff fuses the points of both packs.

use std::collections::HashMap;

use guerdon_fusion::{Standing, TurnSignals, fuse};
use guerdon_types::{
    FusionConfig, FusionMethod, InnerMethod, Rollout, RolloutResult, RulesPart, SourceId,
    TurnResult,
};

/// The fusion of a diff, and the parts of the other sources.
#[derive(Debug, Clone, Default)]
pub struct RecordedParts {
    fusion: FusionConfig,
    /// By the index of the rollout and of the turn.
    turns: HashMap<(usize, usize), TurnSignals>,
}

impl RecordedParts {
    /// No other source: the weighted points of the rules, at most the floor after a veto.
    #[must_use]
    pub fn none() -> Self {
        let fusion = FusionConfig {
            method: FusionMethod::Gated,
            inner: InnerMethod::WeightedSum,
            ..FusionConfig::default()
        };
        Self { fusion, turns: HashMap::new() }
    }

    /// The parts of `results`, which belong to `rollouts` by id, or by index without one.
    ///
    /// # Errors
    /// Returns the reason if a scored turn of a rollout has no result.
    pub fn of(
        rollouts: &[Rollout],
        results: &[RolloutResult],
        fusion: FusionConfig,
    ) -> Result<Self, String> {
        let by_id: HashMap<String, &RolloutResult> =
            results.iter().map(|result| (result.id.to_string(), result)).collect();
        let mut turns = HashMap::new();
        for (index, rollout) in rollouts.iter().enumerate() {
            let name = rollout.id.as_ref().map_or_else(|| index.to_string(), ToString::to_string);
            for turn in rollout.turns_to_score().unwrap_or_default() {
                let scored = by_id
                    .get(&name)
                    .and_then(|result| result.turns.iter().find(|scored| scored.index == turn));
                let scored = scored.ok_or_else(|| {
                    let shown: String = name.chars().take(60).collect();
                    format!("there is no result of rollout `{shown}`, turn {turn}")
                })?;
                turns.insert((index, turn), signals(scored));
            }
        }
        Ok(Self { fusion, turns })
    }

    pub(super) const fn fusion(&self) -> &FusionConfig {
        &self.fusion
    }

    /// The reward of a turn with the points of `rules`.
    pub(super) fn reward(&self, place: (usize, usize), rules: &RulesPart) -> Option<f64> {
        let mut signals = self.turns.get(&place).copied().unwrap_or_default();
        signals.rules = Some(Standing::Scored(rules.points.get()));
        signals.vetoed |= rules.hits.iter().any(|hit| hit.veto);
        fuse(&signals, &self.fusion)
    }
}

/// The standings of the sources other than the rules.
fn signals(turn: &TurnResult) -> TurnSignals {
    let abstained = |source: &SourceId| turn.abstained.iter().any(|of| of.source == *source);
    let standing = |part: Option<f64>, is_missing: bool| match (part, is_missing) {
        (Some(value), false) => Some(Standing::Scored(value)),
        (Some(value), true) => Some(Standing::PartlyScored(value)),
        (None, true) => Some(Standing::Silent),
        (None, false) => None,
    };
    let mut signals = TurnSignals::default();
    let rm = turn.rm.as_ref().map(|part| part.score.get());
    signals.rm = standing(rm, abstained(&SourceId::rm()));
    let judge = turn.judge.as_ref().map(|part| part.points.get());
    signals.judge = standing(judge, abstained(&SourceId::judge()));
    if !turn.other.is_empty() {
        let sum = turn.other.values().map(|part| part.points.get()).sum();
        signals.other = standing(Some(sum), turn.other.keys().any(abstained));
    }
    let by_judge = turn.judge.iter().flat_map(|part| &part.criteria).any(|of| of.veto);
    signals.vetoed = by_judge || turn.other.values().any(|part| part.veto);
    signals
}
