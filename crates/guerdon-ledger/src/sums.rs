//! The sums of a batch by run, step, split, profile and digest.

use std::collections::HashMap;

/// A key of the sums: ids of names, 0 where a rollout has none, and the step, -1 where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SumKey {
    pub(crate) run: i64,
    pub(crate) step: i64,
    pub(crate) split: i64,
    pub(crate) profile: i64,
    pub(crate) digest: i64,
}

/// Sums over rollouts.
#[derive(Debug, Default)]
pub(crate) struct RewardSums {
    pub(crate) rollouts: i64,
    /// Rollouts without a reward, which `total` and `squares` do not count.
    pub(crate) missing: i64,
    pub(crate) total: f64,
    pub(crate) squares: f64,
    pub(crate) cost: f64,
    pub(crate) last_ms: i64,
}

impl RewardSums {
    pub(crate) fn add(&mut self, reward: Option<f64>, cost: f64, recorded_ms: i64) {
        self.rollouts += 1;
        match reward {
            Some(reward) => {
                self.total += reward;
                self.squares += reward * reward;
            }
            None => self.missing += 1,
        }
        self.cost += cost;
        self.last_ms = self.last_ms.max(recorded_ms);
    }
}

/// Sums over the parts of a source.
#[derive(Debug, Default)]
pub(crate) struct SourceSums {
    pub(crate) turns: i64,
    /// Turns with a value, which `total` and `squares` count.
    pub(crate) valued: i64,
    pub(crate) abstained: i64,
    pub(crate) vetoed: i64,
    pub(crate) total: f64,
    pub(crate) squares: f64,
    pub(crate) last_ms: i64,
}

impl SourceSums {
    pub(crate) fn add(&mut self, part: &crate::flat::PartRow, recorded_ms: i64) {
        self.turns += 1;
        if let Some(value) = part.value {
            self.valued += 1;
            self.total += value;
            self.squares += value * value;
        }
        self.abstained += i64::from(part.why.is_some());
        self.vetoed += i64::from(part.veto);
        self.last_ms = self.last_ms.max(recorded_ms);
    }
}

/// The sums of a batch.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) rewards: HashMap<SumKey, RewardSums>,
    /// By key and the id of the source.
    pub(crate) sources: HashMap<(SumKey, i64), SourceSums>,
}
