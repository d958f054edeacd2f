//! The cost of each rule.

use std::time::{Duration, Instant};

use guerdon_types::Rollout;

use crate::RulePacks;
use crate::engine::eval::{DialogueTexts, RuleVerdict, TurnView};

/// The cost of one rule over many turns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleCost {
    /// The pack.
    pub pack: String,
    /// The rule.
    pub rule: String,
    /// The time spent on all turns, without the work that all rules share (folding, literals,
    /// numbers).
    pub time: Duration,
    /// The number of turns on which the rule ran, because they met its requirements.
    pub candidates: usize,
    /// The number of turns that the rule hit.
    pub hits: usize,
}

impl RulePacks {
    /// Runs every rule separately on the scored turns of `rollouts`. Returns the number of turns
    /// and the cost of each rule, highest first.
    #[must_use]
    pub fn costs(&self, rollouts: &[Rollout]) -> (usize, Vec<RuleCost>) {
        let plan = self.plan();
        let mut costs: Vec<RuleCost> = plan
            .rules
            .iter()
            .map(|rule| RuleCost {
                pack: rule.pack.clone(),
                rule: rule.id.clone(),
                time: Duration::ZERO,
                candidates: 0,
                hits: 0,
            })
            .collect();
        let mut count = 0;
        for rollout in rollouts {
            let dialogue = DialogueTexts::new(plan, rollout);
            for turn in rollout.turns_to_score().unwrap_or_default() {
                count += 1;
                let scene = TurnView::new(&dialogue, turn);
                for index in scene.candidates().iter() {
                    let (Some(rule), Some(cost)) = (plan.rules.get(index), costs.get_mut(index))
                    else {
                        continue;
                    };
                    let started = Instant::now();
                    let verdict = scene.outcome_of(index, rule).verdict;
                    cost.time += started.elapsed();
                    cost.candidates += 1;
                    cost.hits += usize::from(matches!(verdict, RuleVerdict::Hit(..)));
                }
            }
        }
        costs.sort_by_key(|cost| std::cmp::Reverse(cost.time));
        (count, costs)
    }
}
