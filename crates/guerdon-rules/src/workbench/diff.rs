//! Compares two sets of packs on the same turns, rule by rule: the effect of an edit on recorded
//! rollouts.

use std::collections::BTreeMap;

use guerdon_types::{Rollout, RulesPart};
use serde::Serialize;

use crate::RulePacks;

/// The differences between two sets of packs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Diff {
    /// The number of compared turns.
    pub turns: usize,
    /// The number of turns whose points differ.
    pub changed: usize,
    /// The sum of all points before.
    pub before: f64,
    /// The sum of all points after.
    pub after: f64,
    /// Rules with a difference, the greatest change first.
    pub rules: Vec<RuleChange>,
    /// Turns with a difference, the greatest change first.
    pub examples: Vec<TurnChange>,
}

/// The differences of one rule over all turns.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RuleChange {
    /// `pack/rule`.
    pub rule: String,
    /// The number of turns that only the new rule hits.
    pub gained: usize,
    /// The number of turns that only the old rule hits.
    pub lost: usize,
    /// The number of turns that both versions hit with different points.
    pub repriced: usize,
    /// The number of turns on which only the new rule abstains, and on which only the old rule
    /// abstains.
    pub undecided: [usize; 2],
    /// The sum of the rule's points before and after.
    pub points: [f64; 2],
}

/// The differences of one turn.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TurnChange {
    /// The index of the rollout.
    pub rollout: usize,
    /// The index of the message in the rollout.
    pub turn: usize,
    /// The points before and after.
    pub points: [f64; 2],
    /// The rules that changed.
    pub rules: Vec<HitChange>,
}

/// The change of one rule's hit on a turn.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HitChange {
    /// `pack/rule`.
    pub rule: String,
    /// The points before; `None` if the rule did not hit.
    pub before: Option<f64>,
    /// The points after; `None` if the rule does not hit.
    pub after: Option<f64>,
}

impl RulePacks {
    /// Compares these packs with `new` on the scored turns of `rollouts`. Shadow rules are ignored.
    #[must_use]
    pub fn diff<'r>(&self, new: &Self, rollouts: impl IntoIterator<Item = &'r Rollout>) -> Diff {
        let mut diff = Diff::default();
        let mut rules: BTreeMap<String, RuleChange> = BTreeMap::new();
        for (index, rollout) in rollouts.into_iter().enumerate() {
            let turns = rollout.turns_to_score().unwrap_or_default();
            let (before, after) =
                (self.evaluate_turns(rollout, &turns), new.evaluate_turns(rollout, &turns));
            for ((turn, before), after) in turns.iter().zip(&before).zip(&after) {
                diff.add((index, *turn), &before.part, &after.part, &mut rules);
            }
        }
        let distance = |points: [f64; 2]| (points[1] - points[0]).abs();
        diff.rules = rules
            .into_values()
            .filter(|rule| {
                rule.gained + rule.lost + rule.repriced + rule.undecided[0] + rule.undecided[1] > 0
            })
            .collect();
        diff.rules.sort_by(|a, b| distance(b.points).total_cmp(&distance(a.points)));
        diff.examples.sort_by(|a, b| distance(b.points).total_cmp(&distance(a.points)));
        diff
    }
}

impl Diff {
    fn add(
        &mut self,
        (rollout, turn): (usize, usize),
        before: &RulesPart,
        after: &RulesPart,
        rules: &mut BTreeMap<String, RuleChange>,
    ) {
        let points = [before.points.get(), after.points.get()];
        self.turns += 1;
        self.before += points[0];
        self.after += points[1];
        let mut hits: BTreeMap<String, [Option<f64>; 2]> = BTreeMap::new();
        let mut undecided: BTreeMap<String, [bool; 2]> = BTreeMap::new();
        for (side, part) in [before, after].into_iter().enumerate() {
            for hit in &part.hits {
                if let Some(slot) =
                    hits.entry(format!("{}/{}", hit.pack, hit.rule)).or_default().get_mut(side)
                {
                    *slot = Some(hit.points.get());
                }
            }
            for rule in &part.abstained {
                if let Some(slot) = undecided
                    .entry(format!("{}/{}", rule.pack, rule.rule))
                    .or_default()
                    .get_mut(side)
                {
                    *slot = true;
                }
            }
        }
        let mut changed = Vec::new();
        for (rule, [before, after]) in hits {
            let change = change_of(rules, &rule);
            change.points[0] += before.unwrap_or(0.0);
            change.points[1] += after.unwrap_or(0.0);
            match (before, after) {
                (None, Some(_)) => change.gained += 1,
                (Some(_), None) => change.lost += 1,
                (Some(b), Some(a)) if b.total_cmp(&a).is_ne() => change.repriced += 1,
                _ => continue,
            }
            changed.push(HitChange { rule, before, after });
        }
        for (rule, [before, after]) in undecided {
            let change = change_of(rules, &rule);
            change.undecided[0] += usize::from(!before && after);
            change.undecided[1] += usize::from(before && !after);
        }
        if !changed.is_empty() {
            self.changed += usize::from(points[0].total_cmp(&points[1]).is_ne());
            self.examples.push(TurnChange { rollout, turn, points, rules: changed });
        }
    }
}

/// The entry of `rule`, created if it is missing.
fn change_of<'m>(rules: &'m mut BTreeMap<String, RuleChange>, rule: &str) -> &'m mut RuleChange {
    rules.entry(rule.to_owned()).or_insert_with(|| RuleChange {
        rule: rule.to_owned(),
        gained: 0,
        lost: 0,
        repriced: 0,
        undecided: [0, 0],
        points: [0.0, 0.0],
    })
}
