//! A run by step: rewards, sources, abstentions, groups and digests.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Quantiles, quantiles};
use crate::record::Row;

/// The most columns of a chart. Further steps share columns.
const MAX_COLUMNS: usize = 120;
/// The columns of rollouts without steps.
const BLOCKS: usize = 40;
/// The most sources that are told apart; the pages show as many lines.
const MAX_SOURCES: usize = 12;

/// A run in numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RunSummary {
    /// The number of rollouts.
    pub(crate) rollouts: usize,
    /// Those without a reward.
    pub(crate) without_reward: usize,
    /// Those whose points exceeded the bound.
    pub(crate) clipped: usize,
    /// Those whose points changed nothing.
    pub(crate) dead: usize,
    /// Those with a veto.
    pub(crate) vetoed: usize,
    /// The groups with at least two rewards.
    pub(crate) groups: usize,
    /// Those whose rewards are all equal: they teach nothing.
    pub(crate) zero_spread: usize,
    /// All rewards.
    pub(crate) rewards: Option<Quantiles>,
    /// The abstentions, by source and reason, most frequent first.
    pub(crate) abstained: Vec<(String, String, usize)>,
    /// The names of the sources.
    pub(crate) sources: Vec<String>,
    /// True if the columns are steps; without steps, blocks of rollouts in order.
    pub(crate) has_steps: bool,
    /// The columns, ascending.
    pub(crate) steps: Vec<StepSummary>,
    /// The columns where the digest changed.
    pub(crate) changes: Vec<DigestChange>,
    /// The digests, in order of their first rollout.
    pub(crate) digests: Vec<String>,
}

/// One column: a step, or several.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct StepSummary {
    /// The first step.
    pub(crate) step: i64,
    /// The number of rollouts.
    pub(crate) rollouts: usize,
    /// Those without a reward.
    pub(crate) without_reward: usize,
    /// The rewards.
    pub(crate) rewards: Option<Quantiles>,
    /// The mean of each source, in the order of [`RunSummary::sources`].
    pub(crate) means: Vec<Option<f64>>,
    /// Rollouts on which a source abstained.
    pub(crate) abstained: usize,
    /// See [`RunSummary::clipped`].
    pub(crate) clipped: usize,
    /// See [`RunSummary::dead`].
    pub(crate) dead: usize,
    /// See [`RunSummary::groups`].
    pub(crate) groups: usize,
    /// See [`RunSummary::zero_spread`].
    pub(crate) zero_spread: usize,
}

/// A change of what shaped the rewards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DigestChange {
    /// The column's step.
    pub(crate) step: i64,
    /// The digest before.
    pub(crate) before: String,
    /// The digest from here on.
    pub(crate) after: String,
}

/// Collects the rows of a run.
#[derive(Debug, Default)]
pub(crate) struct RunBuilder {
    rows: Vec<Row>,
}

impl RunBuilder {
    /// Adds a rollout.
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The summary of the added rollouts.
    #[must_use]
    pub(crate) fn finish(mut self) -> RunSummary {
        self.rows.sort_unstable_by_key(|row| row.key);
        let has_steps = self.rows.iter().any(|row| row.labels.step.is_some());
        let columns = columns(&self.rows, has_steps);
        let mut sums: BTreeMap<i64, ColumnSums<'_>> = BTreeMap::new();
        for (row, column) in self.rows.iter().zip(columns) {
            sums.entry(column).or_default().add(row);
        }
        let sources = source_names(&self.rows);
        let mut summary = RunSummary { has_steps, ..RunSummary::default() };
        let mut all = Vec::with_capacity(self.rows.len());
        let mut before: Option<&str> = None;
        let last = sums.keys().next_back().copied();
        for (step, column) in sums {
            all.extend_from_slice(&column.rewards);
            // The first digest of a column counts: later ones may be of rollouts that were scored
            // again. In the last column all count.
            let counted = if Some(step) == last { column.digests.len() } else { 1 };
            for digest in column.digests.iter().copied().take(counted) {
                if let Some(before) = before.filter(|before| *before != digest) {
                    let (before, after) = (before.to_owned(), digest.to_owned());
                    summary.changes.push(DigestChange { step, before, after });
                }
                before = Some(digest);
            }
            for digest in &column.digests {
                if !summary.digests.iter().any(|known| known == digest) {
                    summary.digests.push((*digest).to_owned());
                }
            }
            let step = column.summary(step, &sources);
            summary.rollouts += step.rollouts;
            summary.without_reward += step.without_reward;
            summary.clipped += step.clipped;
            summary.dead += step.dead;
            summary.groups += step.groups;
            summary.zero_spread += step.zero_spread;
            summary.steps.push(step);
        }
        summary.vetoed = self.rows.iter().filter(|row| row.vetoed).count();
        summary.rewards = quantiles(&mut all);
        summary.abstained = abstentions(&self.rows);
        summary.sources = sources;
        summary
    }
}

/// The column of each row: its step, or a block of rows. Neighbouring steps share a column if there
/// are too many.
fn columns(rows: &[Row], has_steps: bool) -> Vec<i64> {
    if !has_steps {
        let size = rows.len().div_ceil(BLOCKS).max(1);
        let block = |place: usize| i64::try_from(place / size * size).unwrap_or(i64::MAX);
        return (0..rows.len()).map(block).collect();
    }
    let steps: BTreeSet<i64> = rows.iter().filter_map(|row| row.labels.step).collect();
    let share = steps.len().div_ceil(MAX_COLUMNS).max(1);
    let mut first = 0;
    let column_of: HashMap<i64, i64> = steps
        .iter()
        .enumerate()
        .map(|(place, step)| {
            if place % share == 0 {
                first = *step;
            }
            (*step, first)
        })
        .collect();
    let mut last = steps.first().copied().unwrap_or_default();
    rows.iter()
        .map(|row| {
            last = row.labels.step.and_then(|step| column_of.get(&step).copied()).unwrap_or(last);
            last
        })
        .collect()
}

fn source_names(rows: &[Row]) -> Vec<String> {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for part in rows.iter().flat_map(|row| &row.parts) {
        *names.entry(&part.source).or_default() += 1;
    }
    let mut names: Vec<(&str, usize)> = names.into_iter().collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    names.truncate(MAX_SOURCES);
    let mut names: Vec<String> = names.into_iter().map(|(name, _)| name.to_owned()).collect();
    names.sort();
    names
}

fn abstentions(rows: &[Row]) -> Vec<(String, String, usize)> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for part in rows.iter().flat_map(|row| &row.parts) {
        if let Some(reason) = &part.reason {
            *counts.entry((&part.source, reason)).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts
        .into_iter()
        .map(|((source, reason), count)| (source.to_owned(), reason.to_owned(), count))
        .collect();
    counts.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
    counts
}

#[derive(Debug, Default)]
struct ColumnSums<'r> {
    rollouts: usize,
    rewards: Vec<f64>,
    abstained: usize,
    clipped: usize,
    dead: usize,
    sources: HashMap<&'r str, (f64, usize)>,
    /// The lowest and the highest reward of each group with the number of its rewards.
    groups: HashMap<(Option<i64>, &'r str), (f64, f64, usize)>,
    digests: Vec<&'r str>,
}

impl<'r> ColumnSums<'r> {
    fn add(&mut self, row: &'r Row) {
        self.rollouts += 1;
        self.rewards.extend(row.reward);
        self.abstained += usize::from(row.parts.iter().any(|part| part.reason.is_some()));
        self.clipped += usize::from(row.clipped);
        self.dead += usize::from(row.dead);
        for part in &row.parts {
            if let Some(value) = part.value {
                let (sum, count) = self.sources.entry(&part.source).or_default();
                *sum += value;
                *count += 1;
            }
        }
        if let (Some(group), Some(reward)) = (&row.labels.group, row.reward) {
            let sums = self.groups.entry((row.labels.step, group)).or_insert((reward, reward, 0));
            *sums = (sums.0.min(reward), sums.1.max(reward), sums.2 + 1);
        }
        if let Some(digest) = &row.labels.digest
            && !self.digests.contains(&digest.as_str())
        {
            self.digests.push(digest);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 rows are in memory")]
    fn summary(mut self, step: i64, sources: &[String]) -> StepSummary {
        let mean =
            |name: &String| self.sources.get(name.as_str()).map(|(sum, count)| sum / *count as f64);
        let several = self.groups.values().filter(|(_, _, count)| *count > 1);
        let zero = several.clone().filter(|(low, high, _)| (high - low).abs() <= 1e-12).count();
        StepSummary {
            step,
            rollouts: self.rollouts,
            without_reward: self.rollouts - self.rewards.len(),
            means: sources.iter().map(mean).collect(),
            abstained: self.abstained,
            clipped: self.clipped,
            dead: self.dead,
            groups: several.count(),
            zero_spread: zero,
            rewards: quantiles(&mut self.rewards),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Labels, RowPart};

    fn row(key: i64, step: Option<i64>, group: &str, reward: Option<f64>) -> Row {
        let digest = Some(if key > 4 { "b" } else { "a" }.to_owned());
        let labels = Labels { step, group: Some(group.to_owned()), digest, ..Labels::default() };
        let parts = vec![
            RowPart { source: "rm".to_owned(), value: reward, reason: None },
            RowPart {
                source: "judge".to_owned(),
                value: None,
                reason: Some("deadline".to_owned()),
            },
        ];
        let parts = parts.into_iter().filter(|part| part.value.is_some() || reward.is_none());
        Row { key, labels, reward, parts: parts.collect(), ..Row::default() }
    }

    fn summary(rows: impl IntoIterator<Item = Row>) -> RunSummary {
        let mut builder = RunBuilder::default();
        rows.into_iter().for_each(|row| builder.add(row));
        builder.finish()
    }

    #[test]
    fn steps_groups_and_changes_are_counted() {
        let found = summary([
            row(6, Some(2), "h", Some(5.0)),
            row(1, Some(1), "g", Some(1.0)),
            row(2, Some(1), "g", Some(1.0)),
            row(3, Some(1), "h", Some(2.0)),
            row(4, Some(1), "h", None),
            row(5, Some(2), "h", Some(3.0)),
        ]);
        assert_eq!((found.rollouts, found.without_reward), (6, 1));
        assert_eq!((found.groups, found.zero_spread), (2, 1));
        assert_eq!(found.steps.iter().map(|step| step.step).collect::<Vec<_>>(), [1, 2]);
        let change = DigestChange { step: 2, before: "a".to_owned(), after: "b".to_owned() };
        assert_eq!(found.changes, [change]);
        assert_eq!(found.abstained, [("judge".to_owned(), "deadline".to_owned(), 1)]);
        assert_eq!(found.steps[1].means, [None, Some(4.0)]);
    }

    proptest! {
        /// Every rollout is in one column, and there are never more columns than a chart shows.
        #[test]
        fn every_rollout_is_counted_once(steps in prop::collection::vec(prop::option::of(0i64..2_000), 0..300)) {
            let rows = (0..).zip(&steps).map(|(key, step)| row(key, *step, "g", Some(0.0)));
            let found = summary(rows);
            prop_assert_eq!(found.rollouts, steps.len());
            prop_assert!(found.steps.len() <= MAX_COLUMNS);
            prop_assert!(found.steps.is_sorted_by(|one, other| one.step < other.step));
        }
    }
}
