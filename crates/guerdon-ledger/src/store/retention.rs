//! Removes rollouts, in small steps, so that a writer waits for none of them for long.

use rusqlite::{Transaction, TransactionBehavior, params_from_iter};

use super::sqlite::SqliteStore;
use crate::{Error, RolloutFilter};

/// Rollouts that one step removes.
pub(super) const STEP: usize = 1_000;

/// Free pages that one step gives back to the file system.
const PAGES: i64 = 10_000;

/// Statements that take the rollouts of `doomed` out of the sums, and remove their rows.
const REMOVE: &str = "
UPDATE step_rewards AS s SET
    rollouts = s.rollouts - d.rollouts, missing = s.missing - d.missing,
    total = s.total - d.total, squares = s.squares - d.squares, cost = s.cost - d.cost
FROM (SELECT coalesce(run, 0) AS run, coalesce(step, -1) AS step, coalesce(split, 0) AS split,
             profile, coalesce(digest, 0) AS digest, count(*) AS rollouts,
             sum({missing}) AS missing, coalesce(sum(reward), 0.0) AS total,
             coalesce(sum(reward * reward), 0.0) AS squares, sum(cost) AS cost
      FROM rollouts WHERE id IN (SELECT id FROM doomed) GROUP BY 1, 2, 3, 4, 5) AS d
WHERE s.run = d.run AND s.step = d.step AND s.split = d.split AND s.profile = d.profile
      AND s.digest = d.digest;
UPDATE step_sources AS s SET
    turns = s.turns - d.turns, valued = s.valued - d.valued,
    abstained = s.abstained - d.abstained, vetoed = s.vetoed - d.vetoed,
    total = s.total - d.total, squares = s.squares - d.squares
FROM (SELECT coalesce(r.run, 0) AS run, coalesce(r.step, -1) AS step,
             coalesce(r.split, 0) AS split, r.profile AS profile, coalesce(r.digest, 0) AS digest,
             p.source AS source, count(*) AS turns, count(p.value) AS valued,
             count(p.why) AS abstained, sum(p.veto) AS vetoed, coalesce(sum(p.value), 0.0) AS total,
             coalesce(sum(p.value * p.value), 0.0) AS squares
      FROM rollouts AS r JOIN parts AS p ON p.rollout = r.id
      WHERE r.id IN (SELECT id FROM doomed) GROUP BY 1, 2, 3, 4, 5, 6) AS d
WHERE s.run = d.run AND s.step = d.step AND s.split = d.split AND s.profile = d.profile
      AND s.digest = d.digest AND s.source = d.source;
DELETE FROM step_rewards WHERE rollouts <= 0;
DELETE FROM step_sources WHERE turns <= 0;
DELETE FROM components WHERE rollout IN (SELECT id FROM doomed);
DELETE FROM parts WHERE rollout IN (SELECT id FROM doomed);
DELETE FROM turns WHERE rollout IN (SELECT id FROM doomed);
DELETE FROM rollouts WHERE id IN (SELECT id FROM doomed);
DELETE FROM doomed;
";

/// The statements that remove the rollouts of `doomed`. `missing` is 1 for one without a reward.
pub(super) fn remove(missing: &str) -> String {
    REMOVE.replace("{missing}", missing)
}

/// The limits of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// The time before which rollouts are removed, in milliseconds since 1970.
    pub before_ms: Option<i64>,
    /// The size in bytes beyond which the oldest rollouts are removed.
    pub max_bytes: Option<u64>,
}

impl Retention {
    /// One step of the removal of what is beyond the limits: by age first, then by size. Returns the
    /// number of rollouts.
    pub(super) fn step<S>(
        self,
        store: &mut S,
        remove: impl Fn(&mut S, &RolloutFilter) -> Result<usize, Error>,
        bytes: impl Fn(&mut S) -> Result<u64, Error>,
    ) -> Result<usize, Error> {
        if let Some(before) = self.before_ms {
            let filter = RolloutFilter { until_ms: Some(before), ..RolloutFilter::default() };
            let removed = remove(store, &filter)?;
            if removed > 0 {
                return Ok(removed);
            }
        }
        match self.max_bytes {
            Some(most) if bytes(store)? > most => remove(store, &RolloutFilter::default()),
            _ => Ok(0),
        }
    }
}

impl SqliteStore {
    /// Removes at most 1,000 of the rollouts beyond `limits`. Returns their number; 0 if the ledger
    /// is within the limits.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn prune_step(&mut self, limits: Retention) -> Result<usize, Error> {
        limits.step(self, Self::remove_step, |store| store.bytes())
    }

    /// Removes at most 1,000 rollouts of a selection, the oldest first. Returns their number.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn remove_step(&mut self, filter: &RolloutFilter) -> Result<usize, Error> {
        let (condition, values) = filter.condition();
        let (removed, all) = {
            let transaction =
                self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction
                .execute_batch("CREATE TEMP TABLE IF NOT EXISTS doomed (id INTEGER PRIMARY KEY)")?;
            let select = format!(
                "INSERT INTO doomed SELECT r.id FROM rollouts r WHERE {condition} ORDER BY r.id \
                 LIMIT {STEP}"
            );
            let removed = transaction.execute(&select, params_from_iter(&values))?;
            if removed > 0 {
                transaction.execute_batch(&remove("reward IS NULL"))?;
            }
            let all = removed > 0 && is_empty(&transaction)?;
            if all {
                // Names and versions may be texts of clients.
                transaction.execute_batch("DELETE FROM versions; DELETE FROM strings;")?;
            }
            transaction.commit()?;
            (removed, all)
        };
        if all {
            self.forget_ids();
        }
        if removed > 0 {
            // Each row that is read gives back a page.
            let sql = format!("PRAGMA incremental_vacuum({PAGES})");
            let mut vacuum = self.connection.prepare_cached(&sql)?;
            let mut pages = vacuum.query([])?;
            while pages.next()?.is_some() {}
        }
        Ok(removed)
    }

    /// The size of the pages in use, in bytes.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn bytes(&self) -> Result<u64, Error> {
        let number = |name| self.connection.pragma_query_value(None, name, |row| row.get(0));
        let (pages, free, size): (u64, u64, u64) =
            (number("page_count")?, number("freelist_count")?, number("page_size")?);
        Ok(pages.saturating_sub(free).saturating_mul(size))
    }
}

fn is_empty(transaction: &Transaction<'_>) -> Result<bool, Error> {
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM rollouts)";
    Ok(transaction.query_row(sql, [], |row| row.get(0))?)
}
