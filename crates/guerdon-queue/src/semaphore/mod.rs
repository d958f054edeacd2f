//! A counting semaphore whose waiters are served fairly between flows.
//!
//! Waiters of one flow keep their order, and flows take turns: a flow that wants a lot does not
//! delay a flow that wants little. Units that are held are never taken away, so flows that hold all
//! of them could still shut out a newcomer for as long as they like. Part of the units can
//! therefore be a reserve, which only the first permit of a flow may use.
//!
//! A permit can grow. Several that grow could end up waiting for each other's units. Further units
//! can therefore be set apart to complete one of them after another.

mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use self::state::SemaphoreSize;
use self::state::{Release, Request, SemaphoreState};
use crate::fair::QueuePosition;

/// A counting semaphore whose waiters are served fairly between flows. A flow is a number, such as
/// that of a client.
#[derive(Debug)]
pub struct FairSemaphore {
    state: Mutex<SemaphoreState<oneshot::Sender<FairPermit>>>,
    /// The number of permits that were asked for.
    permits: AtomicU64,
}

impl FairSemaphore {
    /// A semaphore of this size.
    #[must_use]
    pub fn new(size: SemaphoreSize) -> Arc<Self> {
        let state = Mutex::new(SemaphoreState::new(size));
        Arc::new(Self { state, permits: AtomicU64::new(0) })
    }

    /// Takes `units` together if they are free and nothing waits for them.
    #[must_use]
    pub fn try_acquire(self: &Arc<Self>, flow: u64, units: u64) -> Option<FairPermit> {
        let request = self.new_request(flow, units);
        let taken = self.state.lock().take(request);
        taken.then(|| FairPermit::new(self, request))
    }

    /// Waits until `units` are free and takes them together. Returns `None` if the semaphore has
    /// fewer in total, or too many requests of the flow wait.
    pub async fn acquire(self: &Arc<Self>, flow: u64, units: u64) -> Option<FairPermit> {
        self.wait(self.new_request(flow, units)).await
    }

    fn new_request(&self, flow: u64, units: u64) -> Request {
        let permit = self.permits.fetch_add(1, Ordering::Relaxed);
        Request { flow, units, permit, is_new: true, held: 0 }
    }

    /// Returns whether no unit is free and `flow` holds and waits for its fair share or more. Work
    /// that such a flow submits would wait behind its own.
    #[must_use]
    pub fn is_full_for(&self, flow: u64) -> bool {
        self.state.lock().is_full_for(flow)
    }

    /// The expected wait of a request of `flow` for `units`: those ahead of it in fair order,
    /// divided by the measured rate at which units are released. Zero before the first release.
    #[must_use]
    pub fn expected_wait(&self, flow: u64, units: u64) -> Duration {
        self.state.lock().expected_wait(flow, units)
    }

    /// The units for which requests wait.
    #[must_use]
    pub fn waiting_units(&self) -> u64 {
        self.state.lock().waiting_units()
    }

    /// The units that permits hold.
    #[must_use]
    pub fn held_units(&self) -> u64 {
        self.state.lock().held_units()
    }

    async fn wait(self: &Arc<Self>, request: Request) -> Option<FairPermit> {
        let (position, granted) = {
            let mut state = self.state.lock();
            if state.take(request) {
                return Some(FairPermit::new(self, request));
            }
            let (reply, granted) = oneshot::channel();
            (state.join(request, reply)?, granted)
        };
        let _leave = WaiterGuard { semaphore: self, position };
        if !request.is_new {
            // It may be the one to complete.
            self.update(|_| {});
        }
        granted.await.ok()
    }

    /// Changes the state and serves the waiters for which units are free then.
    fn update(
        self: &Arc<Self>,
        change: impl FnOnce(&mut SemaphoreState<oneshot::Sender<FairPermit>>),
    ) {
        let served = {
            let mut state = self.state.lock();
            change(&mut state);
            state.serve()
        };
        for (request, reply) in served {
            // If the waiter was cancelled just now, dropping the permit releases its units.
            drop(reply.send(FairPermit::new(self, request)));
        }
    }
}

/// Removes a cancelled request from the queue.
#[derive(Debug)]
struct WaiterGuard<'a> {
    semaphore: &'a Arc<FairSemaphore>,
    position: QueuePosition,
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        // The head of the queue may have been the request that blocked the others.
        self.semaphore.update(|state| state.leave(self.position));
    }
}

/// Units taken from a [`FairSemaphore`]; released when dropped.
#[derive(Debug)]
pub struct FairPermit {
    semaphore: Arc<FairSemaphore>,
    flow: u64,
    permit: u64,
    units: u64,
    /// False for units that extend another permit.
    is_whole: bool,
    since: Instant,
}

impl FairPermit {
    fn new(semaphore: &Arc<FairSemaphore>, request: Request) -> Self {
        let Request { flow, units, permit, is_new, .. } = request;
        let semaphore = Arc::clone(semaphore);
        Self { semaphore, flow, permit, units, is_whole: is_new, since: Instant::now() }
    }

    /// The number of units.
    #[must_use]
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// Waits until `units` more are free and adds them. Returns false, and adds nothing, if the
    /// semaphore has fewer in total or too many requests of the flow wait.
    pub async fn grow(&mut self, units: u64) -> bool {
        let Self { flow, permit, units: held, .. } = *self;
        let request = Request { flow, units, permit, is_new: false, held };
        let Some(mut more) = self.semaphore.wait(request).await else { return false };
        self.units += std::mem::take(&mut more.units);
        true
    }

    /// Splits `units` off, which are released on their own. Returns `None` if there are fewer.
    pub fn split(&mut self, units: u64) -> Option<Self> {
        self.units = self.units.checked_sub(units)?;
        let semaphore = Arc::clone(&self.semaphore);
        let Self { flow, permit, since, .. } = *self;
        Some(Self { semaphore, flow, permit, units, is_whole: false, since })
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        if self.units == 0 && !self.is_whole {
            return;
        }
        let release = Release {
            flow: self.flow,
            permit: self.permit,
            units: self.units,
            is_whole: self.is_whole,
            held: self.since.elapsed(),
        };
        self.semaphore.update(|state| state.release(release));
    }
}
