//! The threads that blocks are spread over, also in a child process made by `fork`.
//!
//! A forked child has none of its parent's threads, and work given to them would never be done. A
//! child therefore starts threads of its own, at its first large batch.

use std::process::id;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rayon::{ThreadPool, ThreadPoolBuilder, current_num_threads, current_thread_index};

/// The process in which the global pool has its threads; 0 before the first large batch.
static HOME: AtomicU32 = AtomicU32::new(0);
/// The threads of a forked child, and its process.
static CHILD: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);

/// The place where a large batch runs.
pub(crate) enum Threads {
    /// On the calling thread.
    None,
    /// In the pool that the caller is in, or else in the global pool.
    Global,
    /// In the pool of a forked child.
    Pool(Arc<ThreadPool>),
}

/// Finds the threads of this process.
pub(crate) fn threads() -> Threads {
    let process = id();
    // A thread of a pool is alive, so its pool is.
    let at_home = current_thread_index().is_some()
        || match HOME.compare_exchange(0, process, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(home) => home == process,
        };
    match (at_home, current_num_threads()) {
        (_, 0 | 1) => Threads::None,
        (true, _) => Threads::Global,
        (false, count) => of_child(process, count),
    }
}

/// The pool of a forked child, started at the first call. If another thread held the lock at the
/// fork, or threads cannot be started, the batch runs on the calling thread: the result is the
/// same.
fn of_child(process: u32, count: usize) -> Threads {
    let Ok(mut child) = CHILD.try_lock() else { return Threads::None };
    if let Some((_, pool)) = child.as_ref().filter(|(owner, _)| *owner == process) {
        return Threads::Pool(Arc::clone(pool));
    }
    let Ok(pool) = ThreadPoolBuilder::new().num_threads(count).build() else {
        return Threads::None;
    };
    let pool = Arc::new(pool);
    // A pool of the parent has no threads here; it is forgotten, because its end would be waited
    // for.
    std::mem::forget(child.replace((process, Arc::clone(&pool))));
    Threads::Pool(pool)
}

#[cfg(test)]
mod tests {
    use std::process::id;

    use super::{Threads, of_child, threads};

    #[test]
    fn a_child_has_its_own_pool_and_keeps_it() {
        // The lock is not waited for, so that another test may hold it.
        let found = (0..1000).find_map(|_| match of_child(id(), 2) {
            Threads::Pool(pool) => Some(pool),
            _ => None,
        });
        let pool = found.unwrap();
        assert_eq!(pool.current_num_threads(), 2);
        assert_eq!(pool.install(|| 6 * 7), 42);
        if let Threads::Pool(again) = of_child(id(), 2) {
            assert!(std::sync::Arc::ptr_eq(&pool, &again));
        }
        assert!(!matches!(threads(), Threads::Pool(_)), "this process is no child");
    }
}
