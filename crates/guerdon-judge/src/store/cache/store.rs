//! Answers on disk: what was paid for once is not paid for again after a restart.
//!
//! One [log](super::log). A thread of its own writes: whatever arrives while it writes goes into the next write. An answer
//! is released to whoever asked only after it is written, so a process that is killed has in the file every answer that
//! anybody saw. A second thread tells the disk, at most once in a while: a machine that loses power may lose the answers of
//! that while, and buys them again. Several processes, and several generations of one server's configuration, may have the
//! file open at once; who opens it alone tidies it up first.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::log::{self, Change, Log};
use crate::ask::answer::Answer;
use crate::ask::key::Key;
use crate::error::StoreError;

/// Writes that may wait for the thread; a full queue makes askers wait, never forget.
const QUEUE: usize = 1024;
/// Changes of one write.
const BATCH: usize = 256;

/// Answers on disk.
pub struct Store {
    log: Mutex<Log>,
    pub(super) path: PathBuf,
    /// `None` only while it is dropped.
    writes: Option<mpsc::Sender<Pending>>,
    threads: Vec<JoinHandle<()>>,
    /// Shared with whoever else has the file open; let go when this is dropped.
    _open: File,
}

struct Pending {
    changes: Vec<Change>,
    /// Nothing if nobody waits for it.
    done: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl Store {
    /// Opens the file, or makes it. The disk is told of what was written after `sync` at the latest; if that is zero, before
    /// an answer is released.
    ///
    /// # Errors
    /// [`StoreError`], if it cannot be opened, or holds something else.
    pub fn open(path: &Path, sync: Duration) -> Result<Arc<Self>, StoreError> {
        let fails = Fails { path };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| fails.with(&error))?;
        }
        let open = alone_or_beside_others(path).map_err(|error| fails.with(&error))?;
        let file = log::open(path).map_err(|error| fails.with(&error))?;
        let log = Mutex::new(Log::read(path).map_err(|error| fails.with(&error))?);

        let (writes, queue) = mpsc::channel(QUEUE);
        let (wrote, told) = sync_channel(1);
        let second = file.try_clone().map_err(|error| fails.with(&error))?;
        let writer = Writer { file, path: path.to_owned(), sync, wrote };
        let syncer = Syncer { file: second, path: path.to_owned(), sync, told };
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

    /// The answer, if it is there and readable. Reads a file: not for the runtime's own threads.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Answer>, StoreError> {
        self.log()?.answer(key).map_err(|error| self.fails().with(&error))
    }

    /// Keeps an answer. It is written once this returns.
    pub(crate) async fn keep(&self, key: Key, answer: &Answer) -> Result<(), StoreError> {
        self.write_and_wait(vec![Change::Keep(key, answer.clone())]).await
    }

    /// Adds `cost` to each of `purses`. Written before whatever is written later; nobody waits for it.
    pub(crate) async fn spend(&self, purses: Vec<String>, cost: f64) -> Result<(), StoreError> {
        self.write(spends(purses, cost), None).await
    }

    /// The same, and written once this returns.
    pub(crate) async fn spend_now(&self, purses: Vec<String>, cost: f64) -> Result<(), StoreError> {
        self.write_and_wait(spends(purses, cost)).await
    }

    /// What was spent from `purse`.
    pub(crate) fn spent(&self, purse: &str) -> Result<f64, StoreError> {
        Ok(self.log()?.spent().get(purse).copied().unwrap_or_default())
    }

    /// What the file says now.
    pub(super) fn log(&self) -> Result<MutexGuard<'_, Log>, StoreError> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.follow().map_err(|error| self.fails().with(&error))?;
        Ok(log)
    }

    async fn write_and_wait(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (done, written) = oneshot::channel();
        self.write(changes, Some(done)).await?;
        written.await.map_err(|_| self.gone())?
    }

    async fn write(
        &self,
        changes: Vec<Change>,
        done: Option<oneshot::Sender<Result<(), StoreError>>>,
    ) -> Result<(), StoreError> {
        let writes = self.writes.as_ref().ok_or_else(|| self.gone())?;
        writes.send(Pending { changes, done }).await.map_err(|_| self.gone())
    }

    /// Writes without the thread, and tells the disk.
    pub(super) fn write_now(&self, changes: &[Change]) -> Result<(), StoreError> {
        let write = || {
            let file = log::open(&self.path)?;
            for changes in changes.chunks(BATCH) {
                log::append(&file, &log::frame(changes)?)?;
            }
            file.sync_data()
        };
        write().map_err(|error| self.fails().with(&error))
    }

    fn gone(&self) -> StoreError {
        self.fails().because("its writer has ended")
    }

    pub(super) fn fails(&self) -> Fails<'_> {
        Fails { path: &self.path }
    }
}

fn spends(purses: Vec<String>, cost: f64) -> Vec<Change> {
    purses.into_iter().map(|purse| Change::Spend(purse, cost)).collect()
}

/// Tidies the file up if nobody else has it open, and says that it is open now.
fn alone_or_beside_others(path: &Path) -> std::io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = File::options().create(true).truncate(false).write(true).open(name)?;
    if lock.try_lock().is_ok() {
        let is_new = path.metadata().map_or(0, |file| file.len()) == 0;
        let tidied = if is_new { Ok(()) } else { log::tidy(path) };
        lock.unlock()?;
        tidied?;
    }
    // Waits for whoever is tidying up.
    lock.lock_shared()?;
    Ok(lock)
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Store {
    /// Waits for what is still to be written, and for the disk.
    fn drop(&mut self) {
        self.writes = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to save.
            drop(thread.join());
        }
    }
}

struct Writer {
    file: File,
    path: PathBuf,
    sync: Duration,
    wrote: SyncSender<()>,
}

impl Writer {
    fn run(self, mut queue: mpsc::Receiver<Pending>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            let written = self.write(&batch);
            if let Err(error) = &written {
                tracing::error!("{error}; what was bought will be bought again after a restart");
            }
            for pending in batch {
                // Whoever no longer waits for it has it in the file all the same.
                if let Some(done) = pending.done {
                    drop(done.send(written.clone()));
                }
            }
        }
    }

    fn write(&self, batch: &[Pending]) -> Result<(), StoreError> {
        let write = || {
            log::append(
                &self.file,
                &log::frame(batch.iter().flat_map(|pending| &pending.changes))?,
            )?;
            if self.sync.is_zero() { self.file.sync_data() } else { Ok(()) }
        };
        write().map_err(|error| Fails { path: &self.path }.with(&error))?;
        // If it was told already, that has not been seen to yet.
        let _ = self.wrote.try_send(());
        Ok(())
    }
}

/// Tells the disk what was written.
struct Syncer {
    file: File,
    path: PathBuf,
    sync: Duration,
    told: Receiver<()>,
}

impl Syncer {
    fn run(self) {
        while self.told.recv().is_ok() {
            // More may be written until the time has come, or the writer ends.
            let end = Instant::now() + self.sync;
            while self.told.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok() {}
            if let Err(error) = self.file.sync_data() {
                tracing::error!(
                    "{}: what was written may not outlive a power cut: {error}",
                    self.path.display()
                );
            }
        }
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

    /// No test waits for it.
    pub(crate) const SYNC: Duration = Duration::from_secs(3600);

    pub(crate) fn answer(prompt: &str, at: u64) -> Answer {
        let usage = Usage { cost: 0.25, ..Usage::default() };
        Answer { prompt: prompt.to_owned(), at, usage, model: "m".to_owned(), findings: Vec::new() }
    }

    pub(crate) fn key(byte: u8) -> Key {
        Key::try_from(format!("{byte:02x}").repeat(32)).unwrap()
    }

    #[tokio::test]
    async fn what_is_kept_is_there_after_the_file_is_opened_again() {
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
    async fn who_is_not_alone_leaves_the_file_as_it_is_and_who_is_tidies_it_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judge.log");
        let open = || Store::open(&path, SYNC).unwrap();
        let bytes = || std::fs::metadata(&path).unwrap().len();
        let store = open();
        let long = answer(&"x".repeat(1 << 10), 7);
        store.write_now(&vec![Change::Keep(key(1), long.clone()); 2000]).unwrap();
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
    async fn an_answer_may_have_to_wait_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("judge.log"), Duration::ZERO).unwrap();
        store.keep(key(1), &answer("a", 1)).await.unwrap();
        assert!(store.get(&key(1)).unwrap().is_some());
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Store::open(folder.path(), SYNC).unwrap_err().to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }
}
