//! The precision and recall of rules on labelled turns.

use std::collections::BTreeMap;

use serde::Serialize;

use super::labels::LabelledRollout;
use crate::RulePacks;
use crate::engine::eval::{DialogueTexts, RuleVerdict, TurnView};

/// The measured rules, and each pack as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RuleMeasures {
    /// The number of turns that were evaluated.
    pub turns: usize,
    /// The number of turns with a label.
    pub labelled: usize,
    /// The rules, in pack and rule order.
    pub rules: Vec<RuleMeasure>,
    /// The packs, by id: the sums of their rules.
    pub packs: BTreeMap<String, LabelCounts>,
}

/// A rule on labelled turns.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RuleMeasure {
    /// The pack.
    pub pack: String,
    /// The rule in it.
    pub rule: String,
    /// The points of a hit.
    pub points: f64,
    /// Set if a hit forbids a reward above the floor.
    pub veto: bool,
    /// The counts.
    #[serde(flatten)]
    pub counts: LabelCounts,
}

/// Turns by label and by hit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LabelCounts {
    /// Hits with the label `true`.
    pub right: usize,
    /// Hits with the label `false`.
    pub wrong: usize,
    /// Turns with the label `true` that are not hit.
    pub missed: usize,
    /// Hits without a label.
    pub unlabelled: usize,
    /// Labelled turns on which a missing fact kept the rule from deciding.
    pub undecided: usize,
    /// The share of hits with the label `true` among the labelled hits.
    pub precision: Option<ShareEstimate>,
    /// The share of hits among the turns with the label `true`.
    pub recall: Option<ShareEstimate>,
}

/// A share with Wilson's 95 % interval (Wilson 1927, without continuity correction).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ShareEstimate {
    /// The share, from 0 to 1.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

/// The 97.5th percentile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

impl ShareEstimate {
    /// `yes` of `all`; `None` without any.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are fewer turns than 2^52")]
    pub fn of(yes: usize, all: usize) -> Option<Self> {
        if all == 0 {
            return None;
        }
        let (value, all) = (yes as f64 / all as f64, all as f64);
        let centre = (value + Z * Z / (2.0 * all)) / (1.0 + Z * Z / all);
        let spread = (value * (1.0 - value) / all + Z * Z / (4.0 * all * all)).sqrt();
        let half = Z / (1.0 + Z * Z / all) * spread;
        Some(Self { value, low: (centre - half).max(0.0), high: (centre + half).min(1.0) })
    }
}

impl LabelCounts {
    /// The number of hits with a label.
    #[must_use]
    pub const fn hits(&self) -> usize {
        self.right + self.wrong
    }

    fn add(&mut self, other: &Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.missed += other.missed;
        self.unlabelled += other.unlabelled;
        self.undecided += other.undecided;
    }

    fn with_shares(mut self) -> Self {
        self.precision = ShareEstimate::of(self.right, self.hits());
        self.recall = ShareEstimate::of(self.right, self.right + self.missed);
        self
    }
}

impl RuleMeasure {
    /// Returns true if a hit is grave: a veto, or a deduction of 40 points or more.
    #[must_use]
    pub fn is_grave(&self) -> bool {
        self.veto || self.points <= -40.0
    }
}

impl RulePacks {
    /// Compares the hits of every rule, shadow rules included, with the labels of the scored turns.
    #[must_use]
    pub fn measure(&self, rollouts: &[LabelledRollout]) -> RuleMeasures {
        let plan = self.plan();
        let mut measures = RuleMeasures::default();
        let mut counts = vec![LabelCounts::default(); plan.rules.len()];
        for LabelledRollout { rollout, turns } in rollouts {
            let dialogue = DialogueTexts::new(plan, rollout);
            for turn in rollout.turns_to_score().unwrap_or_default() {
                measures.turns += 1;
                let labels = turns.get(&turn);
                measures.labelled += usize::from(labels.is_some());
                let view = TurnView::new(&dialogue, turn);
                let mut verdicts: BTreeMap<usize, RuleVerdict> = BTreeMap::new();
                for index in view.candidates().iter() {
                    if let Some(rule) = plan.rules.get(index) {
                        verdicts.insert(index, view.outcome_of(index, rule).verdict);
                    }
                }
                for (index, (rule, count)) in plan.rules.iter().zip(&mut counts).enumerate() {
                    let label = labels.and_then(|labels| labels.verdict(&rule.pack, &rule.id));
                    match (verdicts.get(&index), label) {
                        (Some(RuleVerdict::Hit(..)), Some(true)) => count.right += 1,
                        (Some(RuleVerdict::Hit(..)), Some(false)) => count.wrong += 1,
                        (Some(RuleVerdict::Hit(..)), None) => count.unlabelled += 1,
                        (Some(RuleVerdict::Unknown(_)), Some(_)) => count.undecided += 1,
                        (_, Some(true)) => count.missed += 1,
                        _ => {}
                    }
                }
            }
        }
        for (rule, count) in plan.rules.iter().zip(counts) {
            measures.packs.entry(rule.pack.clone()).or_default().add(&count);
            measures.rules.push(RuleMeasure {
                pack: rule.pack.clone(),
                rule: rule.id.clone(),
                points: rule.points,
                veto: rule.veto,
                counts: count.with_shares(),
            });
        }
        for counts in measures.packs.values_mut() {
            *counts = counts.with_shares();
        }
        measures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceText;

    #[test]
    fn hits_are_compared_with_labels() {
        let pack = "pack: p\nrules:\n  - { id: a, points: -50, match: { any_of: [bad] } }\n  - { id: b, points: -1, match: { any_of: [worse] }, where: context.price > 3 }\n";
        let packs = RulePacks::compile(&[SourceText::new("p.yaml", pack)]).unwrap().0;
        let turn = |text: &str, labels: &str| {
            let line = format!(
                r#"{{"messages": [{{"role": "assistant", "content": "{text}"}}], "labels": {labels}}}"#
            );
            LabelledRollout::parse(&line).unwrap()
        };
        let measures = packs.measure(&[
            turn("bad", r#"{"p/a": true}"#),
            turn("bad", r#"{"p/a": false}"#),
            turn("bad", "{}"),
            turn("awful", r#"{"p/a": true}"#),
            turn("fine", r#"{"*": false}"#),
            turn("worse", r#"{"p/b": true}"#),
        ]);
        assert_eq!((measures.turns, measures.labelled), (6, 5));
        let a = &measures.rules[0];
        let LabelCounts { right, wrong, missed, unlabelled, .. } = a.counts;
        assert_eq!((right, wrong, missed, unlabelled), (1, 1, 1, 1));
        assert!(a.is_grave() && !measures.rules[1].is_grave());
        assert_eq!(measures.rules[1].counts.undecided, 1);
        assert_eq!(measures.rules[1].counts.precision, None);
        assert_eq!(measures.packs["p"].right, 1);
        // Wilson's interval of 1 of 2.
        let share = a.counts.precision.unwrap();
        assert!(
            (share.low - 0.0945).abs() < 1e-4 && (share.high - 0.9055).abs() < 1e-4,
            "{share:?}"
        );
    }
}
