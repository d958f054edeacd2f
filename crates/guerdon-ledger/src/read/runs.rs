//! Runs and profiles, from the sums by step: their cost does not grow with the rollouts.

use crate::{Error, LedgerReader};

const RUNS: &str = "SELECT s.text, sum(t.rollouts), sum(t.missing), sum(t.total), \
    min(CASE WHEN t.step >= 0 THEN t.step END), max(CASE WHEN t.step >= 0 THEN t.step END), \
    count(DISTINCT nullif(t.digest, 0)), max(t.last_ms) \
    FROM step_rewards t LEFT JOIN strings s ON s.id = t.run \
    GROUP BY t.run ORDER BY max(t.last_ms) DESC LIMIT ?1";

const PROFILES: &str = "SELECT DISTINCT s.text FROM step_rewards t JOIN strings s ON s.id = t.profile \
    ORDER BY s.text LIMIT ?1";

/// A run in short.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// The run; `None` for the rollouts without one.
    pub run: Option<String>,
    /// The number of rollouts.
    pub rollouts: u64,
    /// Those without a reward.
    pub missing: u64,
    /// The sum of the rewards.
    pub total: f64,
    /// The first and the last step, if rollouts have steps.
    pub steps: Option<(i64, i64)>,
    /// The number of different digests.
    pub digests: u64,
    /// The time of the newest rollout, in milliseconds since 1970.
    pub newest_ms: i64,
}

impl LedgerReader {
    /// The runs, newest first, at most `limit`.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn runs(&self, limit: u32) -> Result<Vec<RunRow>, Error> {
        let mut query = self.connection().prepare_cached(RUNS)?;
        let runs = query.query_map([limit], |row| {
            let (first, last): (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
            Ok(RunRow {
                run: row.get(0)?,
                rollouts: row.get(1)?,
                missing: row.get(2)?,
                total: row.get(3)?,
                steps: first.zip(last),
                digests: row.get(6)?,
                newest_ms: row.get(7)?,
            })
        })?;
        Ok(runs.collect::<Result<_, _>>()?)
    }

    /// The names of the profiles, at most `limit`.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn profiles(&self, limit: u32) -> Result<Vec<String>, Error> {
        let mut query = self.connection().prepare_cached(PROFILES)?;
        let names = query.query_map([limit], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }
}
