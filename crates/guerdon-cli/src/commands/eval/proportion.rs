//! Proportions: their confidence intervals and the test of their difference.

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::estimate::{Difference, IntervalEstimate};

/// The 97.5th percentile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The number of successes in a number of trials.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Proportion {
    pub(super) yes: f64,
    pub(super) all: f64,
}

impl Proportion {
    pub(super) fn of(votes: &[bool]) -> Self {
        Self { yes: votes.iter().filter(|yes| **yes).count() as f64, all: votes.len() as f64 }
    }

    fn value(self) -> f64 {
        self.yes / self.all
    }

    /// The proportion with Wilson's 95 % interval (Wilson 1927, without continuity correction).
    /// `None` without trials.
    pub(super) fn estimate(self) -> Option<IntervalEstimate> {
        let Self { all, .. } = self;
        let p = self.value();
        let centre = (p + Z * Z / (2.0 * all)) / (1.0 + Z * Z / all);
        let half =
            Z / (1.0 + Z * Z / all) * (p * (1.0 - p) / all + Z * Z / (4.0 * all * all)).sqrt();
        (all > 0.0).then(|| IntervalEstimate {
            value: p,
            interval: Some([(centre - half).max(0.0), (centre + half).min(1.0)]),
        })
    }

    /// This proportion minus `other`: Newcombe's 95 % interval (1998, method 10), and the two-sided
    /// p-value of the two-proportion z-test with a pooled variance. `None` if either has no trials.
    pub(super) fn against(self, other: Self) -> Option<Difference> {
        let (a, b) = (self.estimate()?, other.estimate()?);
        let ([al, ah], [bl, bh]) = (a.interval?, b.interval?);
        let value = a.value - b.value;
        let low = value - (a.value - al).hypot(bh - b.value);
        let high = value + (ah - a.value).hypot(b.value - bl);
        let pooled = (self.yes + other.yes) / (self.all + other.all);
        let error = (pooled * (1.0 - pooled) * (1.0 / self.all + 1.0 / other.all)).sqrt();
        let p = Normal::standard().sf((value / error).abs()) * 2.0;
        Some(Difference { value, interval: Some([low, high]), p: (error > 0.0).then_some(p) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, known: f64, within: f64) {
        assert!((found - known).abs() < within, "{found} is not {known}");
    }

    #[test]
    fn wilson_interval_matches_newcombe_s_table() {
        // Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I,
        // method 3.
        for (yes, all, low, high) in
            [(81.0, 263.0, 0.2553, 0.3662), (15.0, 148.0, 0.0624, 0.1605), (0.0, 20.0, 0.0, 0.1611)]
        {
            let [l, h] = Proportion { yes, all }.estimate().unwrap().interval.unwrap();
            near(l, low, 5e-5);
            near(h, high, 5e-5);
        }
        assert_eq!(Proportion::of(&[]).estimate(), None);
    }

    #[test]
    fn difference_matches_newcombe_s_example() {
        // Newcombe 1998, "Interval estimation for the difference", table II (a), method 10: 56/70
        // and 48/80.
        let other = Proportion { yes: 48.0, all: 80.0 };
        let found = Proportion { yes: 56.0, all: 70.0 }.against(other).unwrap();
        let [low, high] = found.interval.unwrap();
        near(found.value, 0.2, 1e-12);
        near(low, 0.0524, 5e-5);
        near(high, 0.3339, 5e-5);
        // z = 0.2 / sqrt(104/150 * 46/150 * (1/70 + 1/80)) = 2.6501.
        near(found.p.unwrap(), 0.00805, 2e-5);
    }

    #[test]
    fn two_proportions_of_one_have_no_p_value() {
        let all = Proportion { yes: 9.0, all: 9.0 };
        assert_eq!(all.against(all).unwrap().p, None);
    }
}
