//! The moments of a sequence of values: count, mean and squared deviations, in one pass.

use guerdon_types::{Finite, RunningState};

use super::finite::finite;

/// Count, mean and sum of squared deviations of values (Welford, Technometrics 4(3), 1962). Two
/// sets of moments are merged by Chan et al. (1979), with the moments of all values as the result.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    count: u64,
    mean: f64,
    m2: f64,
}

impl Moments {
    /// The moments of `values`, which are finite.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut moments = Self::default();
        values.into_iter().for_each(|value| moments.add(value));
        moments
    }

    /// Adds one value. A value that is not finite is left out.
    pub fn add(&mut self, value: f64) {
        if value.is_finite() {
            let count = self.count.saturating_add(1);
            let from_old = value - self.mean;
            let mean = finite(self.mean + from_old / as_f64(count));
            self.m2 = finite(self.m2 + from_old * (value - mean));
            (self.count, self.mean) = (count, mean);
        }
    }

    /// The moments of both sets of values together.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        if self.count == 0 {
            return other;
        }
        if other.count == 0 {
            return self;
        }
        let count = self.count.saturating_add(other.count);
        let between = other.mean - self.mean;
        let share = as_f64(other.count) / as_f64(count);
        Self {
            count,
            mean: finite(self.mean + between * share),
            m2: finite(self.m2 + other.m2 + between * between * as_f64(self.count) * share),
        }
    }

    /// The number of values.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.count
    }

    /// The mean; 0 without values.
    #[must_use]
    pub const fn mean(self) -> f64 {
        self.mean
    }

    /// The standard deviation of a sample, `sqrt(m2 / (count - 1))`; `None` with fewer than two
    /// values.
    #[must_use]
    pub fn std(self) -> Option<f64> {
        (self.count > 1).then(|| (self.m2 / as_f64(self.count - 1)).max(0.0).sqrt())
    }

    /// `(value - mean) / std`; `value - mean` if the standard deviation is 0 or unknown.
    #[must_use]
    pub fn standardise(self, value: f64) -> f64 {
        let centred = value - self.mean;
        match self.std() {
            Some(std) if std > 0.0 => finite(centred / std),
            _ => finite(centred),
        }
    }

    /// The moments as they are saved.
    #[must_use]
    pub fn state(self) -> RunningState {
        let saved = |value| Finite::new(finite(value)).unwrap_or_default();
        RunningState { count: self.count, mean: saved(self.mean), m2: saved(self.m2.max(0.0)) }
    }
}

impl From<RunningState> for Moments {
    fn from(RunningState { count, mean, m2 }: RunningState) -> Self {
        Self { count, mean: mean.get(), m2: m2.get() }
    }
}

#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 values one more does not matter")]
const fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(one: Moments, other: Moments) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0);
        one.count == other.count && near(one.mean, other.mean) && near(one.m2, other.m2)
    }

    proptest! {
        #[test]
        fn merged_moments_are_those_of_one_pass(
            values in prop::collection::vec(-1e3..1e3f64, 0..40), cut in 0usize..40,
        ) {
            let (head, tail) = values.split_at(cut.min(values.len()));
            let of = |values: &[f64]| Moments::of(values.iter().copied());
            prop_assert!(close(of(head).merged(of(tail)), of(&values)));
            prop_assert!(close(of(tail).merged(of(head)), of(&values)));
        }

        #[test]
        fn one_pass_agrees_with_the_definitions(
            values in prop::collection::vec(-1e3..1e3f64, 2..40),
        ) {
            let moments = Moments::of(values.iter().copied());
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            prop_assert!((moments.mean() - mean).abs() < 1e-9);
            prop_assert!((moments.std().unwrap() - (squares / (count - 1.0)).sqrt()).abs() < 1e-6);
        }

        #[test]
        fn state_gives_the_same_moments_and_is_read_back(
            values in prop::collection::vec(-1e3..1e3f64, 0..40),
        ) {
            let moments = Moments::of(values.iter().copied());
            prop_assert_eq!(Moments::from(moments.state()), moments);
            let json = serde_json::to_string(&moments.state()).unwrap();
            let state: RunningState = serde_json::from_str(&json).unwrap();
            prop_assert!(state.check().is_ok());
            // serde_json reads a number to within its last bit.
            let near = |a: f64, b: f64| (a - b).abs() <= 2.0 * f64::EPSILON * b.abs();
            prop_assert_eq!(state.count, moments.count);
            prop_assert!(near(state.mean.get(), moments.mean) && near(state.m2.get(), moments.m2));
        }

        #[test]
        fn moments_of_any_finite_values_are_finite(
            values in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 0..20),
        ) {
            let moments = Moments::of(values.iter().copied());
            prop_assert!(moments.state().check().is_ok(), "{moments:?}");
            for value in values {
                prop_assert!(moments.standardise(value).is_finite());
            }
        }
    }

    #[test]
    fn fewer_than_two_values_have_no_deviation() {
        assert_eq!(Moments::default().std(), None);
        assert!((Moments::default().standardise(3.0) - 3.0).abs() < f64::EPSILON);
        let one = Moments::of([2.0]);
        assert_eq!((one.std(), one.standardise(3.0)), (None, 1.0));
        let equal = Moments::of([2.0, 2.0]);
        assert_eq!((equal.std(), equal.standardise(3.0)), (Some(0.0), 1.0));
    }
}
