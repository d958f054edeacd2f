//! Calls of the file system that may never return, as on a network file system whose server is
//! gone. Such a call cannot be cancelled: its thread is left behind, and its caller goes on with an
//! error.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use guerdon_queue::PARSER_STACK;
use parking_lot::Mutex;

/// Time after which a call counts as hung.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Interval at which a waiting thread looks for a hung call.
const LOOK: Duration = Duration::from_millis(50);

/// The call of the file system that a thread is in, for another thread to watch.
#[derive(Debug, Clone, Default)]
pub(crate) struct DiskCalls(Arc<Mutex<CallState>>);

#[derive(Debug, Default)]
struct CallState {
    current: Option<(Instant, PathBuf)>,
    /// Set once the caller no longer waits. Every later call fails at once.
    abandoned: bool,
}

impl DiskCalls {
    /// Runs `call`, which works on `path`.
    ///
    /// # Errors
    /// The error of `call`; [`io::ErrorKind::TimedOut`] without a call if the caller has stopped
    /// waiting.
    pub(crate) fn during<T>(
        &self,
        path: &Path,
        call: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        {
            let mut state = self.0.lock();
            if state.abandoned {
                return Err(io::ErrorKind::TimedOut.into());
            }
            state.current = Some((Instant::now(), path.to_owned()));
        }
        let result = call();
        self.0.lock().current = None;
        result
    }

    /// The path of the current call, if the call has taken longer than `limit`. From then on, all
    /// calls fail.
    fn abandon_if_hung(&self, limit: Duration) -> Option<PathBuf> {
        let mut state = self.0.lock();
        let (since, path) = state.current.as_ref()?;
        let path = (since.elapsed() > limit).then(|| path.clone())?;
        state.abandoned = true;
        Some(path)
    }
}

/// Threads for work on files, and the number of them that hang.
#[derive(Debug)]
pub(crate) struct DiskThreads {
    hung: Arc<AtomicUsize>,
    /// The number of hung threads at which no more are started.
    max_hung: usize,
    limit: Duration,
}

/// Work on files that did not end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DiskError {
    /// The file system did not answer a call on this path.
    Hung(PathBuf),
    /// This many earlier calls still hang, so no new one was started.
    TooManyHung(usize),
    /// The work panicked, or its thread could not be started.
    Failed,
}

/// The work runs.
const RUNNING: u8 = 0;
/// The work has ended.
const ENDED: u8 = 1;
/// The caller has stopped waiting.
const ABANDONED: u8 = 2;

impl DiskThreads {
    pub(crate) fn new(max_hung: usize) -> Self {
        Self { hung: Arc::default(), max_hung, limit: CALL_LIMIT }
    }

    /// As [`DiskThreads::new`], with another limit than [`CALL_LIMIT`].
    #[cfg(test)]
    pub(crate) fn with_limit(max_hung: usize, limit: Duration) -> Self {
        Self { limit, ..Self::new(max_hung) }
    }

    /// The number of threads that hang now.
    pub(crate) fn hung(&self) -> usize {
        self.hung.load(Ordering::Acquire)
    }

    /// Runs `work` on a new thread and waits for it. The work makes its calls of the file system
    /// through [`DiskCalls`]. If one of them takes longer than [`CALL_LIMIT`], the thread is left
    /// behind.
    ///
    /// # Errors
    /// [`DiskError`], if a call hangs, too many earlier ones do, or the work panics.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&DiskCalls) -> T + Send + 'static,
    ) -> Result<T, DiskError> {
        if self.hung() >= self.max_hung {
            return Err(DiskError::TooManyHung(self.hung()));
        }
        let calls = DiskCalls::default();
        let (send, receive) = mpsc::sync_channel(1);
        let state = Arc::new(AtomicU8::new(RUNNING));
        let (own_calls, own_state) = (calls.clone(), Arc::clone(&state));
        let hung = Arc::clone(&self.hung);
        let work = move || {
            let work = std::panic::AssertUnwindSafe(|| work(&own_calls));
            let result = std::panic::catch_unwind(work).map_err(|_| DiskError::Failed);
            // Sent before the state changes, so that a caller that sees `ENDED` finds the result.
            drop(send.send(result));
            if own_state.swap(ENDED, Ordering::AcqRel) == ABANDONED {
                hung.fetch_sub(1, Ordering::AcqRel);
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(PARSER_STACK);
        let thread = thread.spawn(work).map_err(|error| {
            tracing::error!(%error, "a thread for work on files could not be started");
            DiskError::Failed
        })?;
        loop {
            match receive.recv_timeout(LOOK) {
                Ok(result) => {
                    // The thread has nothing left to do.
                    drop(thread.join());
                    return result;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(DiskError::Failed),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            let Some(path) = calls.abandon_if_hung(self.limit) else { continue };
            self.hung.fetch_add(1, Ordering::AcqRel);
            if state.swap(ABANDONED, Ordering::AcqRel) == ENDED {
                self.hung.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            tracing::error!(
                path = %path.display(), limit = ?self.limit,
                "the file system does not answer; the thread that waits for it is left behind"
            );
            return Err(DiskError::Hung(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_ends_is_returned_and_a_panic_is_an_error() {
        let threads = DiskThreads::new(1);
        assert_eq!(threads.run("test", |_| 7), Ok(7));
        let failed = threads.run::<()>("test", |_| panic!("requested panic"));
        assert_eq!(failed, Err(DiskError::Failed));
        assert_eq!(threads.hung(), 0);
    }

    #[test]
    fn hung_call_is_left_behind_and_counted_until_it_returns() {
        let threads = DiskThreads::with_limit(1, Duration::from_millis(1));
        let (release, released) = mpsc::channel::<()>();
        let hung = threads.run("test", move |calls| {
            let path = Path::new("/hung");
            let first = calls.during(path, || Ok(released.recv().is_ok()));
            (first.is_ok(), calls.during(path, || Ok(())).map_err(|error| error.kind()))
        });
        assert_eq!(hung, Err(DiskError::Hung("/hung".into())));
        assert_eq!(threads.run("test", |_| ()), Err(DiskError::TooManyHung(1)));
        release.send(()).unwrap();
        while threads.hung() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(threads.run("test", |_| 7), Ok(7));
    }

    #[test]
    fn slow_work_between_calls_is_not_hung() {
        let threads = DiskThreads::with_limit(1, Duration::ZERO);
        let (send, wait) = mpsc::channel::<()>();
        let result = threads.run("test", move |calls| {
            calls.during(Path::new("/a"), || Ok(())).unwrap();
            wait.recv_timeout(4 * LOOK).is_err()
        });
        assert_eq!(result, Ok(true));
        drop(send);
    }
}
