//! Reads rollouts back.

use std::sync::{Arc, Mutex, PoisonError};

use guerdon_types::Versions;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Connection;
use super::columns::text;
use crate::filter::Value;
use crate::reader::{COLUMNS, RawRollout, TABLES};
use crate::{Error, Labels, RolloutFilter, StoredRollout, schema};

/// A ledger in a database that is read. Its calls block, so it belongs on a thread without a
/// runtime of its own.
#[derive(Debug)]
pub struct PostgresReader {
    connection: Mutex<Connection>,
}

impl PostgresReader {
    /// Connects to a `postgres://` URL.
    ///
    /// # Errors
    /// The database cannot be reached, has no ledger, or one of another version.
    pub fn open(url: &str) -> Result<Self, Error> {
        let connection = Connection::open(&url.to_owned().into())?;
        connection.check()?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// As [`LedgerReader::rollouts`](crate::LedgerReader::rollouts).
    ///
    /// # Errors
    /// The database cannot be read, or a row is damaged.
    pub fn rollouts(
        &self,
        filter: &RolloutFilter,
        limit: usize,
    ) -> Result<Vec<StoredRollout>, Error> {
        let (condition, values) = condition(filter);
        let order = if filter.newest_first { "DESC" } else { "ASC" };
        let sql = schema::numbered(&format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE {condition} ORDER BY r.id {order} LIMIT {limit}"
        ));
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let Connection { client, runtime } = &*connection;
        let rows = runtime.block_on(client.query(&sql, &parameters(&values)))?;
        let mut last: Option<(String, Arc<Versions>)> = None;
        rows.iter().map(|row| raw(row)?.stored(&mut last)).collect()
    }
}

/// The condition of a filter, with texts as they are stored.
pub(super) fn condition(filter: &RolloutFilter) -> (String, Vec<Value>) {
    let (condition, mut values) = filter.condition();
    for value in &mut values {
        if let Value::Text(own) = value {
            *own = text(own);
        }
    }
    (condition, values)
}

/// The parameters of a query.
pub(super) fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values
        .iter()
        .map(|value| match value {
            Value::Integer(number) => number as &(dyn ToSql + Sync),
            Value::Text(text) => text as &(dyn ToSql + Sync),
        })
        .collect()
}

fn raw(row: &Row) -> Result<RawRollout, Error> {
    let small = |place: usize| -> Result<Option<u32>, Error> {
        let number: Option<i64> = row.try_get(place)?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    };
    let step: Option<i64> = row.try_get(7)?;
    let judge_calls: i64 = row.try_get(11)?;
    Ok(RawRollout {
        id: row.try_get(0)?,
        recorded_ms: row.try_get(1)?,
        request_id: row.try_get(2)?,
        group: row.try_get(3)?,
        attempt: small(4)?,
        sample: small(5)?,
        labels: Labels {
            run: row.try_get(6)?,
            step: step.and_then(|step| u64::try_from(step).ok()),
            split: row.try_get(8)?,
        },
        versions: row.try_get(9)?,
        cost: row.try_get(10)?,
        judge_calls: u64::try_from(judge_calls).unwrap_or_default(),
        scoring_ms: row.try_get(12)?,
        dialogue: row.try_get(13)?,
        result: row.try_get(14)?,
    })
}
