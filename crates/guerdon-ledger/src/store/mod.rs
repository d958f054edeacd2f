//! Databases that hold a ledger.

mod sqlite;
mod sqlite_write;

pub use sqlite::SqliteStore;
pub(crate) use sqlite::open_read;
