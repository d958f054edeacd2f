//! The other sources' parts of recorded turns, with which a diff fuses the points of both packs.

use std::collections::HashMap;

use guerdon_fusion::reward_of_parts;
use guerdon_types::{
    AbstainWhy, Abstention, FusionConfig, FusionMethod, InnerMethod, Rollout, RolloutResult,
    RulesPart, SourceId, TurnResult,
};

/// The fusion of a diff, and the parts of the other sources.
#[derive(Debug, Clone, Default)]
pub struct RecordedParts {
    fusion: FusionConfig,
    /// By the index of the rollout and of the turn.
    turns: HashMap<(usize, usize), TurnResult>,
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
                turns.insert((index, turn), without_rules(scored));
            }
        }
        Ok(Self { fusion, turns })
    }

    pub(super) const fn fusion(&self) -> &FusionConfig {
        &self.fusion
    }

    /// The reward of a turn with the points of `rules`.
    pub(super) fn reward(&self, place: (usize, usize), rules: &RulesPart) -> Option<f64> {
        let mut turn = self.turns.get(&place).cloned().unwrap_or_else(|| unscored(place.1));
        turn.abstained.extend(undecided(rules));
        turn.rules = Some(rules.clone());
        reward_of_parts(&turn, &self.fusion)
    }
}

/// The parts and abstentions of the sources other than the rules.
fn without_rules(turn: &TurnResult) -> TurnResult {
    let rules = SourceId::rules();
    let abstained = turn.abstained.iter().filter(|one| one.source != rules).cloned().collect();
    let TurnResult { rm, judge, other, .. } = turn.clone();
    TurnResult { rm, judge, other, abstained, ..unscored(turn.index) }
}

/// A turn that no source has scored.
fn unscored(index: usize) -> TurnResult {
    TurnResult {
        index,
        reward: None,
        enhancement: None,
        rm: None,
        judge: None,
        rules: None,
        other: std::collections::BTreeMap::new(),
        abstained: Vec::new(),
        parts: std::collections::BTreeMap::new(),
        verdict: None,
        beside: None,
    }
}

/// The abstention of rules that could not be decided.
fn undecided(part: &RulesPart) -> Option<Abstention> {
    let detail = "a rule could not be decided";
    let counts = part.abstained.iter().any(|rule| !rule.shadow);
    counts.then(|| Abstention::new(SourceId::rules(), AbstainWhy::MissingContext, detail))
}

#[cfg(test)]
mod tests {
    use guerdon_types::OnAbstain;

    use super::*;

    const PLACE: (usize, usize) = (0, 1);

    /// A result of one turn, whose recorded rules took 30 points.
    fn recorded(rm: &str, on_abstain: OnAbstain) -> RecordedParts {
        let result = format!(
            r#"{{"id": "a", "reward": 1.2, "turns": [{{"index": 1, "reward": 1.2, "enhancement": -40,
            {rm} "judge": {{"points": -10, "criteria": [], "cached": true, "model": "m"}},
            "rules": {{"points": -30, "hits": []}},
            "abstained": [{{"source": "rules", "why": "missing_context", "detail": "d"}}]}}]}}"#
        );
        let rollout: Rollout = serde_json::from_str(
            r#"{"id": "a", "messages": [{"role": "user", "content": "q"},
            {"role": "assistant", "content": "r"}]}"#,
        )
        .unwrap();
        let fusion = FusionConfig { on_abstain, ..FusionConfig::default() };
        let results = [serde_json::from_str(&result).unwrap()];
        RecordedParts::of(&[rollout], &results, fusion).unwrap()
    }

    fn rules(json: &str) -> RulesPart {
        serde_json::from_str(json).unwrap()
    }

    const RM: &str = r#""rm": {"score": 2, "raw": 2, "tokens": 3, "truncated": false},"#;

    #[test]
    fn points_of_the_rules_replace_the_recorded_ones() {
        let recorded = recorded(RM, OnAbstain::Null);
        let reward = |points: i32| {
            recorded.reward(PLACE, &rules(&format!(r#"{{"points": {points}, "hits": []}}"#)))
        };
        // The recorded rules' own abstention does not count either.
        for (points, expected) in [(-30, 1.2), (0, 1.8), (-90, 0.0)] {
            assert!((reward(points).unwrap() - expected).abs() < 1e-9, "{points}");
        }
    }

    #[test]
    fn an_undecided_rule_is_an_abstention_unless_it_is_a_shadow() {
        let undecided = |shadow: bool| {
            rules(&format!(
                r#"{{"points": -30, "hits": [], "abstained": [{{"pack": "p", "rule": "r", "shadow": {shadow},
                "detail": "no price"}}]}}"#
            ))
        };
        let strict = recorded(RM, OnAbstain::Null);
        assert_eq!(strict.reward(PLACE, &undecided(false)), None);
        assert!(strict.reward(PLACE, &undecided(true)).is_some());
        assert!(recorded(RM, OnAbstain::Skip).reward(PLACE, &undecided(false)).is_some());
    }

    #[test]
    fn a_turn_without_its_base_has_no_reward() {
        let silent = recorded("", OnAbstain::Skip);
        assert_eq!(silent.reward(PLACE, &rules(r#"{"points": 0, "hits": []}"#)), None);
    }
}
