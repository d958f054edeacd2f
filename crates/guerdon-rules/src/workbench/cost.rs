//! What each rule costs.

use std::time::{Duration, Instant};

use guerdon_types::Rollout;

use crate::RulePacks;
use crate::engine::eval::{Dialogue, Scene, Verdict};

/// One rule over many turns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleCost {
    /// The pack.
    pub pack: String,
    /// The rule in it.
    pub rule: String,
    /// Time on all turns, what all rules share (folding, literals, numbers) aside.
    pub time: Duration,
    /// Turns that it was run on: those that had what it cannot hit without.
    pub candidates: usize,
    /// Turns that it hit.
    pub hits: usize,
}

impl RulePacks {
    /// Runs every rule on its own over the scored turns of `rollouts`, the dearest rule first, and tells the number of
    /// turns.
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
            let dialogue = Dialogue::new(plan, rollout);
            for turn in rollout.turns_to_score().unwrap_or_default() {
                count += 1;
                let scene = Scene::new(&dialogue, turn);
                for index in scene.candidates().iter() {
                    let (Some(rule), Some(cost)) = (plan.rules.get(index), costs.get_mut(index))
                    else {
                        continue;
                    };
                    let started = Instant::now();
                    let verdict = scene.verdict(index, rule);
                    cost.time += started.elapsed();
                    cost.candidates += 1;
                    cost.hits += usize::from(matches!(verdict, Verdict::Hit(..)));
                }
            }
        }
        costs.sort_by_key(|cost| std::cmp::Reverse(cost.time));
        (count, costs)
    }
}
