//! Admission to the addresses of one service: one fair queue in front of all of them, and for each
//! address its quotas of requests and tokens, its limit of concurrent requests, the pauses that it
//! asked for and its health.
//!
//! Requests wait for the service, and addresses take them when they can, so no request waits behind
//! a slow or paused address while another one is free. Items of one flow are admitted in their
//! order; flows share by weight, counted in tokens. The head of the queue is never overtaken, so a
//! large request gets its turn; only a request that avoids the address at which it has just failed
//! lets others pass. A caller that is cancelled leaves the queue; a request that was refused
//! returns to its position. A caller that cannot be admitted within its deadline is refused
//! immediately, before it causes any cost.
//!
//! While an address is half-open, a waiting caller gets a permit for a
//! [probe](AdmissionPermit::is_probe). It sends a request of its own making, reports the result and
//! queues again.

#[cfg(test)]
mod addresses;
mod demand;
mod lane;
mod state;
#[cfg(test)]
mod tests;
mod waiters;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub use self::demand::{
    AddressState, AddressStatus, AdmissionLimits, AdmissionStatus, Demand, Flow, LoadSignal,
    ProbeResult, Refusal, TokenEstimate,
};
use self::lane::LONGEST_PAUSE;
use self::state::{AdmissionState, Grant, Wakeup};
use crate::fair::QueuePosition;
use crate::quota::QuotaReports;

/// The channel to a waiter.
type WaiterReply = oneshot::Sender<Result<AdmissionPermit, Refusal>>;

/// Admission to the addresses of one service.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<AdmissionState<WaiterReply>>,
    /// Locked by the one waiter that waits for the time of the next admission, on behalf of all.
    watch: tokio::sync::Mutex<()>,
    changed: Notify,
}

impl Admission {
    /// `addresses` addresses, at least one, each with these limits.
    #[must_use]
    pub fn new(limits: AdmissionLimits, addresses: usize) -> Arc<Self> {
        let state = Mutex::new(AdmissionState::new(limits, addresses));
        Arc::new(Self { state, watch: tokio::sync::Mutex::default(), changed: Notify::new() })
    }

    /// Waits until the request may be sent. It is in flight until the permit is dropped.
    ///
    /// # Errors
    ///
    /// Returns a [`Refusal`] if the deadline of `demand` cannot be met, or no address is up.
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

    /// A permit without waiting, if one is free. Never one for a probe.
    #[must_use]
    pub fn try_enter(self: &Arc<Self>, demand: &Demand) -> Option<AdmissionPermit> {
        let grant = self.state.lock().grant_at_once(demand, Instant::now())?;
        let permit = AdmissionPermit::new(self, grant).taken();
        (!permit.is_probe()).then_some(permit)
    }

    /// Applies the reports of an address about its quotas, read from the reply to a request that
    /// was sent at `sent`. A quota that is not configured is learned from them.
    pub fn sync(&self, address: usize, reports: &QuotaReports, sent: Instant) {
        if let Some(lane) = self.state.lock().lanes.get_mut(address) {
            lane.sync(reports, sent, Instant::now());
        }
        self.changed.notify_one();
    }

    /// A lower bound of the time until the quotas have allowed `requests` more requests of `tokens`
    /// tokens each. Zero if no address is usable.
    #[must_use]
    pub fn batch_wait(&self, requests: u64, tokens: u64) -> Duration {
        let ahead = requests.saturating_sub(1);
        let ahead = (ahead, tokens.saturating_mul(ahead));
        self.state.lock().quota_wait(tokens, ahead, Instant::now())
    }

    /// Pauses an address, as if it had asked for it: another client was told.
    pub fn pause(&self, address: usize, pause: Duration) {
        if let Some(lane) = self.state.lock().lanes.get_mut(address) {
            lane.pause(pause.min(LONGEST_PAUSE), Instant::now());
        }
        self.changed.notify_one();
    }

    /// The load: the number of requests in flight and waiting, divided by the limit of requests in
    /// flight.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.state.lock().load()
    }

    /// The queue and the addresses, for reports.
    #[must_use]
    pub fn status(&self) -> AdmissionStatus {
        self.state.lock().status(Instant::now())
    }

    /// Time until the queue takes new requests of `client`, if it is full and the client has its
    /// share of it. A full queue does not refuse requests: they may belong to a batch that was
    /// admitted whole. The caller refuses new batches.
    #[must_use]
    pub fn full_for(&self, client: u64) -> Option<Duration> {
        self.state.lock().full_for(client, Instant::now())
    }

    /// Waits until a request that was sent to `address` at `sent` counts as stalled: the address
    /// has answered nothing since, another one is usable, and ten times its usual time has passed.
    /// Never ends for a service with one address.
    pub async fn stalled(&self, address: usize, sent: Instant) {
        loop {
            let now = Instant::now();
            let Some(at) = self.state.lock().stalled_at(address, sent, now) else {
                return std::future::pending().await;
            };
            if at <= now {
                return;
            }
            tokio::time::sleep_until(at).await;
        }
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
/// unless it was settled or refunded. A probe that is dropped is abandoned.
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

    /// The index of the address.
    #[must_use]
    pub const fn address(&self) -> usize {
        self.grant.address
    }

    /// True if the permit is for a probe: a request of the caller's own making that shows whether
    /// the address works. Its result is reported with [`AdmissionPermit::probed`].
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.grant.lane.is_none()
    }

    /// The position that the request had, with which it can return to the head of the queue.
    #[must_use]
    pub const fn position(&self) -> QueuePosition {
        self.grant.position
    }

    /// The number of failed probes through which the caller still waits if it queues again.
    #[must_use]
    pub const fn probes(&self) -> u32 {
        self.grant.probes
    }

    /// Ends the request. `tokens` is the number that it used, if that is known; `took` is the time
    /// since it was sent.
    pub fn settle(self, tokens: Option<u64>, signal: LoadSignal, took: Duration) {
        let now = Instant::now();
        let mut state = self.admission.state.lock();
        if let Some(lane) = state.lanes.get_mut(self.grant.address) {
            if let Some(grant) = self.grant.lane {
                lane.used(grant, tokens, now);
            }
            lane.observe(signal, took, now);
        }
        // Before `self` is dropped, which takes the lock.
        drop(state);
    }

    /// Ends a probe.
    pub fn probed(self, result: ProbeResult) {
        let now = Instant::now();
        let mut state = self.admission.state.lock();
        let address = self.grant.address;
        match (result, state.lanes.get_mut(address)) {
            (ProbeResult::Passed, Some(lane)) => lane.health.probe_passed(now),
            (ProbeResult::Closed, Some(lane)) if !lane.health.is_closed() => {
                lane.health.close(now);
            }
            _ => state.probe_failed(address, now),
        }
        drop(state);
    }

    /// Ends a request that did not reach the address, and returns its quota.
    pub fn refund(mut self) {
        self.taken = false;
    }
}

impl Drop for AdmissionPermit {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        if let Some(lane) = state.lanes.get_mut(self.grant.address) {
            match self.grant.lane {
                Some(grant) if !self.taken => lane.refund(grant, Instant::now()),
                Some(_) => {}
                None => lane.health.probe_abandoned(),
            }
        }
        state.release(&self.grant);
        drop(state);
        self.admission.changed.notify_one();
    }
}
