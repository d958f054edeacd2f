//! Admission to one address: a fair queue in front of its quotas of requests and tokens and its
//! limit of concurrent requests, with the pauses that the address requests.
//!
//! Items of one flow are admitted in their order; flows share by weight, counted in tokens. The
//! head of the queue is never overtaken, so a large request gets its turn. A caller that is
//! cancelled leaves the queue; a request that was refused returns to its position. A pause applies
//! to the address, not only to the request that received it. A caller that cannot be admitted
//! within its deadline is refused immediately, before it causes any cost.

mod demand;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub use self::demand::{AdmissionLimits, Demand, Flow, LoadSignal, Refusal};
use self::state::{Grant, State, Wakeup};
use crate::deadline;
use crate::fair::QueuePosition;
use crate::quota::QuotaReports;

/// The channel to a waiter.
type WaiterReply = oneshot::Sender<Result<AdmissionPermit, Refusal>>;

/// Admission to one address.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State<WaiterReply>>,
    /// Locked by the one waiter that waits for the time of the next admission, on behalf of all.
    watch: tokio::sync::Mutex<()>,
    changed: Notify,
}

impl Admission {
    /// An address with these limits.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Arc<Self> {
        let state = Mutex::new(State::new(limits));
        Arc::new(Self { state, watch: tokio::sync::Mutex::default(), changed: Notify::new() })
    }

    /// Waits until the request may be sent. It is in flight until the permit is dropped.
    ///
    /// # Errors
    ///
    /// Returns a [`Refusal`] if the deadline of `demand` cannot be met.
    pub async fn enter(self: &Arc<Self>, demand: Demand) -> Result<AdmissionPermit, Refusal> {
        let (position, mut granted) = {
            let mut state = self.state.lock();
            let now = Instant::now();
            if let Some(grant) = state.grant_at_once(&demand, now) {
                return Ok(AdmissionPermit::new(self, grant).taken());
            }
            let (reply, granted) = oneshot::channel();
            (state.join(&demand, reply, now)?, granted)
        };
        let _leave = LeaveOnDrop { admission: self, position };
        self.changed.notify_one();
        // The state keeps the other end of the channel as long as this request waits.
        let taken = |reply: Result<Result<AdmissionPermit, Refusal>, _>| {
            reply.unwrap_or(Err(Refusal::TooLate)).map(AdmissionPermit::taken)
        };
        let _watch = tokio::select! {
            biased;
            reply = &mut granted => return taken(reply),
            watch = self.watch.lock() => watch,
        };
        loop {
            let next = self.wake();
            let elapsed = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                reply = &mut granted => return taken(reply),
                () = self.changed.notified() => {}
                () = elapsed => {}
            }
        }
    }

    /// A permit without waiting, if one is free.
    #[must_use]
    pub fn try_enter(self: &Arc<Self>, demand: &Demand) -> Option<AdmissionPermit> {
        let grant = self.state.lock().grant_at_once(demand, Instant::now())?;
        Some(AdmissionPermit::new(self, grant).taken())
    }

    /// Pauses the address for `delay`, at most a year.
    pub fn pause(&self, delay: Duration) {
        self.state.lock().pause(deadline::after(Instant::now(), delay));
        self.changed.notify_one();
    }

    /// Applies the address's reports about its quotas. A quota that is not configured is learned
    /// from them.
    pub fn sync(&self, reports: &QuotaReports) {
        self.state.lock().sync(reports, Instant::now());
        self.changed.notify_one();
    }

    /// The load: the number of requests in flight and waiting, divided by the limit of requests in
    /// flight. A new request is answered sooner at a smaller load.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.state.lock().load()
    }

    /// Time until the queue takes new requests of `client`, if it is full and the client has its
    /// share of it. A full queue does not refuse requests: they may belong to a batch that was
    /// admitted whole. The caller refuses new batches.
    #[must_use]
    pub fn full_for(&self, client: u64) -> Option<Duration> {
        self.state.lock().full_for(client, Instant::now())
    }

    /// The end of the pause that the address has asked for, if it is in the future.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.state.lock().paused_until(Instant::now())
    }

    /// Admits the requests at the head of the queue that may be sent. Returns the time of the next
    /// check.
    fn wake(self: &Arc<Self>) -> Option<Instant> {
        let Wakeup { replies, next } = self.state.lock().wake(Instant::now());
        for (reply, grant) in replies {
            // If the waiter was cancelled just now, dropping the permit gives the grant back.
            drop(reply.send(grant.map(|grant| AdmissionPermit::new(self, grant))));
        }
        next
    }
}

/// Removes a cancelled request from the queue.
#[derive(Debug)]
struct LeaveOnDrop<'a> {
    admission: &'a Admission,
    position: QueuePosition,
}

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        self.admission.state.lock().leave(self.position);
        self.admission.changed.notify_one();
    }
}

/// The permission to send one request. Dropping it ends the request; its quota then stays spent
/// unless it was settled or refunded.
#[derive(Debug)]
pub struct AdmissionPermit {
    admission: Arc<Admission>,
    grant: Grant,
    /// False until the waiter has received it, and again after a refund.
    taken: bool,
}

impl AdmissionPermit {
    fn new(admission: &Arc<Admission>, grant: Grant) -> Self {
        Self { admission: Arc::clone(admission), grant, taken: false }
    }

    fn taken(mut self) -> Self {
        self.taken = true;
        self
    }

    /// The position that the request had, with which it can return to the head of the queue.
    #[must_use]
    pub const fn position(&self) -> QueuePosition {
        self.grant.position
    }

    /// Ends the request. `tokens` is the number that it used, if that is known; `took` is the time
    /// since it was sent.
    pub fn settle(self, tokens: Option<u64>, load: LoadSignal, took: Duration) {
        self.admission.state.lock().settle(&self.grant, tokens, load, took);
    }

    /// Ends a request that did not reach the address, and returns its quota.
    pub fn refund(mut self) {
        self.taken = false;
    }
}

impl Drop for AdmissionPermit {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        if !self.taken {
            state.refund(&self.grant, Instant::now());
        }
        state.release();
        drop(state);
        self.admission.changed.notify_one();
    }
}
