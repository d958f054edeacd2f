//! The state behind the lock of a [`FairSemaphore`](super::FairSemaphore).

use std::collections::HashMap;
use std::time::Duration;

use crate::fair::{FairQueue, QueuePosition, fair_share};

/// The weight of a new duration in the running mean.
const EWMA: f64 = 0.1;

/// The size of a [`FairSemaphore`](super::FairSemaphore).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SemaphoreSize {
    /// Units that every permit may use.
    pub units: u64,
    /// Units beyond them that only the first permit of a flow may use.
    pub reserve: u64,
    /// Requests of one flow that may wait. Further ones are refused.
    pub max_waiting: usize,
}

/// Units that a flow asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) flow: u64,
    pub(super) units: u64,
    /// True for a new permit, false for more units of an existing one.
    pub(super) is_new: bool,
}

/// Units that a permit returns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Release {
    pub(super) flow: u64,
    pub(super) units: u64,
    pub(super) is_whole: bool,
    pub(super) held: Duration,
}

#[derive(Debug)]
struct WaitingRequest<R> {
    request: Request,
    reply: R,
}

/// The use of one flow. Kept while it holds or waits for something.
#[derive(Debug, Default)]
struct FlowUse {
    permits: usize,
    units: u64,
    waiting: usize,
    waiting_units: u64,
}

/// The units in use and the waiters. `R` is the channel to a waiter.
#[derive(Debug)]
pub(super) struct SemaphoreState<R> {
    size: SemaphoreSize,
    used: u64,
    flows: HashMap<u64, FlowUse>,
    queue: FairQueue<u64, WaitingRequest<R>>,
    /// Mean time for which units are held, in seconds.
    mean_held: Option<f64>,
}

impl<R> SemaphoreState<R> {
    pub(super) fn new(size: SemaphoreSize) -> Self {
        let (flows, queue) = (HashMap::new(), FairQueue::default());
        Self { size, used: 0, flows, queue, mean_held: None }
    }

    /// Takes the units if they are free. Waiters are not overtaken, except by a request that may
    /// use the reserve: those that wait may not, or do not fit.
    pub(super) fn take(&mut self, request: Request) -> bool {
        let fits = if self.queue.is_empty() {
            self.fits(request)
        } else {
            self.size.reserve > 0 && self.may_use_reserve(request) && self.fits(request)
        };
        if fits {
            self.hold(request);
        }
        fits
    }

    /// Adds the request to the queue. Returns `None` if it could never be served or too many
    /// requests of the flow wait.
    pub(super) fn join(&mut self, request: Request, reply: R) -> Option<QueuePosition> {
        let flow = self.flows.get(&request.flow);
        let (held, waiting) = flow.map_or((0, 0), |flow| (flow.units, flow.waiting));
        let own = if request.is_new { 0 } else { held };
        let total = self.size.units.saturating_add(self.size.reserve);
        if own.saturating_add(request.units) > total || waiting >= self.size.max_waiting {
            return None;
        }
        let flow = self.flows.entry(request.flow).or_default();
        flow.waiting += 1;
        flow.waiting_units += request.units;
        if self.queue.is_empty() && self.used == 0 {
            self.queue.reset_clock();
        }
        let waiter = WaitingRequest { request, reply };
        Some(self.queue.push(request.flow, request.units, 1, waiter))
    }

    pub(super) fn leave(&mut self, position: QueuePosition) {
        if let Some(waiter) = self.queue.remove(position) {
            self.forget_waiting(waiter.request);
        }
    }

    pub(super) fn release(&mut self, release: Release) {
        self.used = self.used.saturating_sub(release.units);
        if let Some(flow) = self.flows.get_mut(&release.flow) {
            flow.units = flow.units.saturating_sub(release.units);
            flow.permits = flow.permits.saturating_sub(usize::from(release.is_whole));
        }
        self.remove_if_idle(release.flow);
        let held = release.held.as_secs_f64();
        self.mean_held = Some(self.mean_held.map_or(held, |mean| mean + EWMA * (held - mean)));
    }

    /// Takes units for the waiters that fit, in fair order. The first that does not fit blocks those
    /// behind it, except those that may use the reserve.
    pub(super) fn serve(&mut self) -> Vec<(Request, R)> {
        let mut served = Vec::new();
        while let Some((position, waiter)) = self.queue.first() {
            if !self.fits(waiter.request) {
                break;
            }
            served.extend(self.grant(position));
        }
        if self.size.reserve > 0 && self.used < self.size.units.saturating_add(self.size.reserve) {
            let first = |waiter: &WaitingRequest<R>| self.may_use_reserve(waiter.request);
            let waiting = self.queue.iter().filter(|(_, waiter)| first(waiter));
            let positions: Vec<QueuePosition> = waiting.map(|(position, _)| position).collect();
            for position in positions {
                // Checked again: a grant changes both.
                let request = self.queue.get(position).map(|waiter| waiter.request);
                if request.is_some_and(|r| self.may_use_reserve(r) && self.fits(r)) {
                    served.extend(self.grant(position));
                }
            }
        }
        served
    }

    fn grant(&mut self, position: QueuePosition) -> Option<(Request, R)> {
        let WaitingRequest { request, reply } = self.queue.remove(position)?;
        self.queue.serve(position);
        self.forget_waiting(request);
        self.hold(request);
        Some((request, reply))
    }

    fn hold(&mut self, request: Request) {
        self.used += request.units;
        let flow = self.flows.entry(request.flow).or_default();
        flow.units += request.units;
        flow.permits += usize::from(request.is_new);
    }

    fn forget_waiting(&mut self, request: Request) {
        if let Some(flow) = self.flows.get_mut(&request.flow) {
            flow.waiting = flow.waiting.saturating_sub(1);
            flow.waiting_units = flow.waiting_units.saturating_sub(request.units);
        }
        self.remove_if_idle(request.flow);
    }

    fn remove_if_idle(&mut self, flow: u64) {
        let idle = |flow: &FlowUse| flow.permits == 0 && flow.units == 0 && flow.waiting == 0;
        if self.flows.get(&flow).is_some_and(idle) {
            self.flows.remove(&flow);
        }
    }

    fn fits(&self, request: Request) -> bool {
        let reserve = if self.may_use_reserve(request) { self.size.reserve } else { 0 };
        self.used.saturating_add(request.units) <= self.size.units.saturating_add(reserve)
    }

    /// True for the first permit of a flow, and for its growth while it is the only one.
    fn may_use_reserve(&self, request: Request) -> bool {
        let permits = self.flows.get(&request.flow).map_or(0, |flow| flow.permits);
        permits == usize::from(!request.is_new)
    }

    pub(super) fn is_full_for(&self, flow: u64) -> bool {
        if self.used < self.size.units {
            return false;
        }
        if self.size.units == 0 {
            return true;
        }
        let own = self.flows.get(&flow).map_or(0, |flow| flow.units + flow.waiting_units);
        let newcomer = usize::from(!self.flows.contains_key(&flow));
        own >= fair_share(self.size.units, self.flows.len() + newcomer)
    }

    pub(super) fn waiting_units(&self) -> u64 {
        self.queue.cost()
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn expected_wait(&self, flow: u64, units: u64) -> Duration {
        let own = self.flows.get(&flow).map_or(0, |flow| flow.waiting_units);
        let mine = own.saturating_add(units);
        // Other flows take turns with this one, so no more than `mine` of each is ahead.
        let others = self.flows.iter().filter(|(other, _)| **other != flow);
        let ahead =
            others.map(|(_, other)| other.waiting_units.min(mine)).fold(mine, u64::saturating_add);
        let missing = self.used.saturating_add(ahead).saturating_sub(self.size.units);
        let rounds = missing as f64 / self.size.units.max(1) as f64;
        let seconds = self.mean_held.unwrap_or_default() * rounds;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}
