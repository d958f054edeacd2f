//! One endpoint's limits: a fair queue in front of its quotas of requests and tokens and of the attempts that it can
//! carry at once; the pauses that it asks for; and the times when it is left alone.
//!
//! First come, first served within a flow; flows share by weight, counted in tokens (start-time fair queueing: Goyal,
//! Vin and Cheng, "Start-time fair queueing", IEEE/ACM Trans. Networking 5(5), 1997). The head is never overtaken, so a
//! big question gets its turn. Whoever hangs up leaves the queue; an attempt that was refused comes back to its head. A
//! pause holds for the endpoint, not only for the question that was told of it. Whoever cannot be served within its
//! deadline is told at once, before anything is paid.

pub(crate) mod aimd;
pub(crate) mod breaker;
pub(crate) mod headers;
mod state;
pub(crate) mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use headers::Quotas;
pub(crate) use state::{Flow, Limits, Place, Want};
use state::{Grant, State, Woken};

/// One endpoint's limits.
#[derive(Debug)]
pub(crate) struct Limit {
    state: Mutex<State>,
    /// Whoever holds it keeps the time for all who wait.
    watch: tokio::sync::Mutex<()>,
    changed: Notify,
}

/// Why an attempt may not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The endpoint is paused beyond the time that the asker has.
    PausedTooLong,
    /// The queue is longer than the time that the asker has.
    TooLate,
}

/// How an attempt ended, as far as load is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// The endpoint answered.
    Carried,
    /// It refused for load, and asked for a pause.
    TooMuch(Duration),
    /// It failed in a way that says nothing about load.
    Unknown,
}

impl Limit {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let state = Mutex::new(State::new(limits));
        Arc::new(Self { state, watch: tokio::sync::Mutex::default(), changed: Notify::new() })
    }

    /// Waits for a place; the attempt holds it.
    pub(crate) async fn enter(self: &Arc<Self>, want: Want) -> Result<Permit, Refused> {
        let (place, mut granted) = {
            let mut state = self.state();
            let now = Instant::now();
            if let Some(grant) = state.at_once(&want, now) {
                return Ok(Permit::new(self, grant).taken());
            }
            let (tell, granted) = oneshot::channel();
            (state.join(&want, tell, now)?, granted)
        };
        let _leaves = Waiting { limit: self, place };
        self.changed.notify_one();
        // The state that holds the other end lives as long as this.
        let taken = |told: Result<Result<Permit, Refused>, _>| {
            told.unwrap_or(Err(Refused::TooLate)).map(Permit::taken)
        };
        let _watch = tokio::select! {
            biased;
            told = &mut granted => return taken(told),
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
                told = &mut granted => return taken(told),
                () = self.changed.notified() => {}
                () = elapsed => {}
            }
        }
    }

    /// A place for right now, or none.
    pub(crate) fn try_enter(self: &Arc<Self>, want: &Want) -> Option<Permit> {
        let grant = self.state().at_once(want, Instant::now())?;
        Some(Permit::new(self, grant).taken())
    }

    /// No attempt starts for `delay`.
    pub(crate) fn pause(&self, delay: Duration) {
        self.state().pause(Instant::now() + delay);
        self.changed.notify_one();
    }

    /// Takes over what the endpoint says of its quotas.
    pub(crate) fn sync(&self, quotas: &Quotas) {
        self.state().sync(quotas, Instant::now());
        self.changed.notify_one();
    }

    /// Attempts under way and questions that wait, for each that may be under way: the smaller, the sooner.
    pub(crate) fn crowd(&self) -> f64 {
        self.state().crowd()
    }

    /// Time until the queue takes new requests again, if it is full.
    pub(crate) fn full_for(&self) -> Option<Duration> {
        self.state().full_for(Instant::now())
    }

    /// Until when the endpoint has asked to be left alone.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.state().paused_until(Instant::now())
    }

    /// Lets in who may enter; says when to look again.
    fn wake(self: &Arc<Self>) -> Option<Instant> {
        let Woken { told, next } = self.state().wake(Instant::now());
        for (tell, grant) in told {
            // Whoever hung up just now gives it back by dropping it.
            drop(tell.send(grant.map(|grant| Permit::new(self, grant))));
        }
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, left when dropped.
#[derive(Debug)]
struct Waiting<'a> {
    limit: &'a Limit,
    place: Place,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.limit.state().leave(self.place);
        self.limit.changed.notify_one();
    }
}

/// A place among the attempts under way, left when dropped. What it reserved stays spent unless it is settled, or nobody
/// ever took it.
#[derive(Debug)]
pub(crate) struct Permit {
    limit: Arc<Limit>,
    grant: Grant,
    taken: bool,
}

impl Permit {
    fn new(limit: &Arc<Limit>, grant: Grant) -> Self {
        Self { limit: Arc::clone(limit), grant, taken: false }
    }

    fn taken(self) -> Self {
        let mut permit = self;
        permit.taken = true;
        permit
    }

    /// Where this stood in the queue, to come back to its head.
    pub(crate) const fn place(&self) -> Place {
        self.grant.place
    }

    /// Ends the attempt: `tokens` is what it used, if that is known.
    pub(crate) fn settle(self, tokens: Option<u64>, load: Load, took: Duration) {
        self.limit.state().settle(&self.grant, tokens, load, took, Instant::now());
    }

    /// Ends an attempt that the endpoint never saw.
    pub(crate) fn refund(mut self) {
        self.taken = false;
    }
}

impl Drop for Permit {
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
