//! Quantiles of rewards.

/// Five quantiles and the mean of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quantiles {
    /// The 10 % quantile.
    pub(crate) p10: f64,
    /// The 25 % quantile.
    pub(crate) p25: f64,
    /// The median.
    pub(crate) p50: f64,
    /// The 75 % quantile.
    pub(crate) p75: f64,
    /// The 90 % quantile.
    pub(crate) p90: f64,
    /// The mean.
    pub(crate) mean: f64,
}

/// The quantiles of `numbers`, with linear interpolation between neighbours; `None` without any.
/// Sorts the numbers.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 numbers are in memory")]
pub(crate) fn quantiles(numbers: &mut [f64]) -> Option<Quantiles> {
    numbers.sort_unstable_by(f64::total_cmp);
    let last = numbers.len().checked_sub(1)?;
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let at = |share: f64| {
        let place = share * last as f64;
        let below = numbers.get(floor(place)).copied().unwrap_or_default();
        let above = numbers.get((floor(place) + 1).min(last)).copied().unwrap_or_default();
        below + (above - below) * (place - place.floor())
    };
    Some(Quantiles { p10: at(0.1), p25: at(0.25), p50: at(0.5), p75: at(0.75), p90: at(0.9), mean })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list is not negative"
)]
const fn floor(place: f64) -> usize {
    place as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let found = quantiles(&mut [4.0, 0.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(
            found,
            Quantiles { p10: 0.4, p25: 1.0, p50: 2.0, p75: 3.0, p90: 3.6, mean: 2.0 }
        );
        assert_eq!(quantiles(&mut [7.0]).map(|own| [own.p10, own.p90, own.mean]), Some([7.0; 3]));
        assert_eq!(quantiles(&mut []), None);
    }
}
