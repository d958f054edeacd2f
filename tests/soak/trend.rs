//! The trend of memory samples. Memory rises and falls with the requests of a moment, so the lowest
//! sample of each interval is taken: what is never given back.

use std::fmt;

/// Intervals of the samples.
const INTERVALS: usize = 24;
/// Normal deviate of the one-sided test: one false alarm in a thousand runs.
const SIGNIFICANT: f64 = 3.09;

/// The trend of (minute, MiB) samples.
#[derive(Debug)]
pub(crate) struct Trend {
    /// Median slope between intervals (Theil-Sen), in MiB a minute.
    slope: f64,
    /// Deviate of the Mann-Kendall test: how far the number of rising pairs is from chance.
    deviate: f64,
    first: f64,
    last: f64,
}

impl Trend {
    /// The trend of `samples`, in their order; `None` for too few.
    pub(crate) fn of(samples: &[(f64, f64)]) -> Option<Self> {
        let size = samples.len() / INTERVALS;
        if size == 0 {
            return None;
        }
        let lowest = |chunk: &[(f64, f64)]| {
            let mut sorted = chunk.to_vec();
            sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
            (chunk[0].0, sorted[0].1)
        };
        let floors: Vec<(f64, f64)> = samples.chunks_exact(size).map(lowest).collect();
        let pairs = || {
            let later = |index: usize| floors[index + 1..].iter().map(move |later| (index, *later));
            (0..floors.len()).flat_map(later).map(|(index, later)| (floors[index], later))
        };
        let mut slopes: Vec<f64> = pairs().map(|(a, b)| (b.1 - a.1) / (b.0 - a.0)).collect();
        slopes.sort_by(f64::total_cmp);
        let rising: f64 = pairs()
            .map(|(a, b)| {
                if b.1 > a.1 {
                    1.0
                } else if b.1 < a.1 {
                    -1.0
                } else {
                    0.0
                }
            })
            .sum();
        let n = floors.len() as f64;
        let deviation = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
        Some(Self {
            slope: *slopes.get(slopes.len() / 2)?,
            deviate: (rising - rising.signum()) / deviation,
            first: floors.first()?.1,
            last: floors.last()?.1,
        })
    }

    /// True if memory grows significantly, and by more than `flat` MiB a minute.
    pub(crate) fn is_growth_over(&self, flat: f64) -> bool {
        self.slope > flat && self.deviate > SIGNIFICANT
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slope, deviate, first, last } = self;
        write!(f, "{first:.1} to {last:.1} MiB, {slope:+.2} MiB a minute (deviate {deviate:+.1})")
    }
}
