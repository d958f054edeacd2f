//! The clip range of a ratio.

use crate::error::{OptimError, require};

/// The range around 1 within which a ratio is not clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipRange {
    /// The distance below 1, within 0..=1. Default 0.2.
    pub low: f64,
    /// The distance above 1, finite and 0 or more. Default 0.2.
    pub high: f64,
}

impl Default for ClipRange {
    fn default() -> Self {
        Self { low: 0.2, high: 0.2 }
    }
}

impl ClipRange {
    pub(super) fn check(&self) -> Result<(), OptimError> {
        require((0.0..=1.0).contains(&self.low), "clip.low", self.low, "within 0..=1")?;
        require(
            self.high >= 0.0 && self.high.is_finite(),
            "clip.high",
            self.high,
            "finite and 0 or more",
        )
    }
}
