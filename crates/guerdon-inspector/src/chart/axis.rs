//! The scale of one axis, with round ticks.

/// A linear scale from numbers to pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// The scale of `numbers` between the pixels `from` and `to`. Without numbers, and for equal
    /// ones, it has some room around them.
    pub(crate) fn of(numbers: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let mut range: Option<(f64, f64)> = None;
        for number in numbers.filter(|number| number.is_finite()) {
            let (low, high) = range.unwrap_or((number, number));
            range = Some((low.min(number), high.max(number)));
        }
        let (mut low, mut high) = range.unwrap_or((0.0, 1.0));
        if high - low <= f64::EPSILON * high.abs().max(low.abs()).max(f64::MIN_POSITIVE) {
            let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = (low - room, high + room);
        }
        Self { low, high, from, to }
    }

    /// The pixel of a number, with two decimals.
    pub(crate) fn at(&self, number: f64) -> f64 {
        // Halves first, so that the widest ranges do not overflow.
        let share = (number / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        let place = self.from + (self.to - self.from) * share.clamp(0.0, 1.0);
        (place * 100.0).round() / 100.0
    }

    /// About `count` round numbers on the axis, ascending.
    pub(crate) fn ticks(&self, count: u32) -> Vec<f64> {
        let raw = (self.high / 2.0 - self.low / 2.0) / f64::from(count.max(1)) * 2.0;
        let power = 10_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let step = step.into_iter().find(|step| *step >= raw).unwrap_or(raw);
        if !step.is_finite() || step <= 0.0 {
            return Vec::new();
        }
        let first = (self.low / step).ceil();
        let ticks = (0..=2 * count).map(|place| (first + f64::from(place)) * step);
        ticks.take_while(|tick| *tick <= self.high).map(|tick| tick + 0.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_round() {
        let axis = Axis::of([0.13, 9.4].into_iter(), 0.0, 100.0);
        assert_eq!(axis.ticks(5), [2.0, 4.0, 6.0, 8.0]);
    }

    proptest! {
        /// Every number has a place between the ends, and ticks are few, whatever the numbers are.
        #[test]
        fn numbers_are_within_the_axis(one: f64, other: f64) {
            let axis = Axis::of([one, other].into_iter(), 10.0, 90.0);
            for number in [one, other].into_iter().filter(|number| number.is_finite()) {
                prop_assert!((10.0..=90.0).contains(&axis.at(number)), "{number} at {}", axis.at(number));
            }
            prop_assert!(axis.ticks(4).len() <= 9);
        }
    }
}
