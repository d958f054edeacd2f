//! Rules and criteria over many rollouts: how often each fires, what it weighs, and with what it
//! goes together.

use std::collections::{BTreeMap, HashMap};

use super::pearson::Pearson;
use crate::record::Row;

/// The most names that are told apart.
const MAX_NAMES: usize = 2_000;
/// The newest rollouts of a name.
const NEWEST: usize = 20;
/// The most columns of a trend.
const COLUMNS: usize = 40;

/// A rule or a criterion over the rollouts of a filter.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ComponentSummary {
    /// `source: pack/rule`.
    pub(crate) name: String,
    /// The rollouts with it.
    pub(crate) rollouts: usize,
    /// Those where it gave or took points.
    pub(crate) counted: usize,
    /// The sum of its points.
    pub(crate) points: f64,
    /// Its part of all points of all names, in absolute numbers, from 0 to 1.
    pub(crate) share: f64,
    /// The correlation of its points with the length of the replies, over all rollouts.
    pub(crate) length: Option<f64>,
    /// The correlation of its points with the reward.
    pub(crate) reward: Option<f64>,
    /// The share of rollouts with it, by column of steps or of recording.
    pub(crate) trend: Vec<Option<f64>>,
    /// Names that fire with it, most frequent first, with the number of common rollouts.
    pub(crate) together: Vec<(String, usize)>,
    /// The newest rollouts with points: key, id and points.
    pub(crate) newest: Vec<(i64, String, f64)>,
}

/// Collects the rows.
#[derive(Debug, Default)]
pub(crate) struct ComponentsBuilder {
    rows: Vec<Row>,
}

impl ComponentsBuilder {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The number of rollouts.
    pub(crate) const fn rollouts(&self) -> usize {
        self.rows.len()
    }

    /// The names, by their part of all points.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 rows are in memory")]
    pub(crate) fn finish(mut self) -> Vec<ComponentSummary> {
        self.rows.sort_unstable_by_key(|row| (row.labels.step, row.key));
        let size = self.rows.len().div_ceil(COLUMNS).max(1);
        let mut sums: BTreeMap<&str, Sums> = BTreeMap::new();
        let mut all = 0.0;
        for (place, row) in self.rows.iter().enumerate() {
            for (name, points) in &row.components {
                if sums.len() == MAX_NAMES && !sums.contains_key(name.as_str()) {
                    continue;
                }
                let own = sums.entry(name).or_default();
                own.rollouts += 1;
                own.points += points;
                all += points.abs();
                own.absolute += points.abs();
                own.by_row.insert(place, *points);
                *own.columns.entry(place / size).or_default() += 1;
            }
        }
        let columns: Vec<usize> = self.rows.chunks(size).map(<[Row]>::len).collect();
        let mut found: Vec<ComponentSummary> = sums
            .iter()
            .map(|(name, own)| {
                let fired = |column: usize| own.columns.get(&column).copied().unwrap_or_default();
                let trend = columns.iter().enumerate();
                let trend = trend.map(|(column, of)| Some(fired(column) as f64 / *of as f64));
                ComponentSummary {
                    name: (*name).to_owned(),
                    rollouts: own.rollouts,
                    counted: own.by_row.values().filter(|points| **points != 0.0).count(),
                    points: own.points,
                    share: if all > 0.0 { own.absolute / all } else { 0.0 },
                    length: own
                        .correlation(&self.rows, |row| row.length.map(|length| length as f64)),
                    reward: own.correlation(&self.rows, |row| row.reward),
                    trend: trend.collect(),
                    together: own.together(name, &self.rows),
                    newest: own.newest(&self.rows),
                }
            })
            .collect();
        found.sort_by(|one, other| other.share.total_cmp(&one.share));
        found
    }
}

#[derive(Debug, Default)]
struct Sums {
    rollouts: usize,
    points: f64,
    absolute: f64,
    /// The points by the place of the row.
    by_row: HashMap<usize, f64>,
    columns: HashMap<usize, usize>,
}

impl Sums {
    /// The correlation of the points, 0 where the name did not fire, with a number of the rows.
    fn correlation(&self, rows: &[Row], of: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
        let mut pearson = Pearson::default();
        for (place, row) in rows.iter().enumerate() {
            if let Some(number) = of(row) {
                pearson.add(self.by_row.get(&place).copied().unwrap_or_default(), number);
            }
        }
        pearson.correlation()
    }

    fn together(&self, name: &str, rows: &[Row]) -> Vec<(String, usize)> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for row in self.by_row.keys().filter_map(|place| rows.get(*place)) {
            for (other, points) in &row.components {
                if other != name && *points != 0.0 {
                    *counts.entry(other).or_default() += 1;
                }
            }
        }
        let mut counts: Vec<(String, usize)> =
            counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        counts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        counts.truncate(5);
        counts
    }

    fn newest(&self, rows: &[Row]) -> Vec<(i64, String, f64)> {
        let with = self.by_row.iter().filter(|(_, points)| **points != 0.0);
        let mut found: Vec<(i64, String, f64)> = with
            .filter_map(|(place, points)| {
                let row = rows.get(*place)?;
                Some((row.key, row.rollout.clone(), *points))
            })
            .collect();
        found.sort_unstable_by_key(|(key, ..)| std::cmp::Reverse(*key));
        found.truncate(NEWEST);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: i64, components: &[(&str, f64)], length: u64) -> Row {
        let components = components.iter().map(|(name, points)| ((*name).to_owned(), *points));
        let components = components.collect();
        let (length, reward) = (Some(length), Some(1.0));
        Row { key, rollout: format!("r{key}"), components, length, reward, ..Row::default() }
    }

    #[test]
    fn names_are_counted_with_what_fires_beside_them() {
        let mut builder = ComponentsBuilder::default();
        builder.add(row(1, &[("rules: a", -10.0), ("rules: b", -30.0)], 10));
        builder.add(row(2, &[("rules: a", -10.0)], 10));
        builder.add(row(3, &[("judge: c", 0.0)], 90));
        builder.add(row(4, &[], 90));
        let found = builder.finish();
        let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["rules: b", "rules: a", "judge: c"]);
        assert_eq!(found[1].together, [("rules: b".to_owned(), 1)]);
        assert_eq!((found[1].rollouts, found[1].counted, found[2].counted), (2, 2, 0));
        let correlation = found[1].length.unwrap();
        assert!((correlation - 1.0).abs() < 1e-9, "short replies lose points: {correlation}");
        assert_eq!(found[1].newest.iter().map(|one| one.0).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(found[1].reward, None, "all rewards are equal");
    }
}
