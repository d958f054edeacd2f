//! Persistent store of answers, so that no answer is paid for twice, even across restarts.
//!
//! The store is one [log](super::log). A writer thread batches the writes that arrive while it is
//! busy. An answer is returned only after it is written, so every returned answer is in the file if
//! the process is killed. A second thread syncs the file periodically. A power cut may lose the
//! answers since the last sync; their questions are asked again. Several processes, and several
//! configuration generations of one server, may have the file open at once. The file is compacted
//! on opening if no other process has it open.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, oneshot};

use super::log::{self, Log, LogChange};
use super::outage::{OutageNews, WriteOutage};
use crate::ask::answer::JudgeAnswer;
use crate::ask::key::QuestionKey;
use crate::error::StoreError;

/// Capacity of the write queue. A full queue delays callers and loses nothing.
const QUEUE: usize = 1024;
/// Maximum number of changes in one write.
const BATCH: usize = 256;

/// Persistent store of answers and spending.
pub struct Store {
    log: Mutex<Log>,
    pub(super) path: PathBuf,
    /// `None` only during drop.
    writes: Option<mpsc::Sender<QueuedWrite>>,
    threads: Vec<JoinHandle<()>>,
    /// Shared lock on the file; released on drop.
    _open: File,
}

struct QueuedWrite {
    changes: Vec<LogChange>,
    /// `None` if no caller waits for the write.
    done: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl Store {
    /// Opens or creates the file. Written data is synced after at most `sync`. If `sync` is zero,
    /// it is synced before an answer is returned.
    ///
    /// # Errors
    /// [`StoreError`], if the file cannot be opened or has another format.
    pub fn open(path: &Path, sync: Duration) -> Result<Arc<Self>, StoreError> {
        let fails = ErrorContext { path };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| fails.with(&error))?;
        }
        log::check_kind(path).map_err(|error| fails.with(&error))?;
        let open = lock_and_compact(path).map_err(|error| fails.with(&error))?;
        let file = log::open(path).map_err(|error| fails.with(&error))?;
        let log = Mutex::new(Log::read(path).map_err(|error| fails.with(&error))?);

        let (writes, queue) = mpsc::channel(QUEUE);
        let (wake_sync, wake) = sync_channel(1);
        let second = file.try_clone().map_err(|error| fails.with(&error))?;
        let outage = WriteOutage::default();
        let writer = StoreWriter { file, path: path.to_owned(), sync, wake_sync, outage };
        let syncer = SyncThread { file: second, path: path.to_owned(), sync, wake };
        let thread = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)
                .map_err(|error| fails.with(&error))
        };
        let threads = vec![
            thread("judge-store", Box::new(move || writer.run(queue)))?,
            thread("judge-sync", Box::new(move || syncer.run()))?,
        ];
        Ok(Arc::new(Self {
            log,
            path: path.to_owned(),
            writes: Some(writes),
            threads,
            _open: open,
        }))
    }

    /// The answer to `key`, if the store has it and it is readable. Blocks on file access, so it
    /// must not be called on an async thread.
    pub(crate) fn get(&self, key: &QuestionKey) -> Result<Option<JudgeAnswer>, StoreError> {
        self.log()?.answer(key).map_err(|error| self.fails().with(&error))
    }

    /// Stores an answer. Returns after it is written.
    pub(crate) async fn keep(
        &self,
        key: QuestionKey,
        answer: &JudgeAnswer,
    ) -> Result<(), StoreError> {
        self.write_and_wait(vec![LogChange::Keep(key, answer.clone())]).await
    }

    /// Adds `cost` to each of `accounts`. Queues the write, in order, and does not wait for it.
    pub(crate) async fn spend(&self, accounts: Vec<String>, cost: f64) -> Result<(), StoreError> {
        self.write(spends(accounts, cost), None).await
    }

    /// Like [`Store::spend`], but returns after the spending is written.
    pub(crate) async fn spend_now(
        &self,
        accounts: Vec<String>,
        cost: f64,
    ) -> Result<(), StoreError> {
        self.write_and_wait(spends(accounts, cost)).await
    }

    /// The recorded spending of `account`.
    pub(crate) fn spent(&self, account: &str) -> Result<f64, StoreError> {
        Ok(self.log()?.spent().get(account).copied().unwrap_or_default())
    }

    /// The current content of the file.
    pub(super) fn log(&self) -> Result<MutexGuard<'_, Log>, StoreError> {
        let mut log = self.log.lock();
        log.follow().map_err(|error| self.fails().with(&error))?;
        Ok(log)
    }

    async fn write_and_wait(&self, changes: Vec<LogChange>) -> Result<(), StoreError> {
        let (done, written) = oneshot::channel();
        self.write(changes, Some(done)).await?;
        written.await.map_err(|_| self.writer_ended())?
    }

    async fn write(
        &self,
        changes: Vec<LogChange>,
        done: Option<oneshot::Sender<Result<(), StoreError>>>,
    ) -> Result<(), StoreError> {
        let writes = self.writes.as_ref().ok_or_else(|| self.writer_ended())?;
        writes.send(QueuedWrite { changes, done }).await.map_err(|_| self.writer_ended())
    }

    /// Writes without the writer thread, and syncs.
    pub(super) fn write_now(&self, changes: &[LogChange]) -> Result<(), StoreError> {
        let write = || {
            let file = log::open(&self.path)?;
            for changes in changes.chunks(BATCH) {
                log::append(&file, &log::frame(changes)?)?;
            }
            file.sync_data()
        };
        write().map_err(|error| self.fails().with(&error))
    }

    fn writer_ended(&self) -> StoreError {
        self.fails().because("its writer thread has ended")
    }

    pub(super) fn fails(&self) -> ErrorContext<'_> {
        ErrorContext { path: &self.path }
    }
}

fn spends(accounts: Vec<String>, cost: f64) -> Vec<LogChange> {
    accounts.into_iter().map(|account| LogChange::Spend(account, cost)).collect()
}

/// Compacts the file if no other process has it open. Returns a shared lock.
fn lock_and_compact(path: &Path) -> std::io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = File::options().create(true).truncate(false).write(true).open(name)?;
    if lock.try_lock().is_ok() {
        log::set_aside_if_torn(path)?;
        let is_new = path.metadata().map_or(0, |file| file.len()) == 0;
        let tidied = if is_new { Ok(()) } else { log::tidy(path) };
        lock.unlock()?;
        tidied?;
    }
    // Waits while another process compacts the file.
    lock.lock_shared()?;
    Ok(lock)
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Store {
    /// Waits for pending writes and the last sync.
    fn drop(&mut self) {
        self.writes = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to save.
            drop(thread.join());
        }
    }
}

struct StoreWriter {
    file: File,
    path: PathBuf,
    sync: Duration,
    wake_sync: SyncSender<()>,
    outage: WriteOutage,
}

impl StoreWriter {
    fn run(mut self, mut queue: mpsc::Receiver<QueuedWrite>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            let written = self.write(&batch);
            self.report(&written, batch.len());
            for pending in batch {
                // The caller may no longer wait; its changes are written all the same.
                if let Some(done) = pending.done {
                    drop(done.send(written.clone()));
                }
            }
        }
    }

    /// Logs the start, the course and the end of an outage.
    fn report(&mut self, written: &Result<(), StoreError>, changes: usize) {
        let news = self.outage.after_write(written.is_ok(), changes, Instant::now());
        match (news, written) {
            (Some(OutageNews::Failing(lost)), Err(error)) => tracing::error!(
                lost,
                "{error}: cached answers could not be persisted; they are asked again after a restart"
            ),
            (Some(OutageNews::Over(lost)), _) => {
                tracing::warn!(lost, "{}: cached answers are persisted again", self.path.display())
            }
            _ => {}
        }
    }

    fn write(&self, batch: &[QueuedWrite]) -> Result<(), StoreError> {
        let write = || {
            log::append(
                &self.file,
                &log::frame(batch.iter().flat_map(|pending| &pending.changes))?,
            )?;
            if self.sync.is_zero() { self.file.sync_data() } else { Ok(()) }
        };
        write().map_err(|error| ErrorContext { path: &self.path }.with(&error))?;
        // A full channel means that a sync is already pending.
        let _ = self.wake_sync.try_send(());
        Ok(())
    }
}

/// Syncs written data to the disk.
struct SyncThread {
    file: File,
    path: PathBuf,
    sync: Duration,
    wake: Receiver<()>,
}

impl SyncThread {
    fn run(self) {
        while self.wake.recv().is_ok() {
            // One sync covers all writes until then. The wait ends early if the writer ends.
            let end = Instant::now() + self.sync;
            while self.wake.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok() {}
            if let Err(error) = self.file.sync_data() {
                tracing::error!(
                    "{}: sync failed, a power cut may lose recent answers: {error}",
                    self.path.display()
                );
            }
        }
    }
}

/// Errors about one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct ErrorContext<'a> {
    path: &'a Path,
}

impl ErrorContext<'_> {
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

    /// Longer than any test.
    pub(crate) const SYNC: Duration = Duration::from_secs(3600);

    pub(crate) fn answer(prompt: &str, at: u64) -> JudgeAnswer {
        let usage = Usage { cost: 0.25, ..Usage::default() };
        JudgeAnswer {
            prompt: prompt.to_owned(),
            at,
            usage,
            model: "m".to_owned(),
            findings: Vec::new(),
        }
    }

    pub(crate) fn key(byte: u8) -> QuestionKey {
        QuestionKey::try_from(format!("{byte:02x}").repeat(32)).unwrap()
    }

    #[tokio::test]
    async fn answers_and_spending_survive_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/judge.log");
        let store = Store::open(&path, SYNC).unwrap();
        store.keep(key(1), &answer("a", 7)).await.unwrap();
        store.spend(vec!["run:x".to_owned(), "day:1".to_owned()], 0.5).await.unwrap();
        store.spend(vec!["run:x".to_owned()], 0.5).await.unwrap();
        drop(store);
        let store = Store::open(&path, SYNC).unwrap();
        assert_eq!(store.get(&key(1)).unwrap(), Some(answer("a", 7)));
        assert_eq!(store.get(&key(2)).unwrap(), None);
        assert!((store.spent("run:x").unwrap() - 1.0).abs() < 1e-12);
        assert!((store.spent("day:1").unwrap() - 0.5).abs() < 1e-12);
    }

    #[tokio::test]
    async fn two_handles_on_one_file_see_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judge.log");
        let (one, two) = (Store::open(&path, SYNC).unwrap(), Store::open(&path, SYNC).unwrap());
        one.keep(key(1), &answer("a", 1)).await.unwrap();
        two.keep(key(2), &answer("b", 2)).await.unwrap();
        assert!(two.get(&key(1)).unwrap().is_some() && one.get(&key(2)).unwrap().is_some());
    }

    #[tokio::test]
    async fn file_is_compacted_only_by_its_sole_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judge.log");
        let open = || Store::open(&path, SYNC).unwrap();
        let bytes = || std::fs::metadata(&path).unwrap().len();
        let store = open();
        let long = answer(&"x".repeat(1 << 10), 7);
        store.write_now(&vec![LogChange::Keep(key(1), long.clone()); 2000]).unwrap();
        let before = bytes();
        let other = open();
        assert_eq!(bytes(), before);
        store.keep(key(2), &long).await.unwrap();
        assert_eq!(other.get(&key(2)).unwrap(), Some(long.clone()));
        drop((store, other));
        let store = open();
        assert!(bytes() * 100 < before);
        assert_eq!(
            (store.get(&key(1)).unwrap(), store.get(&key(2)).unwrap()),
            (Some(long.clone()), Some(long))
        );
    }

    #[tokio::test]
    async fn zero_sync_interval_syncs_before_returning() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("judge.log"), Duration::ZERO).unwrap();
        store.keep(key(1), &answer("a", 1)).await.unwrap();
        assert!(store.get(&key(1)).unwrap().is_some());
    }

    #[test]
    fn error_of_a_path_that_is_not_a_file_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let error = Store::open(folder.path(), SYNC).unwrap_err().to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }
}
