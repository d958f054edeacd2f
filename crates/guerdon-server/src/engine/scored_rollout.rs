//! The result of one rollout, with its index in the request.

use guerdon_types::{Problem, RolloutId, RolloutResult, Usage};

/// The result and the cost of one rollout, with its index in the request.
#[derive(Debug, Clone)]
pub struct ScoredRollout {
    /// The rollout's index in the request.
    pub index: usize,
    /// The result.
    pub result: RolloutResult,
    /// The cost.
    pub usage: Usage,
}

impl ScoredRollout {
    /// A rollout that cannot be scored.
    pub(crate) fn failed(index: usize, id: RolloutId, problem: Problem) -> Self {
        let result = RolloutResult {
            id,
            reward: None,
            advantage: None,
            turns: Vec::new(),
            error: Some(problem),
        };
        Self { index, result, usage: Usage::default() }
    }
}
