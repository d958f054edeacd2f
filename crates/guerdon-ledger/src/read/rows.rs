//! Rollouts in short: their labels, and the numbers of their sources by turn.

use std::collections::HashMap;
use std::sync::Arc;

use guerdon_types::Versions;
use rusqlite::{Connection, Row};

use super::order::selected;
use crate::{Error, Labels, LedgerReader, RolloutFilter};

const COLUMNS: &str = "r.id, r.recorded_ms, r.request_id, r.rollout, r.group_name, r.run, r.step, \
    r.split, r.versions, r.reward, r.advantage, r.error";

const TURNS: &str =
    "SELECT turn, reward, enhancement, length FROM turns WHERE rollout = ?1 ORDER BY turn";

const PARTS: &str =
    "SELECT turn, source, kind, value, term, veto, why FROM parts WHERE rollout = ?1 ORDER BY turn";

const COMPONENTS: &str = "SELECT turn, source, name, value FROM components \
    WHERE rollout = ?1 AND shadow = 0 ORDER BY turn, source";

/// A rollout in short.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutRow {
    /// The id in the ledger.
    pub id: i64,
    /// The time of the reply, in milliseconds since 1970.
    pub recorded_ms: i64,
    /// The id of the request.
    pub request_id: String,
    /// The caller's id.
    pub rollout: String,
    /// The group.
    pub group: Option<String>,
    /// The labels of the request.
    pub labels: Labels,
    /// The versions of the rollout's profile.
    pub versions: Arc<Versions>,
    /// The reward; `None` if it could not be made.
    pub reward: Option<f64>,
    /// The advantage.
    pub advantage: Option<f64>,
    /// The code of the problem of a rollout without a reward.
    pub error: Option<Arc<str>>,
    /// The scored turns, in dialogue order.
    pub turns: Vec<TurnSums>,
}

/// The numbers of a turn.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TurnSums {
    /// The turn's index in the messages.
    pub turn: i64,
    /// The reward.
    pub reward: Option<f64>,
    /// The points after the bound.
    pub enhancement: Option<f64>,
    /// The length of the reply, in Unicode scalar values.
    pub length: Option<u64>,
    /// The sources, by name.
    pub sources: Vec<SourceRow>,
}

/// A source's answer on a turn, or its abstention, or both.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceRow {
    /// The name.
    pub source: Arc<str>,
    /// The kind, if it is known.
    pub kind: Option<Arc<str>>,
    /// The number; `None` if the source abstained.
    pub value: Option<f64>,
    /// The number as it enters the fusion, where it differs from `value`.
    pub term: Option<f64>,
    /// True if the source forbids the reward.
    pub veto: bool,
    /// The reason of an abstention.
    pub why: Option<Arc<str>>,
    /// The numbers that `value` is made of, without those that are not counted.
    pub components: Vec<(Arc<str>, f64)>,
}

impl LedgerReader {
    /// Visits at most `limit` rollouts of a selection, newest first: by id, those of a run by step
    /// and id, those of a profile by time and id. [`RolloutFilter::after`] continues behind a
    /// rollout in this order. Returns true if there are more.
    ///
    /// # Errors
    /// The ledger cannot be read, or a row is damaged.
    pub fn visit(
        &self,
        filter: &RolloutFilter,
        limit: usize,
        visit: &mut dyn FnMut(RolloutRow),
    ) -> Result<bool, Error> {
        let connection = self.connection();
        let selected = selected(connection, filter, limit.saturating_add(1).min(1 << 40))?;
        let sql = format!("SELECT {COLUMNS} FROM rollouts r {}", selected.sql);
        let mut query = connection.prepare_cached(&sql)?;
        let mut rows = query.query(rusqlite::params_from_iter(&selected.values))?;
        let mut names = Names::new(connection);
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            if seen == limit {
                return Ok(true);
            }
            seen += 1;
            visit(names.rollout(row)?);
        }
        Ok(false)
    }

    /// The plan of [`visit`](Self::visit)'s query, as `EXPLAIN QUERY PLAN` words it.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn plan(&self, filter: &RolloutFilter, limit: usize) -> Result<String, Error> {
        let connection = self.connection();
        let selected = selected(connection, filter, limit)?;
        let sql = format!("EXPLAIN QUERY PLAN SELECT {COLUMNS} FROM rollouts r {}", selected.sql);
        let mut query = connection.prepare(&sql)?;
        let details = query.query_map(rusqlite::params_from_iter(&selected.values), |row| {
            row.get::<_, String>(3)
        })?;
        Ok(details.collect::<Result<Vec<_>, _>>()?.join("; "))
    }
}

/// Names and versions by their ids, each read once.
struct Names<'c> {
    connection: &'c Connection,
    texts: HashMap<i64, Arc<str>>,
    versions: HashMap<i64, Arc<Versions>>,
}

impl<'c> Names<'c> {
    fn new(connection: &'c Connection) -> Self {
        Self { connection, texts: HashMap::new(), versions: HashMap::new() }
    }

    fn text(&mut self, id: i64) -> Result<Arc<str>, Error> {
        if let Some(text) = self.texts.get(&id) {
            return Ok(Arc::clone(text));
        }
        let sql = "SELECT text FROM strings WHERE id = ?1";
        let text: String =
            self.connection.prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
        let text: Arc<str> = text.into();
        self.texts.insert(id, Arc::clone(&text));
        Ok(text)
    }

    fn optional(&mut self, id: Option<i64>) -> Result<Option<Arc<str>>, Error> {
        id.map(|id| self.text(id)).transpose()
    }

    fn version(&mut self, rollout: i64, id: i64) -> Result<Arc<Versions>, Error> {
        if let Some(versions) = self.versions.get(&id) {
            return Ok(Arc::clone(versions));
        }
        let sql = "SELECT json FROM versions WHERE id = ?1";
        let json: String =
            self.connection.prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
        let versions = serde_json::from_str(&json).map_err(|error| Error::Damaged {
            id: rollout,
            column: "versions",
            detail: error.to_string(),
        })?;
        let versions = Arc::new(versions);
        self.versions.insert(id, Arc::clone(&versions));
        Ok(versions)
    }

    fn rollout(&mut self, row: &Row<'_>) -> Result<RolloutRow, Error> {
        let id = row.get(0)?;
        let owned = |text: Option<Arc<str>>| text.map(|text| text.as_ref().to_owned());
        Ok(RolloutRow {
            id,
            recorded_ms: row.get(1)?,
            request_id: row.get(2)?,
            rollout: row.get(3)?,
            group: row.get(4)?,
            labels: Labels {
                run: owned(self.optional(row.get(5)?)?),
                step: row.get(6)?,
                split: owned(self.optional(row.get(7)?)?),
            },
            versions: self.version(id, row.get(8)?)?,
            reward: row.get(9)?,
            advantage: row.get(10)?,
            error: self.optional(row.get(11)?)?,
            turns: self.turns(id)?,
        })
    }

    fn turns(&mut self, rollout: i64) -> Result<Vec<TurnSums>, Error> {
        let connection = self.connection;
        let mut query = connection.prepare_cached(TURNS)?;
        let turns = query.query_map([rollout], |row| {
            let (turn, reward, enhancement) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(TurnSums { turn, reward, enhancement, length: row.get(3)?, sources: Vec::new() })
        })?;
        let mut turns = turns.collect::<Result<Vec<_>, _>>()?;
        let mut query = connection.prepare_cached(PARTS)?;
        let mut rows = query.query([rollout])?;
        while let Some(row) = rows.next()? {
            let turn: i64 = row.get(0)?;
            let source = SourceRow {
                source: self.text(row.get(1)?)?,
                kind: self.optional(row.get(2)?)?,
                value: row.get(3)?,
                term: row.get(4)?,
                veto: row.get(5)?,
                why: self.optional(row.get(6)?)?,
                components: Vec::new(),
            };
            if let Some(turn) = turns.iter_mut().find(|own| own.turn == turn) {
                turn.sources.push(source);
            }
        }
        drop(rows);
        let mut query = connection.prepare_cached(COMPONENTS)?;
        let mut rows = query.query([rollout])?;
        while let Some(row) = rows.next()? {
            let (turn, source): (i64, Arc<str>) = (row.get(0)?, self.text(row.get(1)?)?);
            let component = (self.text(row.get(2)?)?, row.get(3)?);
            let own = turns.iter_mut().find(|own| own.turn == turn);
            let part = own.and_then(|own| own.sources.iter_mut().find(|own| own.source == source));
            if let Some(part) = part {
                part.components.push(component);
            }
        }
        Ok(turns)
    }
}
