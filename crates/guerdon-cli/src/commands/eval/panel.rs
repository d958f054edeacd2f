//! Several raters: their median or majority, and their agreement.

/// The median of the ratings; of an even number, the mean of the middle two. `None` without
/// ratings.
pub(super) fn median(ratings: &[f64]) -> Option<f64> {
    let mut sorted = ratings.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) =
        (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// True if more than half of the votes are yes.
pub(super) fn majority(votes: impl IntoIterator<Item = bool>) -> bool {
    let (yes, all) =
        votes.into_iter().fold((0, 0), |(yes, all), vote| (yes + usize::from(vote), all + 1));
    2 * yes > all
}

/// The distance of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    /// Equal or different, for verdicts.
    Nominal,
    /// The number of ranks between them, for ratings.
    Ordinal,
}

/// Krippendorff's alpha: 1 for full agreement, 0 for chance, below 0 for worse than chance. `units`
/// has the ratings of each rated item, by any number of raters. Items with one rating are ignored.
/// `None` if no item has two ratings or all ratings are equal.
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
    let distance = |a: usize, b: usize| match metric {
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
        ranks.iter().flat_map(|a| ranks.iter().map(|b| distance(*a, *b))).sum()
    };
    let observed: f64 = pairable().map(|unit| pairs(unit) / (unit.len() as f64 - 1.0)).sum();
    let all = 0..counts.len();
    let expected: f64 = all
        .clone()
        .flat_map(|a| all.clone().map(move |b| (a, b)))
        .map(|(a, b)| counts[a].1 * counts[b].1 * distance(a, b))
        .sum();
    (expected > 0.0).then(|| 1.0 - (total - 1.0) * observed / expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_majority_of_raters() {
        assert_eq!(median(&[5.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(&[5.0, 2.0]), Some(3.5));
        assert_eq!(median(&[]), None);
        assert!(majority([true, true, false]));
        assert!(!majority([true, false]) && !majority([]));
    }

    #[test]
    fn alpha_matches_krippendorff_s_example() {
        // Section C: four observers, twelve units, `0` for a missing rating. Published results:
        // 0.743 and 0.815.
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
    fn alpha_is_none_without_comparable_ratings() {
        assert_eq!(alpha(&[vec![1.0], vec![2.0]], Metric::Nominal), None);
        assert_eq!(alpha(&[vec![3.0, 3.0], vec![3.0, 3.0]], Metric::Ordinal), None);
        assert_eq!(alpha(&[vec![1.0, 1.0], vec![2.0, 2.0]], Metric::Ordinal), Some(1.0));
    }
}
