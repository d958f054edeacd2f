//! The permission to send one request to one address.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Admission;
use super::demand::{LoadSignal, ProbeResult};
use super::state::Grant;
use crate::fair::QueuePosition;

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
    pub(super) fn new(admission: &Arc<Admission>, grant: Grant) -> Self {
        Self { admission: Arc::clone(admission), grant, taken: false }
    }

    pub(super) fn taken(mut self) -> Self {
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
