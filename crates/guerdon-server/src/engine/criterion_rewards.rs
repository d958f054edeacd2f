//! The rewards of the criteria of a judge by themselves, for estimators that compare them before they
//! are added: a criterion that one sample meets counts for it, also if the sum of all does not.

use std::collections::{BTreeMap, BTreeSet};

use guerdon_fusion::aggregate;
use guerdon_types::{
    Aggregate, CheckedForm, CheckedRubric, CriterionVerdict, Finite, ROLLOUT_RUBRIC, RUBRIC_CLIP,
    RolloutRubric, SourceId, TurnResult,
};

use crate::engine::scored_rollout::ScoredRollout;

/// A criterion whose values are compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct CriterionKey {
    prompt: String,
    id: String,
    /// The bits of its share of the weights of a rollout's rubric, since two rubrics may have one
    /// name for two criteria; `None` for a criterion of a prompt file.
    share: Option<u64>,
}

/// The rewards of each criterion of `source` over `complete`, with its share of the source's weight:
/// each prompt has the whole weight, divided by the weights of a rollout's own rubric, or equally
/// among the criteria of a prompt file. Empty if no criterion changed a reward.
pub(super) fn rewards(
    source: &SourceId,
    complete: &[ScoredRollout],
    rubrics: &[RolloutRubric],
    how: Aggregate,
) -> Vec<(f64, Vec<Option<f64>>)> {
    let rows: Vec<CriterionRow<'_>> = complete
        .iter()
        .map(|scored| CriterionRow {
            turns: scored.result.turns.iter().map(|turn| TurnCriteria::of(source, turn)).collect(),
            shares: rubrics.get(scored.index).map(shares).unwrap_or_default(),
        })
        .collect();
    let keys: BTreeSet<CriterionKey> = rows.iter().flat_map(CriterionRow::keys).collect();
    let mut of_prompt: BTreeMap<&str, u32> = BTreeMap::new();
    for key in &keys {
        *of_prompt.entry(&key.prompt).or_default() += 1;
    }
    let reward = |key: &CriterionKey| {
        let count = of_prompt.get(key.prompt.as_str()).copied().unwrap_or(1);
        let share = key.share.map_or_else(|| f64::from(count).recip(), f64::from_bits);
        (share, rows.iter().map(|row| row.reward(key, how)).collect())
    };
    keys.iter().map(reward).collect()
}

/// The share of each criterion of a rollout's rubric in the weights, by id.
fn shares(rubric: &RolloutRubric) -> BTreeMap<String, f64> {
    let Ok(checked) = CheckedRubric::new(rubric) else { return BTreeMap::new() };
    let size = |form: &CheckedForm| match form {
        CheckedForm::Weight(weight) => weight.get().abs(),
        CheckedForm::Levels(levels) => {
            levels.iter().fold(0.0, |most, level| level.points.get().abs().max(most))
        }
    };
    let sum: f64 = checked.criteria.iter().map(|one| size(&one.form)).sum();
    checked.criteria.into_iter().map(|one| (one.id, size(&one.form) / sum)).collect()
}

/// The criteria of one rollout.
struct CriterionRow<'a> {
    turns: Vec<Option<TurnCriteria<'a>>>,
    /// The shares of the criteria of its own rubric.
    shares: BTreeMap<String, f64>,
}

impl CriterionRow<'_> {
    fn keys(&self) -> Vec<CriterionKey> {
        let names = self.turns.iter().flatten().flat_map(|turn| turn.points.keys());
        let key = |(prompt, id): &(&str, &str)| {
            let share = match *prompt == ROLLOUT_RUBRIC {
                true => Some(self.shares.get(*id)?.to_bits()),
                false => None,
            };
            Some(CriterionKey { prompt: (*prompt).to_owned(), id: (*id).to_owned(), share })
        };
        names.filter_map(key).collect()
    }

    /// The points of a criterion on the scored turns, aggregated as the fusion does. `None` if it was
    /// not judged.
    fn reward(&self, key: &CriterionKey, how: Aggregate) -> Option<f64> {
        let own = self.shares.get(&key.id).map(|share| share.to_bits());
        if key.share.is_some() && key.share != own {
            return None;
        }
        let points = self.turns.iter().map(|turn| turn.as_ref()?.points_of(key));
        aggregate(&points.collect::<Vec<_>>(), how)
    }
}

/// The criteria of a turn, as the reply reports them.
struct TurnCriteria<'a> {
    /// The points by prompt and id. A criterion of a prompt file that changed nothing is left out.
    points: BTreeMap<(&'a str, &'a str), f64>,
    /// The criteria that were asked, if they are not those of all prompts.
    asked: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// The prompts that abstained.
    abstained: BTreeSet<&'a str>,
}

impl<'a> TurnCriteria<'a> {
    /// The criteria of `source` for a turn; `None` if the source has no part.
    fn of(source: &SourceId, turn: &'a TurnResult) -> Option<Self> {
        let (points, asked) = if let Some(part) = turn.parts.get(source) {
            let names = part.components.iter();
            let points = names.filter_map(|(name, points)| Some((name.split_once('/')?, *points)));
            let asked = part.detail.get("asked").and_then(|asked| asked.as_object());
            let asked = asked.into_iter().flatten().map(|(prompt, ids)| {
                let ids = ids.as_array().into_iter().flatten().filter_map(|id| id.as_str());
                (prompt.as_str(), ids.collect())
            });
            (points.collect::<Vec<_>>(), asked.collect())
        } else {
            let part = turn.judge.as_ref().filter(|_| source.as_str() == "judge")?;
            let name =
                |one: &'a CriterionVerdict| ((one.prompt.as_str(), one.id.as_str()), one.points);
            let asked = part.asked.iter();
            let asked = asked
                .map(|(prompt, ids)| (prompt.as_str(), ids.iter().map(String::as_str).collect()));
            (part.criteria.iter().map(name).collect(), asked.collect())
        };
        let points = points.into_iter().filter(|((_, id), _)| *id != RUBRIC_CLIP);
        let abstained = turn.abstained.iter().filter(|one| one.source == *source);
        Some(Self {
            points: points.map(|(name, points): (_, Finite)| (name, points.get())).collect(),
            asked,
            abstained: abstained.filter_map(|one| one.prompt.as_deref()).collect(),
        })
    }

    fn points_of(&self, key: &CriterionKey) -> Option<f64> {
        let (prompt, id) = (key.prompt.as_str(), key.id.as_str());
        if let Some(points) = self.points.get(&(prompt, id)) {
            return Some(*points);
        }
        // Every criterion of a rollout's own rubric is reported, and so is one that was not asked.
        let is_asked =
            self.asked.is_empty() || self.asked.get(prompt).is_some_and(|ids| ids.contains(id));
        let is_silent = prompt != ROLLOUT_RUBRIC && is_asked && !self.abstained.contains(prompt);
        is_silent.then_some(0.0)
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::{RolloutResult, RubricCriterion, Usage};
    use serde_json::{Value, json};

    use super::*;

    fn scored(index: usize, judge: &Value, abstained: &Value) -> ScoredRollout {
        let turn = json!({ "index": 0, "reward": 1, "enhancement": null, "judge": judge, "abstained": abstained });
        let turn: TurnResult = serde_json::from_value(turn).unwrap();
        let result = RolloutResult {
            id: "x".into(),
            reward: Some(Finite::ONE),
            advantage: None,
            turns: vec![turn],
            error: None,
        };
        ScoredRollout { index, result, usage: Usage::default() }
    }

    fn judge(criteria: &[(&str, &str, f64)], asked: &Value) -> Value {
        let one = |(prompt, id, points): &(&str, &str, f64)| json!({ "prompt": prompt, "id": id, "level": "x", "points": points });
        let criteria: Vec<Value> = criteria.iter().map(one).collect();
        json!({ "points": 0, "criteria": criteria, "cached": false, "model": "m", "asked": asked })
    }

    fn all(complete: &[ScoredRollout], rubrics: &[RolloutRubric]) -> Vec<(f64, Vec<Option<f64>>)> {
        rewards(&SourceId::judge(), complete, rubrics, Aggregate::Last)
    }

    #[test]
    fn criterion_that_changed_nothing_is_zero_and_one_that_was_not_judged_is_none() {
        let gone = json!([{ "source": "judge", "why": "malformed", "detail": "x", "prompt": "p" }]);
        let complete = [
            scored(0, &judge(&[("p", "a", -2.0)], &json!({})), &json!([])),
            scored(1, &judge(&[], &json!({})), &json!([])),
            scored(2, &judge(&[], &json!({})), &gone),
            scored(3, &judge(&[], &json!({ "p": ["b"] })), &json!([])),
            scored(4, &Value::Null, &json!([])),
        ];
        let rewards = all(&complete, &[]);
        assert_eq!(rewards, [(1.0, vec![Some(-2.0), Some(0.0), None, None, None])]);
    }

    #[test]
    fn criteria_of_rubrics_with_other_weights_are_others_and_the_clip_is_none() {
        let rubric = |weights: [i32; 2]| {
            let one = |weight| RubricCriterion {
                weight: Some(Finite::from(weight)),
                ..RubricCriterion::new("x")
            };
            RolloutRubric::from(weights.map(one).to_vec())
        };
        let own = |points| {
            let criteria = [(ROLLOUT_RUBRIC, "c1", points), (ROLLOUT_RUBRIC, RUBRIC_CLIP, 9.0)];
            judge(&criteria, &json!({ "rollout.rubric": ["c1"] }))
        };
        let complete = [scored(0, &own(3.0), &json!([])), scored(1, &own(5.0), &json!([]))];
        let same = all(&complete, &[rubric([1, -3]), rubric([1, -3])]);
        assert_eq!(same, [(0.25, vec![Some(3.0), Some(5.0)])]);
        let others = all(&complete, &[rubric([1, -3]), rubric([1, 1])]);
        assert_eq!(others, [(0.25, vec![Some(3.0), None]), (0.5, vec![None, Some(5.0)])]);
    }
}
