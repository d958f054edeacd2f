//! Admission to one address: a fair queue in front of its quotas of requests and tokens and of the
//! requests that it can carry at once, with the pauses that it asks for.
//!
//! Items of one flow are admitted in their order; flows share by weight, counted in tokens. The
//! head of the queue is never overtaken, so a large request gets its turn. A caller that is
//! cancelled leaves the queue; a request that was refused returns to its position. A pause holds for
//! the address, not only for the request that received it. A caller that cannot be admitted
//! within its deadline is refused at once, before anything is paid.

mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use self::state::{Grant, State, Wakeup};
use crate::deadline;
use crate::fair::QueuePosition;
use crate::quota::QuotaReports;

/// The configured limits of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Most requests in flight. The number in use adapts below it.
    pub max_concurrent: usize,
    /// Waiting requests at which [`Admission::full_for`] reports a full queue.
    pub max_queued: usize,
    /// Quota of requests in `span`.
    pub requests: Option<u64>,
    /// Quota of tokens in `span`.
    pub tokens: Option<u64>,
    /// The time over which the quotas are counted.
    pub span: Duration,
}

/// The flow to which a request belongs. Requests of one flow keep their order; flows share the
/// address by weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// The name, such as that of a run or a profile.
    pub name: Arc<str>,
    /// The client. Each client's requests of one name are a flow of their own.
    pub client: u64,
    /// The share relative to other flows.
    pub weight: u32,
}

impl Flow {
    /// A flow of client 0.
    #[must_use]
    pub fn new(name: &str, weight: u32) -> Self {
        Self { name: name.into(), client: 0, weight }
    }
}

/// The resources that a request needs.
#[derive(Debug, Clone)]
pub struct Demand {
    /// An estimate of its tokens, settled afterwards.
    pub tokens: u64,
    /// Its flow.
    pub flow: Flow,
    /// The time after which its result is useless.
    pub deadline: Option<Instant>,
    /// Its earlier position, if it returns after a refusal; see [`Permit::position`].
    pub position: Option<QueuePosition>,
}

/// The reason why a request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The address is paused beyond the request's deadline.
    PausedTooLong,
    /// The queue takes longer than the request's deadline.
    TooLate,
}

/// The result of a request as far as the load of the address is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadSignal {
    /// The address answered.
    Accepted,
    /// The address refused for load, and asked for a pause, which may be zero.
    Overloaded(Duration),
    /// The request failed for a reason other than load.
    Unknown,
}

/// Admission to one address.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
    /// Held by the waiter that watches the clock for all.
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
    pub async fn enter(self: &Arc<Self>, demand: Demand) -> Result<Permit, Refusal> {
        let (position, mut granted) = {
            let mut state = self.state.lock();
            let now = Instant::now();
            if let Some(grant) = state.grant_at_once(&demand, now) {
                return Ok(Permit::new(self, grant).taken());
            }
            let (reply, granted) = oneshot::channel();
            (state.join(&demand, reply, now)?, granted)
        };
        let _leave = LeaveOnDrop { admission: self, position };
        self.changed.notify_one();
        // The state holds the other end for as long as this request waits.
        let taken = |reply: Result<Result<Permit, Refusal>, _>| {
            reply.unwrap_or(Err(Refusal::TooLate)).map(Permit::taken)
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
    pub fn try_enter(self: &Arc<Self>, demand: &Demand) -> Option<Permit> {
        let grant = self.state.lock().grant_at_once(demand, Instant::now())?;
        Some(Permit::new(self, grant).taken())
    }

    /// Starts no request for `delay`, at most a year.
    pub fn pause(&self, delay: Duration) {
        self.state.lock().pause(deadline::after(Instant::now(), delay));
        self.changed.notify_one();
    }

    /// Takes over the address's reports about its quotas. A quota that is not configured is learned
    /// from them.
    pub fn sync(&self, reports: &QuotaReports) {
        self.state.lock().sync(reports, Instant::now());
        self.changed.notify_one();
    }

    /// Requests in flight and waiting, per request that may be in flight: the smaller, the sooner
    /// another one is answered.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.state.lock().load()
    }

    /// Time until the queue takes new requests, if it is full. A full queue does not refuse
    /// requests: they may belong to a batch that was admitted whole. The caller refuses new batches.
    #[must_use]
    pub fn full_for(&self) -> Option<Duration> {
        self.state.lock().full_for(Instant::now())
    }

    /// The end of the pause that the address has asked for, if it is in the future.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.state.lock().paused_until(Instant::now())
    }

    /// Admits the requests at the head of the queue that may be sent. Returns the time at which to
    /// look again.
    fn wake(self: &Arc<Self>) -> Option<Instant> {
        let Wakeup { replies, next } = self.state.lock().wake(Instant::now());
        for (reply, grant) in replies {
            // If the waiter was cancelled just now, dropping the permit gives the grant back.
            drop(reply.send(grant.map(|grant| Permit::new(self, grant))));
        }
        next
    }
}

/// Takes a cancelled request out of the queue.
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
pub struct Permit {
    admission: Arc<Admission>,
    grant: Grant,
    /// False until the waiter has received it, and again after a refund.
    taken: bool,
}

impl Permit {
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

    /// Ends a request that the address never saw: it used no quota.
    pub fn refund(mut self) {
        self.taken = false;
    }
}

impl Drop for Permit {
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
