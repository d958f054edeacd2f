//! Compares two sets of packs on the same turns, rule by rule: the effect of an edit on recorded
//! rollouts.

use std::collections::BTreeMap;

use guerdon_fusion::aggregate;
use guerdon_types::{Rollout, RulesPart};
use serde::Serialize;

use super::ranks::{GroupChange, Ranking};
use super::recorded::RecordedParts;
use crate::RulePacks;

/// The differences between two sets of packs.
///
/// No source is asked. Rewards are those of the rules alone, or fused with recorded parts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Diff {
    /// The number of compared turns.
    pub turns: usize,
    /// The number of turns whose points differ.
    pub changed: usize,
    /// The number of turns whose reward differs.
    pub rewarded: usize,
    /// The number of turns with a veto, before and after.
    pub vetoes: [usize; 2],
    /// The sum of all points before.
    pub before: f64,
    /// The sum of all points after.
    pub after: f64,
    /// Rules with a difference, the greatest change first.
    pub rules: Vec<RuleChange>,
    /// Groups whose rollouts are in another order.
    pub groups: Vec<GroupChange>,
    /// Turns with a difference, the greatest change first.
    pub examples: Vec<TurnChange>,
}

/// The differences of one rule over all turns.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
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
    /// The number of turns on which only the new rule has a veto, and on which only the old rule
    /// has one.
    pub vetoed: [usize; 2],
    /// The number of turns that a shadow rule hits: only the new one, and only the old one.
    pub shadow: [usize; 2],
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
    /// The rewards before and after.
    pub rewards: [Option<f64>; 2],
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
    /// Set if the hit was, or is, a veto.
    pub veto: [bool; 2],
    /// Set if the hit was, or is, one of a shadow rule, which does not count.
    pub shadow: [bool; 2],
}

/// A hit on one side.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct SideHit {
    points: Option<f64>,
    veto: bool,
    shadow: bool,
}

impl SideHit {
    /// The points that count.
    fn counted(self) -> Option<f64> {
        self.points.filter(|_| !self.shadow)
    }
}

fn has_veto(part: &RulesPart) -> bool {
    part.hits.iter().any(|hit| hit.veto)
}

impl RulePacks {
    /// Compares these packs with `new` on the scored turns of `rollouts`. The rewards are those of
    /// the rules alone.
    #[must_use]
    pub fn diff<'r>(&self, new: &Self, rollouts: impl IntoIterator<Item = &'r Rollout>) -> Diff {
        self.diff_with(new, rollouts, &RecordedParts::none())
    }

    /// Like [`RulePacks::diff`], with the recorded parts of the other sources in the rewards.
    #[must_use]
    pub fn diff_with<'r>(
        &self,
        new: &Self,
        rollouts: impl IntoIterator<Item = &'r Rollout>,
        recorded: &RecordedParts,
    ) -> Diff {
        let mut diff = Diff::default();
        let mut rules: BTreeMap<String, RuleChange> = BTreeMap::new();
        let mut ranking = Ranking::default();
        for (index, rollout) in rollouts.into_iter().enumerate() {
            let turns = rollout.turns_to_score().unwrap_or_default();
            let (before, after) =
                (self.evaluate_turns(rollout, &turns), new.evaluate_turns(rollout, &turns));
            let mut rewards = [Vec::new(), Vec::new()];
            for ((turn, before), after) in turns.iter().zip(&before).zip(&after) {
                let parts = [&before.part, &after.part];
                let of_turn = parts.map(|part| recorded.reward((index, *turn), part));
                for (rewards, reward) in rewards.iter_mut().zip(of_turn) {
                    rewards.push(reward);
                }
                diff.rewarded += usize::from(differ(of_turn));
                diff.add((index, *turn), parts, of_turn, &mut rules);
            }
            let of_rollout =
                rewards.map(|rewards| aggregate(&rewards, recorded.fusion().aggregate));
            ranking.add(rollout.group.clone(), of_rollout);
        }
        diff.groups = ranking.changes();
        let distance = |points: [f64; 2]| (points[1] - points[0]).abs();
        diff.rules = rules.into_values().filter(RuleChange::is_some).collect();
        diff.rules.sort_by(|a, b| distance(b.points).total_cmp(&distance(a.points)));
        diff.examples.sort_by(|a, b| distance(b.points).total_cmp(&distance(a.points)));
        diff
    }
}

/// Returns true if two rewards are different.
fn differ([before, after]: [Option<f64>; 2]) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => before.total_cmp(&after).is_ne(),
        (before, after) => before.is_some() != after.is_some(),
    }
}

impl RuleChange {
    fn is_some(&self) -> bool {
        let pairs = [self.vetoed, self.shadow, self.undecided].into_iter().flatten();
        self.gained + self.lost + self.repriced + pairs.sum::<usize>() > 0
    }

    /// Adds the hits of both sides on a turn. Returns true if they differ.
    fn add(&mut self, [before, after]: [SideHit; 2]) -> bool {
        self.points[0] += before.counted().unwrap_or(0.0);
        self.points[1] += after.counted().unwrap_or(0.0);
        match (before.counted(), after.counted()) {
            (None, Some(_)) => self.gained += 1,
            (Some(_), None) => self.lost += 1,
            (Some(b), Some(a)) if b.total_cmp(&a).is_ne() => self.repriced += 1,
            _ => {}
        }
        let [was, is] = [before, after].map(|hit| hit.veto && !hit.shadow);
        self.vetoed[0] += usize::from(!was && is);
        self.vetoed[1] += usize::from(was && !is);
        let [was, is] = [before, after].map(|hit| hit.points.is_some() && hit.shadow);
        self.shadow[0] += usize::from(!was && is);
        self.shadow[1] += usize::from(was && !is);
        before != after
    }
}

impl Diff {
    fn add(
        &mut self,
        (rollout, turn): (usize, usize),
        parts: [&RulesPart; 2],
        rewards: [Option<f64>; 2],
        rules: &mut BTreeMap<String, RuleChange>,
    ) {
        let points = parts.map(|part| part.points.get());
        self.turns += 1;
        self.before += points[0];
        self.after += points[1];
        let mut hits: BTreeMap<String, [SideHit; 2]> = BTreeMap::new();
        let mut undecided: BTreeMap<String, [bool; 2]> = BTreeMap::new();
        for (side, part) in parts.into_iter().enumerate() {
            if let Some(vetoes) = self.vetoes.get_mut(side) {
                *vetoes += usize::from(has_veto(part));
            }
            let all = part.hits.iter().map(|hit| (hit, false));
            for (hit, shadow) in all.chain(part.shadow.iter().map(|hit| (hit, true))) {
                let sides = hits.entry(format!("{}/{}", hit.pack, hit.rule)).or_default();
                if let Some(slot) = sides.get_mut(side) {
                    *slot = SideHit { points: Some(hit.points.get()), veto: hit.veto, shadow };
                }
            }
            for rule in &part.abstained {
                let sides = undecided.entry(format!("{}/{}", rule.pack, rule.rule)).or_default();
                if let Some(slot) = sides.get_mut(side) {
                    *slot = true;
                }
            }
        }
        let mut changed = Vec::new();
        for (rule, sides) in hits {
            if change_of(rules, &rule).add(sides) {
                let [before, after] = sides.map(|hit| hit.points);
                let (veto, shadow) = (sides.map(|hit| hit.veto), sides.map(|hit| hit.shadow));
                changed.push(HitChange { rule, before, after, veto, shadow });
            }
        }
        for (rule, [before, after]) in undecided {
            let change = change_of(rules, &rule);
            change.undecided[0] += usize::from(!before && after);
            change.undecided[1] += usize::from(before && !after);
        }
        if !changed.is_empty() {
            self.changed += usize::from(points[0].total_cmp(&points[1]).is_ne());
            self.examples.push(TurnChange { rollout, turn, points, rewards, rules: changed });
        }
    }
}

/// The entry of `rule`, created if it is missing.
fn change_of<'m>(rules: &'m mut BTreeMap<String, RuleChange>, rule: &str) -> &'m mut RuleChange {
    rules
        .entry(rule.to_owned())
        .or_insert_with(|| RuleChange { rule: rule.to_owned(), ..RuleChange::default() })
}
