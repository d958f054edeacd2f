//! A ledger in a `PostgreSQL` database, which several servers share.

mod columns;
mod read;
mod write;

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use crate::config::Texts;
use crate::prepare::Preparer;
use crate::{DatabaseUrl, Error, Retention, RolloutFilter, RolloutRecord, schema};

pub use read::PostgresReader;

/// The lock of a ledger: shared by servers that write, and held alone by one that creates the tables
/// or removes rollouts. Its number is the application's.
const LOCK: i64 = schema::APPLICATION;

/// The longest wait for a connection, unless the URL has `connect_timeout`.
const CONNECT: Duration = Duration::from_secs(5);

/// The longest wait of a writer for the database.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection, with the runtime that drives it. Its calls block, so it belongs on a thread
/// without a runtime of its own.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) client: Client,
    pub(super) runtime: Runtime,
}

impl Connection {
    /// Connects to a `postgres://` URL.
    pub(crate) fn open(url: &DatabaseUrl) -> Result<Self, Error> {
        let mut config = url.settings()?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (client, connection) = runtime.block_on(config.connect(NoTls))?;
        // It ends with the client, and an error of it is the error of the next call.
        drop(runtime.spawn(connection));
        Ok(Self { client, runtime })
    }

    /// False if the database has closed the connection, or does not answer.
    fn is_alive(&self) -> bool {
        wait(&self.runtime, self.client.check_connection()).is_ok()
    }

    /// The version of the tables; `None` if there are none.
    fn version(&self) -> Result<Option<i64>, Error> {
        let version = async {
            let table = "SELECT to_regclass('ledger_meta') IS NOT NULL";
            if !self.client.query_one(table, &[]).await?.try_get(0)? {
                return Ok(None);
            }
            let value = "SELECT value FROM ledger_meta WHERE name = 'version'";
            let row = self.client.query_opt(value, &[]).await?;
            let value: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
            Ok::<_, tokio_postgres::Error>(value)
        };
        Ok(wait(&self.runtime, version)?.map(|value| value.parse().unwrap_or_default()))
    }

    fn check(&self) -> Result<(), Error> {
        match self.version()? {
            Some(schema::VERSION) => Ok(()),
            Some(found) => Err(Error::Version { place: "the database".to_owned(), found }),
            None => Err(Error::NoTables),
        }
    }
}

/// A ledger in a database that is written to. Connects again after a failure.
#[derive(Debug)]
pub struct PostgresStore {
    url: DatabaseUrl,
    connection: Option<Connection>,
    preparer: Preparer,
}

impl PostgresStore {
    /// A ledger at a `postgres://` URL. Connects at the first use.
    ///
    /// # Errors
    /// The URL is not one of a database, or asks for TLS, which is not supported.
    pub fn new(url: &str, texts: Texts) -> Result<Self, Error> {
        let url = DatabaseUrl::from(url.to_owned());
        url.settings()?;
        Ok(Self { url, connection: None, preparer: Preparer::new(texts)? })
    }

    /// Records rollouts, all in one transaction.
    ///
    /// # Errors
    /// The database cannot be reached or refuses. Nothing of `records` is then recorded.
    pub fn append(&mut self, records: &[RolloutRecord]) -> Result<(), Error> {
        let prepared = records.iter().map(|record| self.preparer.prepare(record));
        let prepared = prepared.collect::<Result<Vec<_>, _>>()?;
        self.with(|connection| connection.append(prepared))
    }

    /// As [`SqliteStore::prune_step`](crate::SqliteStore::prune_step).
    ///
    /// # Errors
    /// The database cannot be reached or refuses.
    pub fn prune_step(&mut self, limits: Retention) -> Result<usize, Error> {
        limits.step(self, Self::remove_step, Self::bytes)
    }

    /// The size of the rows with their indexes, estimated from their number and their texts, in
    /// bytes. Space that the database has not reused yet is not counted.
    ///
    /// # Errors
    /// The database cannot be reached or refuses.
    pub fn bytes(&mut self) -> Result<u64, Error> {
        self.with(|connection| connection.bytes())
    }

    /// Removes at most 1,000 rollouts of a selection, the oldest first. Returns their number.
    ///
    /// # Errors
    /// The database cannot be reached or refuses.
    pub fn remove_step(&mut self, filter: &RolloutFilter) -> Result<usize, Error> {
        self.with(|connection| connection.remove_step(filter))
    }

    /// Works on the connection, which is opened if there is none, and dropped after an error.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) if connection.is_alive() => connection,
            _ => {
                let connection = Connection::open(&self.url)?;
                connection.create()?;
                connection
            }
        };
        let done = work(&mut connection)?;
        self.connection = Some(connection);
        Ok(done)
    }
}

/// Waits for an answer of the database, for [`ANSWER`] at most.
fn wait<T>(
    runtime: &Runtime,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Error> {
    let answer = runtime.block_on(async { tokio::time::timeout(ANSWER, answer).await });
    Ok(answer.map_err(|_| Error::NoAnswer { seconds: ANSWER.as_secs() })??)
}

impl Connection {
    /// Creates the tables if there are none. Servers that start together do so one by one.
    fn create(&self) -> Result<(), Error> {
        if self.version()?.is_none() {
            let sql = format!(
                "BEGIN; SELECT pg_advisory_xact_lock({LOCK}); \
                 DO $$ BEGIN IF to_regclass('ledger_meta') IS NULL THEN {} \
                 INSERT INTO ledger_meta VALUES ('version', '{}'), ('bytes', '0'); \
                 END IF; END $$; COMMIT",
                schema::postgres(),
                schema::VERSION,
            );
            wait(&self.runtime, self.client.batch_execute(&sql))?;
        }
        self.check()
    }
}
