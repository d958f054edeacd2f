//! Databases that hold a ledger.

mod postgres;
mod retention;
mod sqlite;
mod sqlite_write;

pub use postgres::{PostgresReader, PostgresStore};
pub use retention::Retention;
pub use sqlite::SqliteStore;
pub(crate) use sqlite::open_read;
