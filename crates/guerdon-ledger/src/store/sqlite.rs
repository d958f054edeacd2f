//! A ledger in a file of `SQLite`.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::config::Texts;
use crate::prepare::Preparer;
use crate::{Error, RolloutRecord, schema};

/// The longest wait for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// The most prepared statements of a connection.
const STATEMENTS: usize = 64;

/// The most names whose ids are kept in memory.
pub(super) const MAX_NAMES: usize = 100_000;

/// A ledger that is written to.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) connection: Connection,
    pub(super) preparer: Preparer,
    /// Ids of names, and below of versions by their hash.
    pub(super) names: HashMap<String, i64>,
    pub(super) versions: HashMap<String, i64>,
}

impl SqliteStore {
    /// Opens the ledger at `path`, or makes a new one.
    ///
    /// # Errors
    /// The file is not a ledger, has another version, or cannot be opened.
    pub fn open(path: &Path, texts: Texts) -> Result<Self, Error> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let failed = |source| Error::Folder { path: folder.to_owned(), source };
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let connection = Connection::open(path)?;
        configure(&connection)?;
        create(&connection, path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        // Removed rollouts leave no text behind in pages that are free.
        connection.pragma_update(None, "secure_delete", "on")?;
        let (names, versions) = (HashMap::new(), HashMap::new());
        Ok(Self { connection, preparer: Preparer::new(texts)?, names, versions })
    }

    /// Records rollouts, all in one transaction.
    ///
    /// # Errors
    /// A value cannot be written. Nothing of `records` is then recorded.
    pub fn append(&mut self, records: &[RolloutRecord]) -> Result<(), Error> {
        let prepared = records.iter().map(|record| self.preparer.prepare(record));
        let prepared = prepared.collect::<Result<Vec<_>, _>>()?;
        let written = self.write(&prepared);
        if written.is_err() {
            // Ids of the transaction that was rolled back are not valid.
            self.forget_ids();
        }
        written
    }

    /// Moves all rows into the main file and empties the one next to it, unless another process
    /// reads older rows.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn checkpoint(&self) -> Result<(), Error> {
        let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
        self.connection.query_row(truncate, [], |_| Ok(()))?;
        Ok(())
    }

    /// Forgets the ids of names and versions.
    pub(super) fn forget_ids(&mut self) {
        self.names.clear();
        self.versions.clear();
    }
}

/// Opens the ledger at `path` to read it, also while a server writes to it.
pub(crate) fn open_read(path: &Path) -> Result<Connection, Error> {
    if !path.exists() {
        return Err(Error::Missing { path: path.to_owned() });
    }
    // Not read-only: a reader of a WAL file creates its index if no writer has done so.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .or_else(|_| Connection::open_with_flags(path, read_only))?;
    configure(&connection)?;
    check(&connection, path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> Result<(), Error> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Creates the tables in an empty file, and checks those of another.
fn create(connection: &Connection, path: &Path) -> Result<(), Error> {
    let is_empty = |connection: &Connection| {
        connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
    };
    if is_empty(connection).map_err(|error| foreign(error, path))? {
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        // Another process may have created them since.
        if is_empty(connection)? {
            connection.execute_batch(&schema::sqlite())?;
            connection.pragma_update(None, "application_id", schema::APPLICATION)?;
            connection.pragma_update(None, "user_version", schema::VERSION)?;
        }
        connection.execute_batch("COMMIT")?;
    }
    check(connection, path)
}

fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if number("application_id").map_err(|error| foreign(error, path))? != schema::APPLICATION {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    match number("user_version")? {
        schema::VERSION => Ok(()),
        found => Err(Error::Version { place: path.display().to_string(), found }),
    }
}

/// The error of a file that is no database at all.
fn foreign(error: rusqlite::Error, path: &Path) -> Error {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => Error::Foreign { path: path.to_owned() },
        _ => error.into(),
    }
}
