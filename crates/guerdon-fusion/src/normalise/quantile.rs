//! The empirical distribution of a reference set, by its quantiles.

use guerdon_types::Finite;

/// The share of the reference set below `value`, within `[0, 1]`.
///
/// `knots` are quantiles at equal steps of probability, at least two, ascending. Between two knots
/// the share is interpolated linearly. A value equal to several knots gets the middle of their
/// shares, as an average rank does.
pub(super) fn share_below(knots: &[Finite], value: f64) -> f64 {
    let last = knots.len().saturating_sub(1);
    let below = knots.partition_point(|knot| knot.get() < value);
    let up_to = knots.partition_point(|knot| knot.get() <= value);
    let share = |place: f64| place / as_f64(last.max(1));
    if below < up_to {
        // The first and the last equal knot.
        let edge = |place: usize| share(as_f64(place));
        let (first, end) = (edge(below), edge(up_to - 1));
        // Values equal to the lowest or highest knot are at the edge of the reference set.
        return match (below, up_to - 1) {
            (0, _) => first,
            (_, end_place) if end_place == last => end,
            _ => f64::midpoint(first, end),
        };
    }
    let (Some(low), Some(high)) =
        (below.checked_sub(1).and_then(|at| knots.get(at)), knots.get(below))
    else {
        return if below == 0 { 0.0 } else { 1.0 };
    };
    // Halved, so that a difference of great numbers stays finite.
    let (low, high) = (low.get() / 2.0, high.get() / 2.0);
    let between = ((value / 2.0 - low) / (high - low)).clamp(0.0, 1.0);
    share(as_f64(below - 1) + between)
}

/// `count` quantiles of `values`, which are not empty, at equal steps of probability: with
/// `n` sorted values, the quantile of probability `p` is interpolated at place `p (n - 1)`.
pub(super) fn quantiles(values: &[f64], count: usize) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let steps = count.saturating_sub(1).max(1);
    (0..count)
        .filter_map(|step| {
            // Whole numbers, so that the last quantile is the highest value exactly.
            let place = step * last;
            let (low, rest) = (place / steps, place % steps);
            let low_value = sorted.get(low)?;
            let high_value = sorted.get(low + 1).unwrap_or(low_value);
            let share = as_f64(rest) / as_f64(steps);
            Some(low_value * (1.0 - share) + high_value * share)
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a curve has at most 4,096 knots")]
const fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knots(values: &[i32]) -> Vec<Finite> {
        values.iter().copied().map(Finite::from).collect()
    }

    #[test]
    fn shares_are_interpolated_and_end_at_the_reference_set() {
        let knots = knots(&[0, 2, 2, 2, 10]);
        for (value, share) in [
            (-5.0, 0.0),
            (0.0, 0.0),
            (1.0, 0.125),
            (2.0, 0.5),
            (6.0, 0.875),
            (10.0, 1.0),
            (99.0, 1.0),
        ] {
            assert!((share_below(&knots, value) - share).abs() < 1e-12, "{value}");
        }
    }

    #[test]
    fn far_knots_give_finite_shares() {
        let knots = [f64::MIN, f64::MAX].map(|value| Finite::new(value).unwrap());
        assert!((share_below(&knots, 0.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn quantiles_run_from_the_lowest_to_the_highest_value() {
        let values = [3.0, 1.0, 2.0, 5.0];
        assert_eq!(quantiles(&values, 4), [1.0, 2.0, 3.0, 5.0]);
        assert_eq!(quantiles(&values, 3), [1.0, 2.5, 5.0]);
        assert_eq!(quantiles(&values, 2), [1.0, 5.0]);
    }
}
