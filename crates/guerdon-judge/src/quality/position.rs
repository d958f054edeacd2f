//! Position bias of listwise judgements: the difference in points between the last place and the
//! first place of a list, as if the same reply stood at both.
//!
//! The estimate is the slope of a least-squares line from places, in [0, 1], to points, without the
//! means of each reply if it was seen at several places, or else without the means of each list.
//! Orders are random, so the second form is unbiased over many lists.

use parking_lot::Mutex;

/// Sums of a least-squares line through the origin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct PositionSums {
    /// Sum of the squared places, without their means.
    places: f64,
    /// Sum of the products of places and points, without their means.
    both: f64,
}

/// A reply at a place of a list, with its points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedPoints {
    /// From 0, the first place, to 1, the last.
    pub(crate) place: f64,
    pub(crate) points: f64,
}

impl PositionSums {
    /// Adds observations with a common mean: those of one reply, or of one list.
    #[expect(clippy::cast_precision_loss, reason = "a few observations")]
    pub(crate) fn observe(&mut self, seen: &[PlacedPoints]) {
        let mean = |of: fn(&PlacedPoints) -> f64| {
            seen.iter().map(of).sum::<f64>() / seen.len().max(1) as f64
        };
        let (place, points) = (mean(|one| one.place), mean(|one| one.points));
        for one in seen {
            self.places += (one.place - place).powi(2);
            self.both += (one.place - place) * (one.points - points);
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.places += other.places;
        self.both += other.both;
    }

    /// The difference in points; `None` if no reply was seen at two places.
    pub(crate) fn bias(self) -> Option<f64> {
        (self.places > 0.0).then(|| self.both / self.places).filter(|bias| bias.is_finite())
    }
}

/// Position bias since the last look.
#[derive(Debug, Default)]
pub(crate) struct PositionMonitor(Mutex<PositionSums>);

impl PositionMonitor {
    pub(crate) fn observe(&self, sums: PositionSums) {
        self.0.lock().add(sums);
    }

    pub(crate) fn take(&self) -> Option<f64> {
        std::mem::take(&mut *self.0.lock()).bias()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_place_says_nothing() {
        let mut sums = PositionSums::default();
        sums.observe(&[PlacedPoints { place: 0.5, points: -3.0 }]);
        assert_eq!(sums.bias(), None);
    }

    proptest! {
        /// Replies of any quality whose points fall by `bias` from the first place to the last.
        #[test]
        fn the_slope_is_recovered_whatever_the_replies_are_worth(
            bias in -20.0..20.0_f64,
            quality in prop::collection::vec(-30.0..30.0_f64, 2..9),
        ) {
            let (mut sums, last) = (PositionSums::default(), quality.len() - 1);
            for (at, worth) in quality.iter().enumerate() {
                let seen = [at, last - at].map(|place| {
                    let place = place as f64 / last as f64;
                    PlacedPoints { place, points: worth + bias * place }
                });
                sums.observe(&seen);
            }
            prop_assert!((sums.bias().unwrap() - bias).abs() < 1e-9);
        }
    }
}
