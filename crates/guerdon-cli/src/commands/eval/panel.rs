//! Several raters: what they say together, and how far they agree.

/// The median of some ratings; between two, their mean. None of none.
pub(super) fn median(ratings: &[f64]) -> Option<f64> {
    let mut sorted = ratings.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) =
        (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// Whether more than half say yes.
pub(super) fn majority(votes: impl IntoIterator<Item = bool>) -> bool {
    let (yes, all) =
        votes.into_iter().fold((0, 0), |(yes, all), vote| (yes + usize::from(vote), all + 1));
    2 * yes > all
}

/// How far apart two values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    /// Different or not: for verdicts.
    Nominal,
    /// By how many ranks: for ratings.
    Ordinal,
}

/// Krippendorff's alpha: 1 for full agreement, 0 for chance, below 0 for worse than chance. `units` holds what each
/// rated thing was given, by however many raters; those with one rating say nothing about agreement. None where no two
/// raters met or all ratings are the same.
///
/// Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), sections D and E.
pub(super) fn alpha(units: &[Vec<f64>], metric: Metric) -> Option<f64> {
    let pairable = || units.iter().filter(|unit| unit.len() > 1);
    let mut values: Vec<f64> = pairable().flatten().copied().collect();
    let total = values.len() as f64;
    values.sort_by(f64::total_cmp);
    let mut counts: Vec<(f64, f64)> = Vec::new();
    for value in values {
        match counts.last_mut() {
            Some((last, count)) if last.total_cmp(&value).is_eq() => *count += 1.0,
            _ => counts.push((value, 1.0)),
        }
    }
    let rank = |value: f64| counts.partition_point(|(one, _)| *one < value);
    let apart = |a: usize, b: usize| match metric {
        _ if a == b => 0.0,
        Metric::Nominal => 1.0,
        Metric::Ordinal => {
            let (a, b) = (a.min(b), a.max(b));
            let between: f64 = counts[a..=b].iter().map(|(_, count)| count).sum();
            (between - (counts[a].1 + counts[b].1) / 2.0).powi(2)
        }
    };
    let pairs = |unit: &Vec<f64>| -> f64 {
        let ranks: Vec<usize> = unit.iter().map(|value| rank(*value)).collect();
        ranks.iter().flat_map(|a| ranks.iter().map(|b| apart(*a, *b))).sum()
    };
    let observed: f64 = pairable().map(|unit| pairs(unit) / (unit.len() as f64 - 1.0)).sum();
    let all = 0..counts.len();
    let expected: f64 = all
        .clone()
        .flat_map(|a| all.clone().map(move |b| (a, b)))
        .map(|(a, b)| counts[a].1 * counts[b].1 * apart(a, b))
        .sum();
    (expected > 0.0).then(|| 1.0 - (total - 1.0) * observed / expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_raters_and_their_majority() {
        assert_eq!(median(&[5.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(&[5.0, 2.0]), Some(3.5));
        assert_eq!(median(&[]), None);
        assert!(majority([true, true, false]));
        assert!(!majority([true, false]) && !majority([]));
    }

    #[test]
    fn alpha_is_krippendorff_s_own_example() {
        // Section C: four observers, twelve units, `0` where one did not look. His results: 0.743 and 0.815.
        let observers = [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
            [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
        ];
        let units: Vec<Vec<f64>> = (0..12)
            .map(|unit| {
                observers.iter().map(|o| o[unit]).filter(|x| *x > 0).map(f64::from).collect()
            })
            .collect();
        let near = |found: Option<f64>, known: f64| {
            assert!((found.unwrap() - known).abs() < 5e-4, "{found:?}")
        };
        near(alpha(&units, Metric::Nominal), 0.743);
        near(alpha(&units, Metric::Ordinal), 0.815);
    }

    #[test]
    fn alpha_says_nothing_where_there_is_nothing_to_compare() {
        assert_eq!(alpha(&[vec![1.0], vec![2.0]], Metric::Nominal), None);
        assert_eq!(alpha(&[vec![3.0, 3.0], vec![3.0, 3.0]], Metric::Ordinal), None);
        assert_eq!(alpha(&[vec![1.0, 1.0], vec![2.0, 2.0]], Metric::Ordinal), Some(1.0));
    }
}
