//! One rollout's result on its way out.

use guerdon_types::{RolloutResult, Usage};

/// One rollout's result and its place in the request.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The rollout's index in the request.
    pub index: usize,
    /// Its result.
    pub result: RolloutResult,
    /// What it cost.
    pub usage: Usage,
}
