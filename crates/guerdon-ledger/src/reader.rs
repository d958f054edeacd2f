//! Reads rollouts back.

use std::path::Path;
use std::sync::Arc;

use guerdon_types::{Rollout, RolloutResult, Versions};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql};

use crate::filter::Value;
use crate::store::open_read;
use crate::{Error, Labels, RolloutFilter};

/// The largest stored text of one rollout, decompressed, in bytes.
const MAX_TEXT: u64 = 1 << 30;

pub(crate) const COLUMNS: &str = "r.id, r.recorded_ms, r.request_id, r.group_name, r.attempt, r.sample, \
    run.text, r.step, split.text, v.json, r.cost, r.judge_calls, r.scoring_ms, r.dialogue, r.result";

pub(crate) const TABLES: &str = "rollouts r JOIN versions v ON v.id = r.versions \
    LEFT JOIN strings run ON run.id = r.run LEFT JOIN strings split ON split.id = r.split";

/// A recorded rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRollout {
    /// The id in the ledger.
    pub id: i64,
    /// The time of the reply, in milliseconds since 1970.
    pub recorded_ms: i64,
    /// The id of the request.
    pub request_id: String,
    /// The labels of the request.
    pub labels: Labels,
    /// The group.
    pub group: Option<String>,
    /// The attempt of the trainer at this sample.
    pub attempt: Option<u32>,
    /// The place of the sample in its group.
    pub sample: Option<u32>,
    /// The versions of the rollout's profile.
    pub versions: Arc<Versions>,
    /// The cost of judge calls, in the currency of the configured prices.
    pub cost: f64,
    /// The number of judge calls.
    pub judge_calls: u64,
    /// The time from the start of the scoring to the result, in milliseconds.
    pub scoring_ms: Option<f64>,
    /// The rollout as it was received; `None` if texts are not kept, or if it was not valid.
    pub rollout: Option<Rollout>,
    /// The result as it was sent; without quotes and explanations if texts are not kept.
    pub result: RolloutResult,
}

/// A ledger that is read.
#[derive(Debug)]
pub struct LedgerReader {
    connection: Connection,
}

impl LedgerReader {
    /// Opens the ledger at `path`, also while a server writes to it.
    ///
    /// # Errors
    /// There is no file, it is not a ledger, or it has another version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { connection: open_read(path)? })
    }

    /// The connection, for queries on the tables of [`schema`](crate::schema).
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// At most `limit` rollouts of a selection, by their id in the ledger. Ask for more with
    /// [`RolloutFilter::after`].
    ///
    /// # Errors
    /// The ledger cannot be read, or a row is damaged.
    pub fn rollouts(
        &self,
        filter: &RolloutFilter,
        limit: usize,
    ) -> Result<Vec<StoredRollout>, Error> {
        let (condition, values) = filter.condition();
        let order = if filter.newest_first { "DESC" } else { "ASC" };
        let sql = format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE {condition} ORDER BY r.id {order} LIMIT {limit}"
        );
        self.stored(&sql, &values)
    }

    /// The rollout with this id in the ledger.
    ///
    /// # Errors
    /// The ledger cannot be read, or the row is damaged.
    pub fn rollout(&self, id: i64) -> Result<Option<StoredRollout>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE r.id = ?1");
        Ok(self.stored(&sql, &[Value::Integer(id)])?.pop())
    }

    fn stored(&self, sql: &str, values: &[Value]) -> Result<Vec<StoredRollout>, Error> {
        let mut query = self.connection.prepare_cached(sql)?;
        let mut rows = query.query(rusqlite::params_from_iter(values))?;
        let mut found: Vec<StoredRollout> = Vec::new();
        let mut last: Option<(String, Arc<Versions>)> = None;
        while let Some(row) = rows.next()? {
            found.push(raw(row)?.stored(&mut last)?);
        }
        Ok(found)
    }
}

/// A row of [`COLUMNS`].
pub(crate) struct RawRollout {
    pub(crate) id: i64,
    pub(crate) recorded_ms: i64,
    pub(crate) request_id: String,
    pub(crate) labels: Labels,
    pub(crate) group: Option<String>,
    pub(crate) attempt: Option<u32>,
    pub(crate) sample: Option<u32>,
    pub(crate) versions: String,
    pub(crate) cost: f64,
    pub(crate) judge_calls: u64,
    pub(crate) scoring_ms: Option<f64>,
    pub(crate) dialogue: Option<Vec<u8>>,
    pub(crate) result: Vec<u8>,
}

fn raw(row: &Row<'_>) -> Result<RawRollout, rusqlite::Error> {
    Ok(RawRollout {
        id: row.get(0)?,
        recorded_ms: row.get(1)?,
        request_id: row.get(2)?,
        group: row.get(3)?,
        attempt: row.get(4)?,
        sample: row.get(5)?,
        labels: Labels { run: row.get(6)?, step: row.get(7)?, split: row.get(8)? },
        versions: row.get(9)?,
        cost: row.get(10)?,
        judge_calls: row.get(11)?,
        scoring_ms: row.get(12)?,
        dialogue: row.get(13)?,
        result: row.get(14)?,
    })
}

impl RawRollout {
    /// The rollout of the row. `last` has the versions of the row before.
    pub(crate) fn stored(
        self,
        last: &mut Option<(String, Arc<Versions>)>,
    ) -> Result<StoredRollout, Error> {
        let id = self.id;
        let damaged = |column| move |detail: String| Error::Damaged { id, column, detail };
        let versions = match last {
            Some((text, versions)) if *text == self.versions => Arc::clone(versions),
            _ => {
                let parsed = serde_json::from_str(&self.versions);
                let parsed = parsed.map_err(|error: serde_json::Error| error.to_string());
                let versions = Arc::new(parsed.map_err(damaged("versions"))?);
                *last = Some((self.versions, Arc::clone(&versions)));
                versions
            }
        };
        let rollout = self.dialogue.map(|blob| read(&blob).map_err(damaged("dialogue")));
        Ok(StoredRollout {
            id,
            recorded_ms: self.recorded_ms,
            request_id: self.request_id,
            labels: self.labels,
            group: self.group,
            attempt: self.attempt,
            sample: self.sample,
            versions,
            cost: self.cost,
            judge_calls: self.judge_calls,
            scoring_ms: self.scoring_ms,
            rollout: rollout.transpose()?,
            result: read(&self.result).map_err(damaged("result"))?,
        })
    }
}

/// The value of a compressed JSON text.
fn read<T: serde::de::DeserializeOwned>(blob: &[u8]) -> Result<T, String> {
    use std::io::Read as _;
    let decoder = zstd::stream::read::Decoder::new(blob).map_err(|error| error.to_string())?;
    let mut json = Vec::new();
    decoder.take(MAX_TEXT).read_to_end(&mut json).map_err(|error| error.to_string())?;
    serde_json::from_slice(&json).map_err(|error| error.to_string())
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}
