//! The thread that writes a ledger. Requests hand it their results and do not wait for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::queue::{LedgerCounts, NoRoom, Room};
use crate::{Error, LedgerConfig, OnFull, PostgresStore, Retention, RolloutRecord, SqliteStore};

/// Rollouts of one transaction, at most; one request more than that if it is larger.
const BATCH: usize = 256;

/// Time for which a batch waits for more rollouts.
const LINGER: Duration = Duration::from_millis(100);

/// Interval between looks at the limits of age and size.
const PRUNE_EVERY: Duration = Duration::from_secs(30);

/// Interval between log lines about a database that refuses.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// A ledger that is written to by a thread of its own. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LedgerWriter {
    sender: Sender<Job>,
    room: Room,
    full: OnFull,
    counts: Arc<LedgerCounts>,
    path: Option<Arc<Path>>,
    place: Arc<str>,
}

#[derive(Debug)]
enum AnyStore {
    File(SqliteStore),
    Database(PostgresStore),
}

impl AnyStore {
    fn append(&mut self, records: &[RolloutRecord]) -> Result<(), Error> {
        match self {
            Self::File(store) => store.append(records),
            Self::Database(store) => store.append(records),
        }
    }

    fn prune_step(&mut self, limits: Retention) -> Result<usize, Error> {
        match self {
            Self::File(store) => store.prune_step(limits),
            Self::Database(store) => store.prune_step(limits),
        }
    }
}

#[derive(Debug)]
enum Job {
    Record { records: Vec<RolloutRecord>, room: OwnedSemaphorePermit },
    Stop { done: oneshot::Sender<()> },
}

impl LedgerWriter {
    /// Opens the ledger at `path`, or else the database of `config`, and starts its thread. A
    /// database is connected to by the thread: a server starts without it, and drops and counts
    /// rollouts until it answers.
    ///
    /// # Errors
    /// The file is not a ledger, has another version, or cannot be written; the URL is not one; or
    /// the thread cannot be started.
    pub fn start(path: Option<&Path>, config: &LedgerConfig) -> Result<Self, Error> {
        let (store, place) = match (path, &config.url) {
            (Some(_), Some(_)) => return Err(Error::TwoPlaces),
            (Some(path), None) => {
                let store = SqliteStore::open(path, config.texts)?;
                (AnyStore::File(store), path.display().to_string())
            }
            (None, Some(url)) => {
                let store = PostgresStore::new(url.expose(), config.texts)?;
                (AnyStore::Database(store), url.shown())
            }
            (None, None) => return Err(Error::Nowhere),
        };
        let (sender, jobs) = channel();
        let counts = Arc::<LedgerCounts>::default();
        let room = Room::new(config.queue_bytes);
        let thread = WriterThread {
            store,
            jobs,
            counts: Arc::clone(&counts),
            keep: config.keep,
            max_bytes: config.max_bytes,
            complained: None,
            pruned: None,
            stop: None,
        };
        let is_nice = config.full == OnFull::Drop;
        let builder = std::thread::Builder::new().name("guerdon-ledger".to_owned());
        builder.spawn(move || {
            if is_nice {
                lower_priority();
            }
            thread.run();
        })?;
        let place = place.into();
        Ok(Self { sender, room, full: config.full, counts, path: path.map(Into::into), place })
    }

    /// The file; `None` for a database.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The file, or the URL of the database without its password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The counts of rollouts.
    #[must_use]
    pub fn counts(&self) -> &LedgerCounts {
        &self.counts
    }

    /// Hands over records. With [`OnFull::Drop`] it returns at once, and records without room are
    /// dropped and counted. With [`OnFull::Wait`] it waits for room.
    pub async fn record(&self, records: Vec<RolloutRecord>) {
        if records.is_empty() {
            return;
        }
        let room = match self.full {
            OnFull::Drop => self.room.try_take(&records),
            OnFull::Wait => self.room.take(&records).await,
        };
        let count = records.len();
        match room {
            Ok(room) => {
                self.counts.enter(count);
                if self.sender.send(Job::Record { records, room }).is_err() {
                    self.counts.leave(count, false);
                }
            }
            Err(NoRoom::Full) => self.counts.drop_full(count),
            Err(NoRoom::Closed) => self.counts.drop_closed(count),
        }
    }

    /// Writes everything that was handed over before, and ends the thread. Later records are
    /// dropped.
    pub async fn stop(&self) {
        self.room.close();
        let (done, ended) = oneshot::channel();
        if self.sender.send(Job::Stop { done }).is_ok() {
            // An error means that the thread has ended, too.
            ended.await.ok();
        }
    }
}

/// Lets the thread have only the time that others leave: a ledger that falls behind drops rows, and
/// a reply does not become late.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(19) {
        tracing::debug!(%error, "the ledger's thread keeps its priority");
    }
}

struct WriterThread {
    store: AnyStore,
    jobs: Receiver<Job>,
    counts: Arc<LedgerCounts>,
    keep: Option<Duration>,
    max_bytes: Option<u64>,
    /// The time of the last log line about an error.
    complained: Option<Instant>,
    /// The time of the last look that found nothing to remove.
    pruned: Option<Instant>,
    /// Set when the ledger is closed.
    stop: Option<oneshot::Sender<()>>,
}

impl WriterThread {
    fn run(mut self) {
        while self.stop.is_none() {
            let is_open = match self.jobs.recv_timeout(self.pause()) {
                Ok(job) => {
                    self.batch(job);
                    true
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if !is_open {
                return;
            }
            self.prune();
        }
        // What was handed over while the room was being closed.
        while let Ok(Job::Record { records, room }) = self.jobs.try_recv() {
            self.write(&records);
            drop(room);
        }
        if let Some(done) = self.stop.take() {
            drop(self.store);
            done.send(()).ok();
        }
    }

    /// The time to wait for a job.
    fn pause(&self) -> Duration {
        match self.pruned {
            Some(at) => PRUNE_EVERY.saturating_sub(at.elapsed()),
            None => Duration::ZERO,
        }
    }

    /// Collects jobs until the batch is full or its time has passed, and writes them.
    fn batch(&mut self, first: Job) {
        let (mut batch, mut rooms) = (Vec::new(), Vec::new());
        let started = Instant::now();
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Record { mut records, room } => {
                    batch.append(&mut records);
                    rooms.push(room);
                }
                Job::Stop { done } => {
                    self.stop = Some(done);
                    break;
                }
            }
            if batch.len() >= BATCH {
                break;
            }
            next = self.jobs.recv_timeout(LINGER.saturating_sub(started.elapsed())).ok();
        }
        self.write(&batch);
    }

    fn write(&mut self, records: &[RolloutRecord]) {
        if records.is_empty() {
            return;
        }
        let written = self.store.append(records);
        self.counts.leave(records.len(), written.is_ok());
        if let Err(error) = written {
            self.complain(&format!("{} rollouts were not recorded: {error}", records.len()));
        }
    }

    /// Removes some of the rollouts beyond the limits, if there are any.
    fn prune(&mut self) {
        if self.pruned.is_some_and(|at| at.elapsed() < PRUNE_EVERY) {
            return;
        }
        let before_ms = self.keep.map(|keep| now_ms().saturating_sub(millis(keep)));
        let limits = Retention { before_ms, max_bytes: self.max_bytes };
        match self.store.prune_step(limits) {
            Ok(0) => self.pruned = Some(Instant::now()),
            Ok(_) => self.pruned = None,
            Err(error) => {
                self.pruned = Some(Instant::now());
                self.complain(&format!("old rollouts were not removed: {error}"));
            }
        }
    }

    fn complain(&mut self, what: &str) {
        if self.complained.is_some_and(|at| at.elapsed() < COMPLAIN_EVERY) {
            return;
        }
        self.complained = Some(Instant::now());
        tracing::error!(
            "{what}; guerdon_ledger_dropped_total counts further ones, and rewards are not affected"
        );
    }
}

/// The time in milliseconds since 1970.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, millis)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
