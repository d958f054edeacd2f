//! Histograms with the buckets that metrics share.

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// A histogram of durations, from 0.1 ms to 52 s.
pub(super) fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(1e-4, 2.0, 20))
}

/// A histogram of small counts, from 1 to 2,048.
pub(super) fn counts() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 12))
}

/// A histogram of token counts, from 16 to 262,144.
pub(super) fn tokens() -> Histogram {
    Histogram::new(exponential_buckets(16.0, 2.0, 15))
}

/// A histogram of rewards: both signs, from 0.1 to 100, with 0 as a bound.
pub(super) fn rewards() -> Histogram {
    Histogram::new(signed(&[0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0]))
}

/// A histogram of scores and points: both signs, from 0.25 to 200, with 0 as a bound.
pub(super) fn points() -> Histogram {
    Histogram::new(signed(&[0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 100.0, 200.0]))
}

/// The bounds with both signs, and 0, in ascending order.
fn signed(bounds: &[f64]) -> impl Iterator<Item = f64> {
    let negative = bounds.iter().rev().map(|bound| -bound);
    negative.chain([0.0]).chain(bounds.iter().copied()).collect::<Vec<_>>().into_iter()
}
