//! The order of a selection, newest first, for which there is an index.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::filter::Value;
use crate::{Error, RolloutFilter};

/// The columns by which rows are ordered, before their id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The id alone: the whole ledger, a digest, a group, or one step of a run.
    Id,
    /// The step: a run.
    Step,
    /// The time: a profile.
    Time,
}

impl Order {
    const fn of(filter: &RolloutFilter) -> Self {
        let one_step = match (filter.first_step, filter.last_step) {
            (Some(first), Some(last)) => first == last,
            _ => false,
        };
        if filter.digest.is_some() || filter.group.is_some() || filter.rollout.is_some() {
            Self::Id
        } else if filter.run.is_some() && !one_step {
            Self::Step
        } else if filter.run.is_none() && filter.profile.is_some() {
            Self::Time
        } else {
            Self::Id
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Id => "r.id",
            // A run without steps has -1, after those with steps.
            Self::Step => "r.step",
            Self::Time => "r.recorded_ms",
        }
    }
}

/// The parts of a query behind `SELECT … FROM rollouts r`, with their values.
pub(super) struct RowSelection {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// The rollouts of `filter`, newest first, at most `limit`. `None` for a page after a rollout that
/// is no more in the ledger.
pub(super) fn selected(
    connection: &Connection,
    filter: &RolloutFilter,
    limit: usize,
) -> Result<RowSelection, Error> {
    let order = Order::of(filter);
    let bare = RolloutFilter { after: None, newest_first: true, ..filter.clone() };
    let (mut condition, mut values) = bare.condition();
    if let Some(after) = filter.after {
        condition.push_str(" AND ");
        condition.push_str(&key(connection, order, after, &mut values)?);
    }
    let column = order.column();
    let by = if order == Order::Id {
        "r.id DESC".to_owned()
    } else {
        format!("{column} DESC, r.id DESC")
    };
    Ok(RowSelection { sql: format!("WHERE {condition} ORDER BY {by} LIMIT {limit}"), values })
}

/// The condition of the rows behind the one with the id `after`.
fn key(
    connection: &Connection,
    order: Order,
    after: i64,
    values: &mut Vec<Value>,
) -> Result<String, Error> {
    let column = order.column();
    let place = match order {
        Order::Id => Some(after),
        Order::Step | Order::Time => {
            let sql = format!("SELECT {column} FROM rollouts r WHERE r.id = ?1");
            let found =
                connection.prepare_cached(&sql)?.query_row(params![after], |row| row.get(0));
            found.optional()?.flatten()
        }
    };
    values.push(Value::Integer(after));
    let id = values.len();
    Ok(match (order, place) {
        (Order::Id, _) => format!("r.id < ?{id}"),
        (_, Some(place)) => {
            values.push(Value::Integer(place));
            format!("({column}, r.id) < (?{}, ?{id})", values.len())
        }
        // Rows without a step are the last ones.
        (_, None) => format!("{column} IS NULL AND r.id < ?{id}"),
    })
}
