//! Rubrics that come with rollouts.

use std::path::PathBuf;

use guerdon_types::Finite;
use serde::{Deserialize, Serialize};

/// Rubrics that come with rollouts: in requests, or from a file by prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RubricsConfig {
    /// Set to accept `rubric` in the rollouts of requests. Otherwise such a rollout has an error.
    pub from_requests: bool,
    /// A file of JSON lines, `{"id": "prompt-3", "rubric": [...]}`: the rubrics of rollouts whose
    /// request has none. The id is that of `context.prompt_id`, or else the rollout's `group`.
    pub path: Option<PathBuf>,
    /// Points of a rubric with weights that is met in full.
    pub points: Finite,
    /// Largest number of criteria of a rubric.
    pub max_criteria: usize,
    /// Largest size of the texts of a rubric in bytes.
    pub max_bytes: usize,
}

impl Default for RubricsConfig {
    fn default() -> Self {
        Self {
            from_requests: false,
            path: None,
            points: Finite::from(100),
            max_criteria: 32,
            max_bytes: 32 << 10,
        }
    }
}

impl RubricsConfig {
    /// True if judges ask rubrics of rollouts.
    #[must_use]
    pub const fn is_used(&self) -> bool {
        self.from_requests || self.path.is_some()
    }
}
