//! The correlation of two numbers, in one pass.

/// Pearson's correlation, collected pair by pair (Welford's updates).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pearson {
    count: f64,
    means: (f64, f64),
    squares: (f64, f64),
    product: f64,
}

/// The fewest pairs that have a correlation.
const FEWEST: f64 = 3.0;

impl Pearson {
    /// Adds a pair.
    pub(crate) fn add(&mut self, one: f64, other: f64) {
        self.count += 1.0;
        let from = (one - self.means.0, other - self.means.1);
        self.means.0 += from.0 / self.count;
        self.means.1 += from.1 / self.count;
        let to = (one - self.means.0, other - self.means.1);
        self.squares.0 += from.0 * to.0;
        self.squares.1 += from.1 * to.1;
        self.product += from.0 * to.1;
    }

    /// The correlation, from -1 to 1; `None` for fewer than 3 pairs, or if one side is constant.
    pub(crate) fn correlation(&self) -> Option<f64> {
        let size = (self.squares.0 * self.squares.1).sqrt();
        let is_known = self.count >= FEWEST && size.is_finite() && size > 1e-12;
        is_known.then(|| (self.product / size).clamp(-1.0, 1.0))
    }

    /// The number of pairs.
    pub(crate) const fn count(&self) -> f64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(pairs: &[(f64, f64)]) -> Option<f64> {
        let mut pearson = Pearson::default();
        pairs.iter().for_each(|(one, other)| pearson.add(*one, *other));
        pearson.correlation()
    }

    proptest! {
        /// A line has the correlation 1 or -1, and both sides may change places.
        #[test]
        fn line_has_the_sign_of_its_slope(xs in prop::collection::vec(-100i32..100, 3..30), slope in 1i32..9, down: bool) {
            prop_assume!(xs.iter().any(|x| *x != xs[0]));
            let slope = f64::from(if down { -slope } else { slope });
            let pairs: Vec<(f64, f64)> = xs.iter().map(|x| (f64::from(*x), f64::from(*x) * slope + 7.0)).collect();
            let swapped: Vec<(f64, f64)> = pairs.iter().map(|(x, y)| (*y, *x)).collect();
            let (one, other) = (of(&pairs).unwrap(), of(&swapped).unwrap());
            prop_assert!((one - slope.signum()).abs() < 1e-9 && (one - other).abs() < 1e-9, "{one} {other}");
        }
    }

    #[test]
    fn constant_side_has_no_correlation() {
        assert_eq!(of(&[(1.0, 2.0), (1.0, 3.0), (1.0, 9.0)]), None);
        assert_eq!(of(&[(1.0, 2.0), (2.0, 3.0)]), None);
    }
}
