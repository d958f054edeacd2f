//! Normalisers fitted on the values of a reference set.

use guerdon_types::{Finite, Normaliser};

use super::{Moments, quantile};

/// The most knots of a fitted quantile curve: steps of 1 %.
const KNOTS: usize = 101;

/// The value of a source on one reply of a reference set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The source's value, before any normalisation; finite.
    pub value: f64,
    /// The length of the reply in Unicode scalar values.
    pub length: usize,
}

/// A kind of normaliser that can be fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FitKind {
    /// The mean.
    Centred,
    /// The mean and the standard deviation of a sample.
    Standardised,
    /// Count, mean and squared deviations.
    Running,
    /// Up to 101 quantiles.
    Quantile,
    /// The mean as the reference, and a result that is 0 there.
    Par,
    /// The slope of least squares of the value on the length, and the mean length.
    LengthDebias,
}

/// The reason why a reference set does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// Too few samples.
    #[error("the reference set has {found} values, and this kind needs at least {needed}")]
    TooFew {
        /// The number of samples.
        found: usize,
        /// The number that the kind needs.
        needed: usize,
    },
    /// All values are equal.
    #[error("all values of the reference set are equal, so they have no scale")]
    EqualValues,
    /// All replies have the same length.
    #[error("all replies of the reference set have the same length, so no slope can be fitted")]
    EqualLengths,
    /// A number is beyond the range of `f64`.
    #[error("the values of the reference set are too far apart")]
    Overflow,
}

/// The normaliser of `kind` fitted on `samples`.
///
/// ```
/// use guerdon_fusion::{FitKind, Sample, fit, normalise};
///
/// let samples = [1.0, 2.0, 6.0].map(|value| Sample { value, length: 10 });
/// let fitted = fit(FitKind::Centred, &samples)?;
/// assert_eq!(normalise(&fitted, 3.0, 10), 0.0);
/// # Ok::<(), guerdon_fusion::FitError>(())
/// ```
///
/// # Errors
/// [`FitError`] if there are too few samples, or their values or lengths do not differ where the
/// kind needs it.
pub fn fit(kind: FitKind, samples: &[Sample]) -> Result<Normaliser, FitError> {
    let needed = if matches!(kind, FitKind::Centred | FitKind::Par) { 1 } else { 2 };
    if samples.len() < needed {
        return Err(FitError::TooFew { found: samples.len(), needed });
    }
    let moments = Moments::of(samples.iter().map(|sample| sample.value));
    let mean = number(moments.mean())?;
    Ok(match kind {
        FitKind::Centred => Normaliser::Centred { mean },
        FitKind::Standardised => {
            let std = number(moments.std().unwrap_or_default())?;
            if std.get() <= 0.0 {
                return Err(FitError::EqualValues);
            }
            Normaliser::Standardised { mean, std }
        }
        FitKind::Running => fit_running(samples),
        FitKind::Quantile => Normaliser::Quantile { knots: knots(samples)? },
        FitKind::Par => Normaliser::Par { reference: mean, centred: true },
        FitKind::LengthDebias => {
            let (slope, mean_length) = slope(samples)?;
            Normaliser::LengthDebias { slope, mean_length }
        }
    })
}

/// A frozen `running` normaliser with the moments of `samples`.
#[must_use]
pub fn fit_running(samples: &[Sample]) -> Normaliser {
    let state = Moments::of(samples.iter().map(|sample| sample.value)).state();
    let (count, mean, m2) = (state.count, state.mean, state.m2);
    Normaliser::Running { count, mean, m2, online: false }
}

fn number(value: f64) -> Result<Finite, FitError> {
    Finite::new(value).map_err(|_| FitError::Overflow)
}

fn knots(samples: &[Sample]) -> Result<Vec<Finite>, FitError> {
    let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
    let knots = quantile::quantiles(&values, values.len().clamp(2, KNOTS));
    if knots.first() == knots.last() {
        return Err(FitError::EqualValues);
    }
    knots.into_iter().map(number).collect()
}

/// The slope of least squares of the value on the length, and the mean length.
#[expect(clippy::cast_precision_loss, reason = "a reply has fewer than 2^52 characters")]
fn slope(samples: &[Sample]) -> Result<(Finite, Finite), FitError> {
    let mean_length = Moments::of(samples.iter().map(|sample| sample.length as f64)).mean();
    let mean = Moments::of(samples.iter().map(|sample| sample.value)).mean();
    let (mut products, mut squares) = (0.0, 0.0);
    for sample in samples {
        let from_mean = sample.length as f64 - mean_length;
        products += from_mean * (sample.value - mean);
        squares += from_mean * from_mean;
    }
    if squares <= 0.0 {
        return Err(FitError::EqualLengths);
    }
    Ok((number(products / squares)?, number(mean_length)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(pairs: &[(f64, usize)]) -> Vec<Sample> {
        pairs.iter().map(|&(value, length)| Sample { value, length }).collect()
    }

    #[test]
    fn slope_of_values_on_a_line_is_the_line_s() {
        let on_a_line = samples(&[(1.0, 10), (2.0, 30), (4.0, 70)]);
        let Ok(Normaliser::LengthDebias { slope, mean_length }) =
            fit(FitKind::LengthDebias, &on_a_line)
        else {
            panic!("a slope")
        };
        assert!((slope.get() - 0.05).abs() < 1e-12);
        assert!((mean_length.get() - 110.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn reference_sets_without_differences_are_refused() {
        let equal = samples(&[(1.0, 5), (1.0, 5)]);
        assert_eq!(fit(FitKind::Standardised, &equal), Err(FitError::EqualValues));
        assert_eq!(fit(FitKind::Quantile, &equal), Err(FitError::EqualValues));
        assert_eq!(fit(FitKind::LengthDebias, &equal), Err(FitError::EqualLengths));
        let too_few = Err(FitError::TooFew { found: 0, needed: 1 });
        assert_eq!(fit(FitKind::Centred, &[]), too_few);
        let one = samples(&[(1.0, 5)]);
        let too_few = Err(FitError::TooFew { found: 1, needed: 2 });
        assert_eq!(fit(FitKind::Standardised, &one), too_few);
        let far = samples(&[(f64::MAX, 1), (f64::MIN, 2)]);
        assert!(fit(FitKind::LengthDebias, &far).is_err());
    }
}
