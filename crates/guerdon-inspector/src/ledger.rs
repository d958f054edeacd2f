//! Rollouts of a ledger.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use guerdon_ledger::{LedgerReader, RolloutFilter, RolloutRow, StoredRollout, TurnSums};
use guerdon_types::{Context, SourceRole, Versions};
use serde_json::Value;

use crate::filter::Filter;
use crate::record::{Labels, Record, Row, RowPart, add_component};
use crate::store::{Overview, RunOverview, Store, StoreError};

/// The most runs of the first page.
const MAX_RUNS: u32 = 500;
/// The most profiles that a filter offers.
const MAX_PROFILES: u32 = 200;
/// The connections that are kept open.
const KEPT: usize = 4;

/// A ledger in SQLite, read beside the server that writes it.
#[derive(Debug)]
pub struct LedgerStore {
    path: PathBuf,
    readers: Mutex<Vec<LedgerReader>>,
}

impl LedgerStore {
    /// The ledger at `path`. It is opened at the first page, so it need not exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), readers: Mutex::default() }
    }

    /// True if the file at `path` begins as a database of SQLite does.
    #[must_use]
    pub fn is_ledger(path: &Path) -> bool {
        use std::io::Read as _;
        let mut start = [0; 16];
        let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
        read.is_ok() && start == *b"SQLite format 3\0"
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&LedgerReader) -> Result<T, guerdon_ledger::Error>,
    ) -> Result<T, StoreError> {
        let failed = |error: guerdon_ledger::Error| StoreError {
            name: self.name(),
            detail: error.to_string(),
        };
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let reader = match kept {
            Some(reader) => reader,
            None => LedgerReader::open(&self.path).map_err(failed)?,
        };
        let found = read(&reader).map_err(failed)?;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < KEPT {
            readers.push(reader);
        }
        Ok(found)
    }

    fn visit(
        &self,
        filter: &Filter,
        after: Option<i64>,
        limit: usize,
        visit: &mut dyn FnMut(Row),
    ) -> Result<bool, StoreError> {
        let Some(filter) = selection(filter, after) else { return Ok(false) };
        self.read(|reader| reader.visit(&filter, limit, &mut |row| visit(short(row))))
    }
}

/// The selection of a page. `None` if nothing can match: a step is not negative.
fn selection(filter: &Filter, after: Option<i64>) -> Option<RolloutFilter> {
    let step = filter.step.map(u64::try_from).transpose().ok()?;
    Some(RolloutFilter {
        run: filter.run.clone(),
        first_step: step,
        last_step: step,
        split: filter.split.clone(),
        group: filter.group.clone(),
        profile: filter.profile.clone(),
        digest: filter.digest.clone(),
        failed: filter.only_null.then_some(true),
        after,
        newest_first: true,
        ..RolloutFilter::default()
    })
}

impl Store for LedgerStore {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    #[expect(clippy::cast_precision_loss, reason = "a ledger has far fewer than 2^52 rollouts")]
    fn overview(&self) -> Result<Overview, StoreError> {
        let (runs, profiles) =
            self.read(|reader| Ok((reader.runs(MAX_RUNS)?, reader.profiles(MAX_PROFILES)?)))?;
        let rollouts = runs.iter().map(|run| run.rollouts).sum();
        let run = |run: guerdon_ledger::RunRow| {
            let rewarded = run.rollouts - run.missing;
            RunOverview {
                run: run.run,
                rollouts: run.rollouts,
                without_reward: run.missing,
                steps: run.steps,
                mean: (rewarded > 0).then(|| run.total / rewarded as f64),
                digests: run.digests,
                newest_ms: Some(run.newest_ms),
            }
        };
        Ok(Overview { rollouts, runs: runs.into_iter().map(run).collect(), profiles })
    }

    fn rollouts(
        &self,
        filter: &Filter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        self.visit(filter, after, limit, &mut |row| rows.push(row))?;
        Ok(rows)
    }

    fn record(&self, key: i64) -> Result<Option<Record>, StoreError> {
        Ok(self.read(|reader| reader.rollout(key))?.map(whole))
    }

    fn records(&self, filter: &Filter, limit: usize) -> Result<Vec<Record>, StoreError> {
        let Some(filter) = selection(filter, None) else { return Ok(Vec::new()) };
        let found = self.read(|reader| reader.rollouts(&filter, limit))?;
        Ok(found.into_iter().map(whole).collect())
    }

    fn scan(
        &self,
        filter: &Filter,
        limit: usize,
        visit: &mut dyn FnMut(Row),
    ) -> Result<bool, StoreError> {
        self.visit(filter, None, limit, visit)
    }
}

fn whole(stored: StoredRollout) -> Record {
    let versions = stored.versions;
    let (messages, context, tools) = match stored.rollout {
        Some(rollout) => (Some(rollout.messages), rollout.context, rollout.tools),
        None => (None, Context::default(), Vec::new()),
    };
    Record {
        key: stored.id,
        labels: labels(
            &versions,
            stored.labels,
            stored.group,
            (stored.request_id, stored.recorded_ms),
        ),
        messages,
        context,
        tools,
        result: stored.result,
        versions: Some(versions),
        cost: Some(stored.cost),
        judge_calls: Some(stored.judge_calls),
    }
}

fn labels(
    versions: &Versions,
    labels: guerdon_ledger::Labels,
    group: Option<String>,
    (request_id, recorded_ms): (String, i64),
) -> Labels {
    Labels {
        group,
        run: labels.run,
        step: labels.step.and_then(|step| i64::try_from(step).ok()),
        split: labels.split,
        profile: Some(versions.profile.to_string()),
        digest: versions.digest.clone(),
        generation: Some(versions.generation),
        request_id: Some(request_id),
        recorded_ms: Some(recorded_ms),
    }
}

fn short(row: RolloutRow) -> Row {
    let mut own = Row {
        key: row.id,
        rollout: row.rollout,
        reward: row.reward,
        advantage: row.advantage,
        error: row.error.map(|error| error.as_ref().to_owned()),
        turns: row.turns.len(),
        ..Row::default()
    };
    for turn in &row.turns {
        add(&mut own, turn, &row.versions);
    }
    own.labels = labels(&row.versions, row.labels, row.group, (row.request_id, row.recorded_ms));
    own
}

/// Adds the numbers of a turn.
fn add(row: &mut Row, turn: &TurnSums, versions: &Versions) {
    let (mut base, mut points) = (None, 0.0);
    row.length = turn.length.map(|length| row.length.unwrap_or(0) + length).or(row.length);
    for part in &turn.sources {
        for (name, value) in &part.components {
            add_component(&mut row.components, format!("{}: {name}", part.source), *value);
        }
        row.vetoed |= part.veto;
        if let Some(value) = part.value {
            let term = part.term.unwrap_or(value);
            match role(versions, &part.source, part.kind.as_deref()) {
                Some(SourceRole::Base) => base = Some(base.unwrap_or(0.0) + term),
                Some(SourceRole::Points) => points += term,
                Some(SourceRole::Audit)
                    if !row.audits.iter().any(|name| **name == *part.source) =>
                {
                    row.audits.push(part.source.as_ref().to_owned());
                }
                _ => {}
            }
            let same = |one: &&mut RowPart| *one.source == *part.source && one.value.is_some();
            match row.parts.iter_mut().find(same) {
                Some(known) => known.value = known.value.map(|sum| sum + value),
                None => row.parts.push(RowPart {
                    source: part.source.as_ref().to_owned(),
                    value: Some(value),
                    reason: None,
                }),
            }
        }
        if let Some(why) = &part.why {
            row.parts.push(RowPart {
                source: part.source.as_ref().to_owned(),
                value: None,
                reason: Some(why.as_ref().to_owned()),
            });
        }
    }
    row.clipped |= turn.enhancement.is_some_and(|own| (points - own).abs() > 1e-9);
    if let (Some(base), Some(reward)) = (base, turn.reward) {
        row.dead |= points.abs() > 1e-12 && (reward - base).abs() <= 1e-12;
    }
}

/// The role of a source: that of the configuration, or the one of its kind.
fn role(versions: &Versions, source: &str, kind: Option<&str>) -> Option<SourceRole> {
    let settings = versions.settings.get("sources").and_then(|sources| sources.get(source));
    if let Some(role) = settings.and_then(|own| own.get("role")) {
        return serde_json::from_value(role.clone()).ok();
    }
    let kind = Value::String(kind?.to_owned());
    serde_json::from_value::<guerdon_types::SourceKind>(kind).ok().map(|kind| kind.default_role())
}
