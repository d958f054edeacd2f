//! Means over the conversations of one run, or over several runs.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::estimate::{Difference, IntervalEstimate};

const RESAMPLES: usize = 10_000;

/// The mean of `numbers`; `None` if there are none.
pub(super) fn mean(numbers: &[f64]) -> Option<f64> {
    (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
}

/// The mean with a 95 % percentile-bootstrap interval (Efron 1979; 10,000 resamples, always the
/// same), which describes other conversations of the same kind. `None` without numbers; no interval
/// for one.
pub(super) fn bootstrap(numbers: &[f64]) -> Option<IntervalEstimate> {
    let value = mean(numbers)?;
    let interval = (numbers.len() > 1).then(|| percentiles(resampled(numbers, 1)));
    Some(IntervalEstimate { value, interval })
}

/// The difference of two means with its bootstrap interval, without a p-value.
pub(super) fn bootstrap_difference(a: &[f64], b: &[f64]) -> Option<Difference> {
    let value = mean(a)? - mean(b)?;
    let both = a.len() > 1 && b.len() > 1;
    let interval = both.then(|| {
        percentiles(resampled(a, 1).into_iter().zip(resampled(b, 2)).map(|(a, b)| a - b).collect())
    });
    Some(Difference { value, interval, p: None })
}

fn resampled(numbers: &[f64], seed: u64) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let count = numbers.len();
    (0..RESAMPLES)
        .map(|_| {
            (0..count).map(|_| numbers[rng.random_range(0..count)]).sum::<f64>() / count as f64
        })
        .collect()
}

fn percentiles(mut means: Vec<f64>) -> [f64; 2] {
    means.sort_by(f64::total_cmp);
    [means[RESAMPLES / 40], means[RESAMPLES - 1 - RESAMPLES / 40]]
}

/// The mean of the runs' figures with Student's 95 % interval, which describes other runs on the
/// same conversations. `None` without runs; no interval for one.
pub(super) fn student(runs: &[f64]) -> Option<IntervalEstimate> {
    let value = mean(runs)?;
    let interval = (runs.len() > 1).then(|| {
        let half = quantile(runs.len() as f64 - 1.0) * (variance(runs) / runs.len() as f64).sqrt();
        [value - half, value + half]
    });
    Some(IntervalEstimate { value, interval })
}

/// The difference of two means of runs: Welch's 95 % interval and two-sided p-value (Welch 1947).
/// Neither, if a side has only one run or the variance of both sides is zero.
pub(super) fn welch(a: &[f64], b: &[f64]) -> Option<Difference> {
    let value = mean(a)? - mean(b)?;
    let [sa, sb] = [a, b].map(|runs| variance(runs) / runs.len() as f64);
    let error = (sa + sb).sqrt();
    if a.len() < 2 || b.len() < 2 || error <= 0.0 {
        return Some(Difference { value, interval: None, p: None });
    }
    let freedom =
        (sa + sb).powi(2) / (sa * sa / (a.len() as f64 - 1.0) + sb * sb / (b.len() as f64 - 1.0));
    let half = quantile(freedom) * error;
    let p = StudentsT::new(0.0, 1.0, freedom).ok().map(|t| 2.0 * t.sf((value / error).abs()));
    Some(Difference { value, interval: Some([value - half, value + half]), p })
}

fn variance(numbers: &[f64]) -> f64 {
    let centre = mean(numbers).unwrap_or(f64::NAN);
    numbers.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / (numbers.len() as f64 - 1.0)
}

/// The 97.5th percentile of Student's distribution.
fn quantile(freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::NAN, |t| t.inverse_cdf(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, known: f64, within: f64) {
        assert!((found - known).abs() < within, "{found} is not {known}");
    }

    #[test]
    fn student_interval_of_five_runs_matches_the_formula() {
        // Mean 3, deviation sqrt(2.5), t(4) = 2.7764.
        let found = student(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let [low, high] = found.interval.unwrap();
        near(low, 3.0 - 2.7764 * 0.5_f64.sqrt(), 1e-4);
        near(high, 3.0 + 2.7764 * 0.5_f64.sqrt(), 1e-4);
        assert_eq!(student(&[2.0]).unwrap().interval, None);
        assert_eq!(student(&[]), None);
    }

    #[test]
    fn welch_test_matches_r() {
        // R: t.test(c(1,2,3,4,5), c(2,4,6,8,10)) gives t = -1.8974, df = 5.8824, p = 0.1075.
        let found = welch(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 4.0, 6.0, 8.0, 10.0]).unwrap();
        near(found.value, -3.0, 1e-12);
        near(found.p.unwrap(), 0.1075, 1e-4);
        assert_eq!(welch(&[1.0, 1.0], &[2.0, 2.0]).unwrap().p, None);
    }

    #[test]
    fn bootstrap_interval_is_near_the_normal_one_and_deterministic() {
        let numbers: Vec<f64> = (0..50).map(|at| f64::from(at % 5)).collect();
        let found = bootstrap(&numbers).unwrap();
        let [low, high] = found.interval.unwrap();
        near(found.value, 2.0, 1e-12);
        let half = 1.96 * (2.0_f64 / 50.0).sqrt();
        near(low, 2.0 - half, 0.03);
        near(high, 2.0 + half, 0.03);
        assert_eq!(bootstrap(&numbers), Some(found));
        assert_eq!(bootstrap(&[1.0]).unwrap().interval, None);
        let apart = bootstrap_difference(&numbers, &[2.0, 2.0]).unwrap();
        near(apart.interval.unwrap()[0], -half, 0.03);
    }
}
