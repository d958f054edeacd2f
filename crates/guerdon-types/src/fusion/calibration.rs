//! The calibration of a reward model's raw output.

use serde::{Deserialize, Serialize};

use super::InvalidFusion;
use crate::Finite;

/// The function from the RM's raw output to the score that enters the fusion. `repo` scales patches
/// by the size of this score, so its zero matters: a Bradley-Terry model is only defined up to a
/// constant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Calibration {
    /// `score = raw`.
    #[default]
    Raw,
    /// `score = raw - mean`.
    Centred {
        /// The mean raw score of a reference set.
        mean: Finite,
    },
    /// `score = (raw - mean) / std`.
    Standardised {
        /// The mean raw score of a reference set.
        mean: Finite,
        /// Its standard deviation; positive.
        std: Finite,
    },
}

impl Calibration {
    /// Checks that `std` is positive.
    ///
    /// # Errors
    /// [`InvalidFusion`] naming the key.
    pub fn check(&self) -> Result<(), InvalidFusion> {
        match self {
            Self::Standardised { std, .. } if std.get() <= 0.0 => {
                let detail = format!("is {std}; it must be positive");
                Err(InvalidFusion::new("calibration.std", detail))
            }
            _ => Ok(()),
        }
    }
}
