//! Errors.

use std::path::PathBuf;

use crate::schema::VERSION;

/// An error of a ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not a ledger.
    #[error("{path}: the file is not a guerdon ledger; name another file under `ledger.path`")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The ledger was made by another version of guerdon.
    #[error(
        "{place}: the ledger has version {found} of the tables, and this guerdon reads version \
         {VERSION}; move it away, or use the guerdon that wrote it"
    )]
    Version {
        /// The file, or the database.
        place: String,
        /// The version of its tables.
        found: i64,
    },
    /// There is no ledger at this place.
    #[error("there is no ledger at {path}; `ledger.path` of the server names the file")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The folder of the ledger cannot be made.
    #[error("{path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// `SQLite` refused.
    #[error("ledger: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A stored value cannot be read.
    #[error("ledger: rollout {id} has a damaged `{column}`: {detail}")]
    Damaged {
        /// The id of the rollout in the ledger.
        id: i64,
        /// The column.
        column: &'static str,
        /// The cause.
        detail: String,
    },
    /// A value cannot be written as JSON.
    #[error("ledger: {0}")]
    Json(#[from] serde_json::Error),
    /// A value cannot be compressed.
    #[error("ledger: {0}")]
    Compress(#[from] std::io::Error),
}
