//! Threads for computation, apart from those of the async runtime: a fixed number, a bounded queue
//! that is fair between flows, and work that ends early when its caller has gone.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::fair::{FairQueue, FlowShares, QueuePosition};

/// Number of pieces of work per thread that may be prepared: one runs, one waits for the thread.
const PREPARED: usize = 2;

/// Stack of a thread that parses texts, in bytes. The parsers of YAML and JSON bound the depth of
/// what they read, and need more than the standard library's 2 MiB for the deepest. Pages that are
/// not touched take no memory.
pub const PARSER_STACK: usize = 16 << 20;

/// Weight of the newest duration in the mean.
const NEWEST: f64 = 0.1;

/// Threads that compute for many flows.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use std::sync::atomic::Ordering;
///
/// use guerdon_queue::WorkThreads;
///
/// let threads = WorkThreads::start("squares", 2, 100).unwrap();
/// let permit = threads.enter(7, 1).await.unwrap();
/// let sum = permit
///     .run(|gone| (0..10_u64).take_while(|_| !gone.load(Ordering::Relaxed)).map(|n| n * n).sum())
///     .await;
/// assert_eq!(sum, Ok(285_u64));
/// # });
/// ```
pub struct WorkThreads {
    shared: Arc<WorkQueue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Work that was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The queue is full.
    #[error("the queue is full; a place is expected to be free in {wait:?}")]
    Full {
        /// The expected time until a place is free.
        wait: Duration,
    },
    /// The work panicked.
    #[error("the work panicked")]
    Panicked,
    /// The threads were stopped.
    #[error("the threads were stopped")]
    Stopped,
}

/// The right to give the threads one piece of work. Whatever the work needs is best prepared only
/// with a permit, so that what waits takes no memory.
#[derive(Debug)]
pub struct WorkPermit {
    /// `None` once the permit has been returned.
    shared: Option<Arc<WorkQueue>>,
}

type WorkJob = Box<dyn FnOnce() + Send>;

struct WorkQueue {
    state: Mutex<WorkState>,
    /// Signalled when a job is queued, and at the stop.
    changed: Condvar,
    threads: usize,
    max_waiting: usize,
}

#[derive(Default)]
struct WorkState {
    /// Callers without a permit.
    waiting: FairQueue<u64, WaitingCaller>,
    /// The callers without a permit, by flow.
    shares: FlowShares<u64>,
    free_permits: usize,
    jobs: VecDeque<WorkJob>,
    stopped: bool,
    /// Mean duration of a piece of work, in seconds.
    mean_seconds: f64,
}

/// A caller without a permit.
struct WaitingCaller {
    flow: u64,
    turn: oneshot::Sender<WorkPermit>,
}

impl WorkState {
    /// True if at least `max_waiting` callers wait, and `flow` has its fair share of them or more.
    /// A flow without any is let in beyond the bound.
    fn is_full_for(&self, flow: u64, max_waiting: usize) -> bool {
        self.waiting.len() >= max_waiting
            && (max_waiting == 0 || self.shares.has_its_share(&flow, max_waiting))
    }

    fn push(&mut self, caller: WaitingCaller, cost: u64) -> QueuePosition {
        let flow = caller.flow;
        self.shares.add(flow);
        self.waiting.push(flow, cost, 1, caller)
    }

    fn remove(&mut self, position: QueuePosition) -> Option<WaitingCaller> {
        let caller = self.waiting.remove(position)?;
        self.shares.remove(&caller.flow);
        Some(caller)
    }
}

impl fmt::Debug for WorkQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkQueue").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl fmt::Debug for WorkThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkThreads").field("threads", &self.shared.threads).finish_non_exhaustive()
    }
}

impl WorkThreads {
    /// Starts `threads` threads (at least one), for which about `max_waiting` callers wait: more only
    /// of flows that have less than their share of the places.
    ///
    /// # Errors
    /// [`io::Error`] if a thread cannot be started.
    pub fn start(name: &str, threads: usize, max_waiting: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let state = WorkState { free_permits: threads * PREPARED, ..WorkState::default() };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let shared = Arc::new(WorkQueue { state, changed, threads, max_waiting });
        let started = Self { shared: Arc::clone(&shared), threads: Mutex::default() };
        for index in 0..threads {
            let shared = Arc::clone(&shared);
            let name = format!("{name}-{index}");
            let thread = std::thread::Builder::new().name(name).stack_size(PARSER_STACK);
            // A failure drops `started`, which stops the others.
            started.threads.lock().push(thread.spawn(move || shared.work())?);
        }
        Ok(started)
    }

    /// Waits for a permit. Flows share the threads evenly by `cost`, in any unit that grows with
    /// the time of the work. Dropping the future gives up the place.
    ///
    /// # Errors
    /// [`WorkError::Full`], if too many callers wait; [`WorkError::Stopped`].
    pub async fn enter(&self, flow: u64, cost: u64) -> Result<WorkPermit, WorkError> {
        self.queue_for(flow, cost, self.shared.max_waiting)?.wait().await
    }

    /// As [`WorkThreads::enter`], for work that was admitted by [`WorkThreads::full_for_flow`]
    /// before: it waits also if the queue has filled since. The caller bounds how much it admits.
    ///
    /// # Errors
    /// [`WorkError::Stopped`].
    pub async fn enter_admitted(&self, flow: u64, cost: u64) -> Result<WorkPermit, WorkError> {
        self.queue_for(flow, cost, usize::MAX)?.wait().await
    }

    fn queue_for(
        &self,
        flow: u64,
        cost: u64,
        max_waiting: usize,
    ) -> Result<AwaitedTurn, WorkError> {
        let mut state = self.shared.state.lock();
        if state.stopped {
            return Err(WorkError::Stopped);
        }
        let (send, turn) = oneshot::channel();
        if state.free_permits > 0 && state.waiting.is_empty() {
            state.free_permits -= 1;
            let position = state.waiting.next_position(flow, cost, 1);
            state.waiting.serve(position);
            drop(state);
            // The receiver exists, so this cannot fail.
            drop(send.send(WorkPermit { shared: Some(Arc::clone(&self.shared)) }));
            return Ok(AwaitedTurn { turn, leave: None });
        }
        if state.is_full_for(flow, max_waiting) {
            return Err(WorkError::Full { wait: self.shared.expected_wait(&state) });
        }
        let position = state.push(WaitingCaller { flow, turn: send }, cost);
        Ok(AwaitedTurn { turn, leave: Some((position, Arc::clone(&self.shared))) })
    }

    /// The expected time until a place in the queue is free for `flow`; `None` if one is free now,
    /// or if the flow has less than its share.
    #[must_use]
    pub fn full_for_flow(&self, flow: u64) -> Option<Duration> {
        let state = self.shared.state.lock();
        let is_full = state.free_permits == 0 && state.is_full_for(flow, self.shared.max_waiting);
        is_full.then(|| self.shared.expected_wait(&state))
    }

    /// The expected time until a place in the queue is free; `None` if one is free now.
    #[must_use]
    pub fn full_for(&self) -> Option<Duration> {
        let state = self.shared.state.lock();
        let is_full = state.free_permits == 0 && state.waiting.len() >= self.shared.max_waiting;
        is_full.then(|| self.shared.expected_wait(&state))
    }

    /// Stops the threads and waits for them. Waiting work is dropped. Running work is not cancelled:
    /// its flag is set only when its caller goes, so stopping waits until it ends.
    pub fn stop(&self) {
        self.shared.stop();
        for thread in self.threads.lock().drain(..) {
            // Panics are caught, so the result holds nothing.
            drop(thread.join());
        }
    }
}

impl Drop for WorkThreads {
    /// Lets the threads end without waiting for them: this may be an async thread.
    fn drop(&mut self) {
        self.shared.stop();
    }
}

/// The wait for a permit. Leaves the queue when it is dropped.
struct AwaitedTurn {
    turn: oneshot::Receiver<WorkPermit>,
    leave: Option<(QueuePosition, Arc<WorkQueue>)>,
}

impl AwaitedTurn {
    async fn wait(mut self) -> Result<WorkPermit, WorkError> {
        let permit = (&mut self.turn).await;
        self.leave = None;
        permit.map_err(|_| WorkError::Stopped)
    }
}

impl Drop for AwaitedTurn {
    fn drop(&mut self) {
        if let Some((position, shared)) = self.leave.take() {
            // A permit that arrived meanwhile returns itself.
            drop(shared.state.lock().remove(position));
        }
    }
}

/// Sets a flag when the caller's future is dropped.
struct CallerGuard(Arc<AtomicBool>);

impl Drop for CallerGuard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl WorkPermit {
    /// Runs `work` on one of the threads. Its argument becomes true when this future is dropped,
    /// because the result is not needed any more.
    ///
    /// # Errors
    /// [`WorkError::Panicked`] or [`WorkError::Stopped`].
    pub async fn run<T: Send + 'static>(
        mut self,
        work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
    ) -> Result<T, WorkError> {
        let shared = self.shared.take().ok_or(WorkError::Stopped)?;
        let permit = Self { shared: Some(Arc::clone(&shared)) };
        let gone = Arc::new(AtomicBool::new(false));
        let _guard = CallerGuard(Arc::clone(&gone));
        let (send, receive) = oneshot::channel();
        let job = move || {
            if !gone.load(Ordering::Relaxed) {
                let started = Instant::now();
                let work = std::panic::AssertUnwindSafe(|| work(&gone));
                let result = std::panic::catch_unwind(work).map_err(|_| WorkError::Panicked);
                permit.record(started.elapsed());
                // The caller may have gone meanwhile.
                drop(send.send(result));
            }
            drop(permit);
        };
        shared.queue(Box::new(job))?;
        receive.await.map_err(|_| WorkError::Stopped)?
    }

    fn record(&self, took: Duration) {
        if let Some(shared) = &self.shared {
            let mut state = shared.state.lock();
            let mean = state.mean_seconds;
            let weight = if mean > 0.0 { NEWEST } else { 1.0 };
            state.mean_seconds = mean + weight * (took.as_secs_f64() - mean);
        }
    }
}

impl Drop for WorkPermit {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.give_back();
        }
    }
}

impl WorkQueue {
    fn queue(&self, job: WorkJob) -> Result<(), WorkError> {
        let mut state = self.state.lock();
        if state.stopped {
            drop(state);
            // Dropping the job returns its permit, which takes the lock.
            drop(job);
            return Err(WorkError::Stopped);
        }
        state.jobs.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Passes a permit on to the most urgent caller.
    fn give_back(self: &Arc<Self>) {
        let mut state = self.state.lock();
        while let Some((position, _)) = state.waiting.first() {
            state.waiting.serve(position);
            let Some(caller) = state.remove(position) else { break };
            match caller.turn.send(WorkPermit { shared: Some(Arc::clone(self)) }) {
                Ok(()) => return,
                // The caller has gone. The permit must not return itself under the lock.
                Err(mut unused) => unused.shared = None,
            }
        }
        state.free_permits += 1;
        if state.free_permits == self.threads * PREPARED {
            state.waiting.reset_clock();
        }
    }

    /// Runs jobs until the stop.
    fn work(&self) {
        let mut state = self.state.lock();
        while !state.stopped {
            match state.jobs.pop_front() {
                Some(job) => {
                    drop(state);
                    job();
                    state = self.state.lock();
                }
                None => self.changed.wait(&mut state),
            }
        }
    }

    fn stop(&self) {
        let (jobs, waiting) = {
            let mut state = self.state.lock();
            state.stopped = true;
            state.shares.clear();
            (std::mem::take(&mut state.jobs), std::mem::take(&mut state.waiting))
        };
        self.changed.notify_all();
        // Not under the lock: a job returns its permit.
        drop((jobs, waiting));
    }

    fn expected_wait(&self, state: &WorkState) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 callers wait")]
        let rounds = (state.waiting.len() + 1) as f64 / self.threads as f64;
        Duration::try_from_secs_f64(rounds * state.mean_seconds).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests;
