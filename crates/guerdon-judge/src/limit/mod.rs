//! Limits of one endpoint: a fair queue in front of request and token quotas, a concurrency limit,
//! and pauses.
//!
//! Questions of one flow are served in order; flows share by weight, counted in tokens (start-time
//! fair queueing: Goyal, Vin and Cheng, "Start-time fair queueing", IEEE/ACM Trans. Networking
//! 5(5), 1997). The head is never overtaken, so a large question gets its turn. Cancelled questions
//! leave the queue. An attempt that was refused for load returns to the head. A pause holds for the
//! whole endpoint, not only for the question that was refused. A question that cannot be served
//! within its deadline is rejected immediately, before anything is paid.

pub(crate) mod aimd;
pub(crate) mod breaker;
pub(crate) mod headers;
mod state;
pub(crate) mod window;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use headers::QuotaHeaders;
pub(crate) use state::{AttemptDemand, EndpointLimits, QueueFlow, QueuePosition};
use state::{AttemptGrant, LimitState, Settlement, WakeUps};

/// One endpoint's limits.
#[derive(Debug)]
pub(crate) struct Limit {
    state: Mutex<LimitState>,
    /// Held by the waiter that runs the timer for all waiters.
    watch: tokio::sync::Mutex<()>,
    changed: Notify,
}

/// The reason why an attempt may not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdmissionError {
    /// The pause of the endpoint ends after the deadline.
    PausedTooLong,
    /// The queue is longer than the time until the deadline.
    TooLate,
}

/// The signal that an ended attempt gives about load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadSignal {
    /// The endpoint answered.
    Carried,
    /// It refused for load, and asked for a pause.
    TooMuch(Duration),
    /// It failed without information about load.
    Unknown,
}

impl Limit {
    pub(crate) fn new(limits: EndpointLimits) -> Arc<Self> {
        let state = Mutex::new(LimitState::new(limits));
        Arc::new(Self { state, watch: tokio::sync::Mutex::default(), changed: Notify::new() })
    }

    /// Waits for a place; the attempt holds it.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        want: AttemptDemand,
    ) -> Result<AttemptPermit, AdmissionError> {
        let (place, mut granted) = {
            let mut state = self.state();
            let now = Instant::now();
            if let Some(grant) = state.try_grant(&want, now) {
                return Ok(AttemptPermit::new(self, grant).taken());
            }
            let (sender, granted) = oneshot::channel();
            (state.join(&want, sender, now)?, granted)
        };
        let _leaves = QueueGuard { limit: self, place };
        self.changed.notify_one();
        // The state that holds the other end lives as long as this.
        let taken = |reply: Result<Result<AttemptPermit, AdmissionError>, _>| {
            reply.unwrap_or(Err(AdmissionError::TooLate)).map(AttemptPermit::taken)
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

    /// A place for right now, or none.
    pub(crate) fn try_enter(self: &Arc<Self>, want: &AttemptDemand) -> Option<AttemptPermit> {
        let grant = self.state().try_grant(want, Instant::now())?;
        Some(AttemptPermit::new(self, grant).taken())
    }

    /// No attempt starts for `delay`.
    pub(crate) fn pause(&self, delay: Duration) {
        self.state().pause(Instant::now() + delay);
        self.changed.notify_one();
    }

    /// Updates the quotas from an endpoint's headers.
    pub(crate) fn sync(&self, quotas: &QuotaHeaders) {
        self.state().sync(quotas, Instant::now());
        self.changed.notify_one();
    }

    /// Attempts in flight and waiting questions, relative to the concurrency limit.
    pub(crate) fn crowding(&self) -> f64 {
        self.state().crowding()
    }

    /// Time until the queue takes new requests again, if it is full.
    pub(crate) fn full_for(&self) -> Option<Duration> {
        self.state().full_for(Instant::now())
    }

    /// End of the pause that the endpoint asked for.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.state().paused_until(Instant::now())
    }

    /// Grants what can be granted; returns the time of the next look.
    fn wake(self: &Arc<Self>) -> Option<Instant> {
        let WakeUps { replies, next } = self.state().wake(Instant::now());
        for (sender, grant) in replies {
            // If the receiver is gone, the permit is dropped and its reservation refunded.
            drop(sender.send(grant.map(|grant| AttemptPermit::new(self, grant))));
        }
        next
    }

    fn state(&self) -> MutexGuard<'_, LimitState> {
        self.state.lock()
    }
}

/// A place in the queue, left when dropped.
#[derive(Debug)]
struct QueueGuard<'a> {
    limit: &'a Limit,
    place: QueuePosition,
}

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        self.limit.state().leave(self.place);
        self.limit.changed.notify_one();
    }
}

/// Permission for one attempt in flight, returned when dropped. Its reservation counts as spent
/// unless it is settled, or the permit was never taken.
#[derive(Debug)]
pub(crate) struct AttemptPermit {
    limit: Arc<Limit>,
    grant: AttemptGrant,
    taken: bool,
}

impl AttemptPermit {
    fn new(limit: &Arc<Limit>, grant: AttemptGrant) -> Self {
        Self { limit: Arc::clone(limit), grant, taken: false }
    }

    fn taken(self) -> Self {
        let mut permit = self;
        permit.taken = true;
        permit
    }

    /// Queue position, for returning to the head.
    pub(crate) const fn place(&self) -> QueuePosition {
        self.grant.place
    }

    /// Ends the attempt with the number of tokens it used, if known.
    pub(crate) fn settle(self, tokens: Option<u64>, load: LoadSignal, took: Duration) {
        let settlement = Settlement { tokens, load, took };
        self.limit.state().settle(&self.grant, settlement, Instant::now());
    }

    /// Ends an attempt that the endpoint never saw.
    pub(crate) fn refund(mut self) {
        self.taken = false;
    }
}

impl Drop for AttemptPermit {
    fn drop(&mut self) {
        let mut state = self.limit.state();
        if !self.taken {
            state.refund(&self.grant, Instant::now());
        }
        state.release();
        drop(state);
        self.limit.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
