//! The result of one rollout, with its index in the request.

use guerdon_types::{RolloutResult, Usage};

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
