//! A ledger of either kind, by its place.

use std::path::Path;

use crate::{Error, LedgerReader, PostgresReader, RolloutFilter, StoredRollout};

/// The beginnings of the URLs of databases.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// True if `place` is the URL of a database and not the path of a file.
#[must_use]
pub fn is_database(place: &Path) -> bool {
    place.to_str().is_some_and(|place| SCHEMES.iter().any(|scheme| place.starts_with(scheme)))
}

/// A ledger that rollouts are read from.
pub trait ReadRollouts: std::fmt::Debug {
    /// At most `limit` rollouts of a selection, by their id in the ledger.
    ///
    /// # Errors
    /// The ledger cannot be read, or a row is damaged.
    fn rollouts(&self, filter: &RolloutFilter, limit: usize) -> Result<Vec<StoredRollout>, Error>;
}

impl ReadRollouts for LedgerReader {
    fn rollouts(&self, filter: &RolloutFilter, limit: usize) -> Result<Vec<StoredRollout>, Error> {
        Self::rollouts(self, filter, limit)
    }
}

impl ReadRollouts for PostgresReader {
    fn rollouts(&self, filter: &RolloutFilter, limit: usize) -> Result<Vec<StoredRollout>, Error> {
        Self::rollouts(self, filter, limit)
    }
}

/// Opens the ledger in a file, or in a database by its URL. Blocks the thread.
///
/// # Errors
/// There is no ledger, or it has another version.
pub fn open_reader(place: &Path) -> Result<Box<dyn ReadRollouts>, Error> {
    match place.to_str().filter(|_| is_database(place)) {
        Some(url) => Ok(Box::new(PostgresReader::open(url)?)),
        None => Ok(Box::new(LedgerReader::open(place)?)),
    }
}
