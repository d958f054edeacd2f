//! Estimates with their 95 % intervals.

use serde::Serialize;

/// A figure and its 95 % interval. Without an interval, the data are too few for one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct IntervalEstimate {
    pub(super) value: f64,
    pub(super) interval: Option<[f64; 2]>,
}

/// A difference, its 95 % interval, and the two-sided p-value of the hypothesis of no difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Difference {
    pub(super) value: f64,
    pub(super) interval: Option<[f64; 2]>,
    pub(super) p: Option<f64>,
}
