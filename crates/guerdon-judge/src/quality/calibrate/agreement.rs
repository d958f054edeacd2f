//! Agreement of two raters, computed on plain slices: share of agreement, Cohen's kappa, weighted
//! kappa, and bootstrap intervals.

use crate::rubric::order::below;

/// Number of bootstrap resamples for a confidence interval.
pub(super) const RESAMPLES: usize = 2000;

/// A statistic of pairs of ratings.
pub(super) type Statistic<'a> = dyn Fn(&[(usize, usize)]) -> Option<f64> + 'a;

/// A table of two raters: `table[a][b]` counts the items that one rates `a` and the other `b`.
fn table(pairs: &[(usize, usize)], categories: usize) -> Vec<Vec<f64>> {
    let mut table = vec![vec![0.0; categories]; categories];
    for (a, b) in pairs {
        if let Some(cell) = table.get_mut(*a).and_then(|row| row.get_mut(*b)) {
            *cell += 1.0;
        }
    }
    table
}

/// The share of items on which both agree.
#[expect(clippy::cast_precision_loss, reason = "gold sets are short of 2^53 items")]
pub(crate) fn agreement(pairs: &[(usize, usize)]) -> f64 {
    pairs.iter().filter(|(a, b)| a == b).count() as f64 / pairs.len() as f64
}

/// Cohen's kappa (Cohen, "A coefficient of agreement for nominal scales", 1960): 1 − observed /
/// expected disagreement. `None` if chance alone would make them agree on everything, or there is
/// no item.
pub(crate) fn kappa(pairs: &[(usize, usize)], categories: usize) -> Option<f64> {
    weighted(pairs, categories, |a, b| if a == b { 0.0 } else { 1.0 })
}

/// Kappa with disagreements weighted by the square of their distance (Cohen, "Weighted kappa",
/// 1968): for levels that have an order.
#[expect(clippy::cast_precision_loss, reason = "a handful of levels")]
pub(crate) fn weighted_kappa(pairs: &[(usize, usize)], categories: usize) -> Option<f64> {
    weighted(pairs, categories, |a, b| (a.abs_diff(b) as f64).powi(2))
}

fn weighted(
    pairs: &[(usize, usize)],
    categories: usize,
    weight: impl Fn(usize, usize) -> f64,
) -> Option<f64> {
    let table = table(pairs, categories);
    let total: f64 = table.iter().flatten().sum();
    let rows: Vec<f64> = table.iter().map(|row| row.iter().sum()).collect();
    let columns: Vec<f64> =
        (0..categories).map(|b| table.iter().filter_map(|row| row.get(b)).sum()).collect();
    let (mut observed, mut expected) = (0.0, 0.0);
    for (a, (row, of_row)) in table.iter().zip(&rows).enumerate() {
        for (b, (count, of_column)) in row.iter().zip(&columns).enumerate() {
            observed += weight(a, b) * count;
            expected += weight(a, b) * of_row * of_column / total;
        }
    }
    (expected > 0.0).then(|| 1.0 - observed / expected)
}

/// The 95 % percentile interval of `statistic` over `resamples` resamples of `items` with
/// replacement (Efron and Tibshirani, "An introduction to the bootstrap", 1993, ch. 13). Resamples
/// without a value are left out; `None` if fewer than half have one.
pub(crate) fn bootstrap<T: Copy>(
    items: &[T],
    resamples: usize,
    statistic: impl Fn(&[T]) -> Option<f64>,
) -> Option<(f64, f64)> {
    if items.is_empty() {
        return None;
    }
    // A fixed seed gives the same interval for the same items.
    let mut state = 0x67_75_65_72_64_6f_6e;
    let mut values = Vec::with_capacity(resamples);
    let mut resample = Vec::with_capacity(items.len());
    for _ in 0..resamples {
        resample.clear();
        resample.extend(
            (0..items.len()).filter_map(|_| items.get(below(items.len(), &mut state)).copied()),
        );
        values.extend(statistic(&resample));
    }
    if values.len() * 2 < resamples {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let at =
        |share: usize| values.get((values.len() * share / 1000).min(values.len() - 1)).copied();
    Some((at(25)?, at(975)?))
}

/// Pearson's correlation; `None` if one of them does not vary.
#[expect(clippy::cast_precision_loss, reason = "gold sets are short of 2^53 items")]
pub(crate) fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let count = pairs.len() as f64;
    let mean_x = pairs.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = pairs.iter().map(|(_, y)| y).sum::<f64>() / count;
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        xx += (x - mean_x).powi(2);
        yy += (y - mean_y).powi(2);
        xy += (x - mean_x) * (y - mean_y);
    }
    (xx > 0.0 && yy > 0.0).then(|| xy / (xx * yy).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: Option<f64>, wanted: f64) -> bool {
        value.is_some_and(|value| (value - wanted).abs() < 1e-9)
    }

    /// 20 both yes, 5 yes/no, 10 no/yes, 15 both no: the worked example of many textbooks.
    fn worked() -> Vec<(usize, usize)> {
        [((0, 0), 20), ((0, 1), 5), ((1, 0), 10), ((1, 1), 15)]
            .into_iter()
            .flat_map(|(pair, count)| std::iter::repeat_n(pair, count))
            .collect()
    }

    #[test]
    fn kappa_is_that_of_the_worked_example() {
        assert!((agreement(&worked()) - 0.7).abs() < 1e-12);
        assert!(near(kappa(&worked(), 2), 0.4));
        assert!(near(weighted_kappa(&worked(), 2), 0.4), "with two levels weights change nothing");
    }

    #[test]
    fn a_near_miss_costs_less_than_a_far_one() {
        let near_miss = [(0, 0), (1, 1), (2, 2), (0, 1)];
        let far_miss = [(0, 0), (1, 1), (2, 2), (0, 2)];
        assert!(weighted_kappa(&near_miss, 3) > weighted_kappa(&far_miss, 3));
        // By hand: observed (0-1)²=1 of 4; expected Σ w·r·c/n = (2·2·1 + 2·1·4 + 1·1·1 + 1·2·1 +
        // 1·1·4 + 1·2·1)/4.
        let expected = (2.0 * 2.0 + 2.0 * 4.0 + 1.0 + 1.0 + 4.0 + 2.0) / 4.0;
        assert!(
            near(weighted_kappa(&near_miss, 3), 1.0 - 1.0 / expected),
            "{:?}",
            weighted_kappa(&near_miss, 3)
        );
    }

    #[test]
    fn kappa_is_undefined_for_constant_ratings() {
        assert_eq!(kappa(&[(0, 0), (0, 0)], 2), None);
        assert_eq!(kappa(&[], 2), None);
    }

    #[test]
    fn an_interval_holds_the_value_and_is_the_same_every_time() {
        let interval = bootstrap(&worked(), 1000, |pairs| kappa(pairs, 2)).unwrap();
        assert!(interval.0 < 0.4 && 0.4 < interval.1, "{interval:?}");
        // The normal approximation gives 0.40 ± 0.25.
        assert!(
            (0.1..0.25).contains(&interval.0) && (0.55..0.7).contains(&interval.1),
            "{interval:?}"
        );
        assert_eq!(bootstrap(&worked(), 1000, |pairs| kappa(pairs, 2)), Some(interval));
        assert_eq!(bootstrap(&[], 10, |pairs: &[(usize, usize)]| kappa(pairs, 2)), None);
    }

    #[test]
    fn correlation_is_one_on_a_line() {
        assert!(near(correlation(&[(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]), 1.0));
        assert!(near(correlation(&[(1.0, -2.0), (2.0, -4.0), (3.0, -6.0)]), -1.0));
        assert_eq!(correlation(&[(1.0, 1.0), (1.0, 2.0)]), None);
    }
}
