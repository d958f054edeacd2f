//! Answers on disk: what was paid for once is not paid for again after a restart.
//!
//! One redb file, a table of answers by key and a table of what was spent. A thread of its own writes: whatever arrives
//! while it commits goes into the next commit, so that a burst of answers costs a few fsyncs and a lone one waits for no
//! timer. An answer is released to whoever asked only after its commit, so a process that is killed has on disk every
//! answer that anybody saw. Several processes, and several generations of one server's configuration, may have the file
//! open at once (redb's multi-writer mode).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use redb::{Builder, ConcurrencyMode, Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::answer::Answer;
use crate::key::Key;

pub(super) const ANSWERS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("answers.v1");
pub(super) const SPENT: TableDefinition<'_, &str, f64> = TableDefinition::new("spent.v1");
/// Writes that may wait for the thread; a full queue makes askers wait, never forget.
const QUEUE: usize = 1024;
/// Writes of one commit.
const BATCH: usize = 256;

/// A store that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the judge's cache {path}: {detail}")]
pub struct StoreError {
    path: String,
    detail: String,
}

/// Answers on disk.
pub struct Store {
    pub(super) database: Arc<Database>,
    pub(super) path: PathBuf,
    /// `None` only while it is dropped.
    writes: Option<mpsc::Sender<Pending>>,
    writer: Option<JoinHandle<()>>,
}

enum Change {
    Keep(Key, Vec<u8>),
    Spend(Vec<String>, f64),
}

struct Pending {
    change: Change,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Store {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StoreError`], if it cannot be opened, or is no such file.
    pub fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        let fails = Fails { path };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| fails.with(&error))?;
        }
        let database = Builder::new()
            .set_concurrency_mode(ConcurrencyMode::MultiWriter)
            .create(path)
            .map_err(|error| fails.with(&error))?;
        // Both tables exist from here on, so that readers need not ask.
        let made = database.begin_write().map_err(|error| fails.with(&error))?;
        made.open_table(ANSWERS).map_err(|error| fails.with(&error))?;
        made.open_table(SPENT).map_err(|error| fails.with(&error))?;
        made.commit().map_err(|error| fails.with(&error))?;

        let database = Arc::new(database);
        let (writes, queue) = mpsc::channel(QUEUE);
        let writer = Writer { database: Arc::clone(&database), path: path.to_owned() };
        let writer = std::thread::Builder::new()
            .name("judge-store".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(|error| fails.with(&error))?;
        Ok(Arc::new(Self { database, path: path.to_owned(), writes: Some(writes), writer: Some(writer) }))
    }

    /// The answer, if it is there and readable. Reads a file: not for the runtime's own threads.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Answer>, StoreError> {
        let fails = self.fails();
        let read = self.database.begin_read().map_err(|error| fails.with(&error))?;
        let table = read.open_table(ANSWERS).map_err(|error| fails.with(&error))?;
        let found = table.get(key.bytes()).map_err(|error| fails.with(&error))?;
        // What an older or newer guerdon wrote in another form is as good as not there.
        Ok(found.and_then(|bytes| serde_json::from_slice(bytes.value()).ok()))
    }

    /// Keeps an answer. It is on disk once this returns.
    pub(crate) async fn keep(&self, key: Key, answer: &Answer) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(answer).map_err(|error| self.fails().with(&error))?;
        self.write(Change::Keep(key, bytes)).await
    }

    /// Adds `cost` to each of `purses`.
    pub(crate) async fn spend(&self, purses: Vec<String>, cost: f64) -> Result<(), StoreError> {
        self.write(Change::Spend(purses, cost)).await
    }

    /// What was spent from `purse`.
    pub(crate) fn spent(&self, purse: &str) -> Result<f64, StoreError> {
        let fails = self.fails();
        let read = self.database.begin_read().map_err(|error| fails.with(&error))?;
        let table = read.open_table(SPENT).map_err(|error| fails.with(&error))?;
        let found = table.get(purse).map_err(|error| fails.with(&error))?;
        Ok(found.map_or(0.0, |cost| cost.value()))
    }

    async fn write(&self, change: Change) -> Result<(), StoreError> {
        let (done, written) = oneshot::channel();
        let gone = || self.fails().because("its writer has ended");
        let writes = self.writes.as_ref().ok_or_else(gone)?;
        writes.send(Pending { change, done }).await.map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
    }

    pub(super) fn fails(&self) -> Fails<'_> {
        Fails { path: &self.path }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Store {
    /// Waits for what is still to be written; everything that was promised is already there.
    fn drop(&mut self) {
        self.writes = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to save.
            drop(writer.join());
        }
    }
}

struct Writer {
    database: Arc<Database>,
    path: PathBuf,
}

impl Writer {
    fn run(&self, mut queue: mpsc::Receiver<Pending>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            let written = self.commit(&batch);
            for pending in batch {
                // Whoever no longer waits for it has it on disk all the same.
                drop(pending.done.send(written.clone()));
            }
        }
    }

    fn commit(&self, batch: &[Pending]) -> Result<(), StoreError> {
        let fails = Fails { path: &self.path };
        let write = self.database.begin_write().map_err(|error| fails.with(&error))?;
        {
            let mut answers = write.open_table(ANSWERS).map_err(|error| fails.with(&error))?;
            let mut spent = write.open_table(SPENT).map_err(|error| fails.with(&error))?;
            for Pending { change, .. } in batch {
                match change {
                    Change::Keep(key, bytes) => {
                        answers.insert(key.bytes(), bytes.as_slice()).map_err(|error| fails.with(&error))?;
                    }
                    Change::Spend(purses, cost) => {
                        for purse in purses {
                            let before = spent.get(purse.as_str()).map_err(|error| fails.with(&error))?;
                            let before = before.map_or(0.0, |before| before.value());
                            spent
                                .insert(purse.as_str(), before + cost)
                                .map_err(|error| fails.with(&error))?;
                        }
                    }
                }
            }
        }
        write.commit().map_err(|error| fails.with(&error))
    }
}

/// Errors about one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fails<'a> {
    path: &'a Path,
}

impl Fails<'_> {
    pub(super) fn because(self, detail: impl Into<String>) -> StoreError {
        StoreError { path: self.path.display().to_string(), detail: detail.into() }
    }

    pub(super) fn with(self, error: &dyn std::error::Error) -> StoreError {
        self.because(error.to_string())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use guerdon_types::Usage;

    use super::*;

    pub(crate) fn answer(prompt: &str, at: u64) -> Answer {
        let usage = Usage { cost: 0.25, ..Usage::default() };
        Answer { prompt: prompt.to_owned(), at, usage, model: "m".to_owned(), findings: Vec::new() }
    }

    pub(crate) fn key(byte: u8) -> Key {
        Key::from_bytes([byte; 32])
    }

    #[tokio::test]
    async fn what_is_kept_is_there_after_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/judge.redb");
        let store = Store::open(&path).unwrap();
        store.keep(key(1), &answer("a", 7)).await.unwrap();
        store.spend(vec!["run:x".to_owned(), "day:1".to_owned()], 0.5).await.unwrap();
        store.spend(vec!["run:x".to_owned()], 0.5).await.unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.get(&key(1)).unwrap(), Some(answer("a", 7)));
        assert_eq!(store.get(&key(2)).unwrap(), None);
        assert!((store.spent("run:x").unwrap() - 1.0).abs() < 1e-12);
        assert!((store.spent("day:1").unwrap() - 0.5).abs() < 1e-12);
    }

    #[tokio::test]
    async fn two_handles_on_one_file_see_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judge.redb");
        let (one, two) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
        one.keep(key(1), &answer("a", 1)).await.unwrap();
        two.keep(key(2), &answer("b", 2)).await.unwrap();
        assert!(two.get(&key(1)).unwrap().is_some() && one.get(&key(2)).unwrap().is_some());
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Store::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }
}
