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
    /// The database refused, or cannot be reached.
    #[error("ledger: {}", described(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The URL asks for TLS.
    #[error(
        "ledger.url: sslmode=require is not supported; reach the database over a local socket, a \
         private network or a tunnel"
    )]
    Tls,
    /// The URL is not one of `PostgreSQL`.
    #[error(
        "ledger.url: the URL does not begin with postgres://; write postgres://user:password@host/database"
    )]
    Scheme,
    /// The URL is damaged.
    #[error("ledger.url: {}; write postgres://user:password@host/database", described(.0))]
    Url(tokio_postgres::Error),
    /// The database did not answer in time.
    #[error(
        "ledger: the database did not answer within {seconds} s; is it reachable, and are its tables locked?"
    )]
    NoAnswer {
        /// The time.
        seconds: u64,
    },
    /// Both a file and a database are named.
    #[error("the ledger has two places; remove `ledger.path` or `ledger.url`")]
    TwoPlaces,
    /// Neither a file nor a database is named.
    #[error("the ledger has no place; set `ledger.path` or `ledger.url`")]
    Nowhere,
    /// The database has no ledger.
    #[error("the database has no ledger; a server whose `ledger.url` names it makes one")]
    NoTables,
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

/// The error with its causes, which the database's own message is one of.
fn described(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
