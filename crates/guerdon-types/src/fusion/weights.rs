//! The weights of `weighted_sum` and `soft_min`.

use serde::{Deserialize, Serialize};

use crate::Finite;

/// The weights of `weighted_sum`: the RM's per unit of calibrated score, the others per `bound`
/// points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// The weight of the reward model's score.
    pub rm: Finite,
    /// The weight of the judge's points.
    pub judge: Finite,
    /// The weight of the rules' points.
    pub rules: Finite,
    /// The weight of every external source.
    pub other: Finite,
}

impl Default for Weights {
    fn default() -> Self {
        Self { rm: Finite::ONE, judge: Finite::ONE, rules: Finite::ONE, other: Finite::ONE }
    }
}
