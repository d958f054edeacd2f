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
