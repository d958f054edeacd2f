//! Rollouts in memory, as read from a file.

use std::collections::{BTreeMap, BTreeSet};

use crate::filter::Filter;
use crate::record::{Record, Row};
use crate::store::{Overview, RunOverview, Store, StoreError};

/// Rollouts of a file.
#[derive(Debug)]
pub struct MemoryStore {
    name: String,
    /// Ascending keys.
    records: Vec<(Row, Record)>,
}

impl MemoryStore {
    /// A store of these records, under the name of their file. Keys are their places, from 1.
    #[must_use]
    pub fn new(name: impl Into<String>, records: Vec<Record>) -> Self {
        let numbered = (1_i64..).zip(records).map(|(key, record)| {
            let record = Record { key, ..record };
            (record.row(), record)
        });
        Self { name: name.into(), records: numbered.collect() }
    }

    fn of<'s>(&'s self, filter: &'s Filter) -> impl DoubleEndedIterator<Item = &'s (Row, Record)> {
        self.records.iter().filter(|(row, _)| filter.has(row))
    }
}

impl Store for MemoryStore {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn overview(&self) -> Result<Overview, StoreError> {
        let mut runs: BTreeMap<Option<&str>, RunSums<'_>> = BTreeMap::new();
        let mut profiles = BTreeSet::new();
        for (row, _) in &self.records {
            runs.entry(row.labels.run.as_deref()).or_default().add(row);
            profiles.extend(row.labels.profile.clone());
        }
        let mut runs: Vec<(i64, RunOverview)> =
            runs.into_iter().map(|(run, sums)| (sums.newest, sums.overview(run))).collect();
        runs.sort_by_key(|(newest, _)| std::cmp::Reverse(*newest));
        Ok(Overview {
            rollouts: self.records.len() as u64,
            runs: runs.into_iter().map(|(_, run)| run).collect(),
            profiles: profiles.into_iter().collect(),
        })
    }

    fn rollouts(
        &self,
        filter: &Filter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = self.of(filter).rev().map(|(row, _)| row);
        let rows = rows.filter(|row| after.is_none_or(|after| row.key < after));
        Ok(rows.take(limit).cloned().collect())
    }

    fn record(&self, key: i64) -> Result<Option<Record>, StoreError> {
        let found = self.records.binary_search_by_key(&key, |(row, _)| row.key).ok();
        Ok(found.and_then(|place| self.records.get(place)).map(|(_, record)| record.clone()))
    }

    fn records(&self, filter: &Filter, limit: usize) -> Result<Vec<Record>, StoreError> {
        Ok(self.of(filter).rev().take(limit).map(|(_, record)| record.clone()).collect())
    }

    fn scan(
        &self,
        filter: &Filter,
        limit: usize,
        visit: &mut dyn FnMut(Row),
    ) -> Result<bool, StoreError> {
        let mut rows = self.of(filter).rev().map(|(row, _)| row.clone());
        rows.by_ref().take(limit).for_each(visit);
        Ok(rows.next().is_some())
    }
}

#[derive(Default)]
struct RunSums<'r> {
    rollouts: u64,
    sum: f64,
    rewarded: u64,
    steps: Option<(i64, i64)>,
    digests: BTreeSet<&'r str>,
    newest: i64,
    newest_ms: Option<i64>,
}

impl<'r> RunSums<'r> {
    fn add(&mut self, row: &'r Row) {
        self.rollouts += 1;
        if let Some(reward) = row.reward {
            self.sum += reward;
            self.rewarded += 1;
        }
        if let Some(step) = row.labels.step {
            let (first, last) = self.steps.unwrap_or((step, step));
            self.steps = Some((first.min(step), last.max(step)));
        }
        self.digests.extend(row.labels.digest.as_deref());
        self.newest = row.key;
        self.newest_ms = self.newest_ms.max(row.labels.recorded_ms);
    }

    #[expect(clippy::cast_precision_loss, reason = "a file has far fewer than 2^52 results")]
    fn overview(&self, run: Option<&str>) -> RunOverview {
        RunOverview {
            run: run.map(str::to_owned),
            rollouts: self.rollouts,
            without_reward: self.rollouts - self.rewarded,
            steps: self.steps,
            mean: (self.rewarded > 0).then(|| self.sum / self.rewarded as f64),
            digests: self.digests.len() as u64,
            newest_ms: self.newest_ms,
        }
    }
}
