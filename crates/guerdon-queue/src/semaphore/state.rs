//! The state behind the lock of a [`FairSemaphore`](super::FairSemaphore).

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
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
    /// Units beyond both for one growing permit at a time, which fits nowhere else. With as many as
    /// a permit can grow by, permits that wait for each other's units are completed in turn.
    pub completion: u64,
    /// Requests of one flow that may wait. Further ones are refused.
    pub max_waiting: usize,
}

/// Units that a flow asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) flow: u64,
    pub(super) units: u64,
    /// The number of the permit.
    pub(super) permit: u64,
    /// True for a new permit, false for more units of an existing one.
    pub(super) is_new: bool,
    /// The units that the permit already has.
    pub(super) held: u64,
}

/// Units that a permit returns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Release {
    pub(super) flow: u64,
    pub(super) permit: u64,
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
    waiting_units: u64,
    /// Waiting requests for new permits.
    new: BTreeSet<QueuePosition>,
    /// Waiting requests for more units.
    growing: BTreeSet<QueuePosition>,
    /// The request that may use the reserve.
    reserving: Option<QueuePosition>,
}

impl FlowUse {
    fn waiting(&self) -> usize {
        self.new.len() + self.growing.len()
    }

    fn positions(&mut self, request: Request) -> &mut BTreeSet<QueuePosition> {
        if request.is_new { &mut self.new } else { &mut self.growing }
    }
}

/// The permit that may use the units for completion. It keeps them until it is released.
#[derive(Debug, Clone, Copy)]
struct CompletedPermit {
    permit: u64,
    /// The units for completion that it has.
    units: u64,
    /// Its request, while it waits.
    waiting: Option<QueuePosition>,
}

/// The units in use and the waiters. `R` is the channel to a waiter.
#[derive(Debug)]
pub(super) struct SemaphoreState<R> {
    size: SemaphoreSize,
    used: u64,
    flows: HashMap<u64, FlowUse>,
    queue: FairQueue<u64, WaitingRequest<R>>,
    /// The requests that may use the reserve, at most one of each flow.
    reserving: BTreeSet<QueuePosition>,
    /// The requests for more units, of all flows.
    growing: BTreeSet<QueuePosition>,
    completed: Option<CompletedPermit>,
    /// Mean time for which units are held, in seconds.
    mean_held: Option<f64>,
}

impl<R> SemaphoreState<R> {
    pub(super) fn new(size: SemaphoreSize) -> Self {
        Self {
            size,
            used: 0,
            flows: HashMap::new(),
            queue: FairQueue::default(),
            reserving: BTreeSet::new(),
            growing: BTreeSet::new(),
            completed: None,
            mean_held: None,
        }
    }

    /// Takes the units if they are free. Waiters are not overtaken, except by a request that may
    /// use the reserve or the units for completion: those that wait may not, or do not fit.
    pub(super) fn take(&mut self, request: Request) -> bool {
        let overtakes = self.size.reserve > 0 && self.may_use_reserve(request);
        let fits = (self.queue.is_empty() || overtakes) && self.fits(request);
        if fits {
            self.hold(request);
        }
        fits || self.take_for_completion(request)
    }

    /// Takes units for completion, if they are free and the request is one of the permit that is
    /// completed.
    fn take_for_completion(&mut self, request: Request) -> bool {
        let completed = self.completed.as_mut().filter(|of| of.permit == request.permit);
        let Some(completed) = completed.filter(|_| !request.is_new) else { return false };
        let units = completed.units.saturating_add(request.units);
        if units > self.size.completion {
            return false;
        }
        completed.units = units;
        self.flows.entry(request.flow).or_default().units += request.units;
        true
    }

    /// Adds the request to the queue. Returns `None` if it could never be served or too many
    /// requests of the flow wait.
    pub(super) fn join(&mut self, request: Request, reply: R) -> Option<QueuePosition> {
        let waiting = self.flows.get(&request.flow).map_or(0, FlowUse::waiting);
        let most = self.size.units.saturating_add(self.size.reserve);
        let most = if request.is_new { most } else { most.saturating_add(self.size.completion) };
        if request.held.saturating_add(request.units) > most || waiting >= self.size.max_waiting {
            return None;
        }
        if self.queue.is_empty() && self.used == 0 {
            self.queue.reset_clock();
        }
        let position =
            self.queue.push(request.flow, request.units, 1, WaitingRequest { request, reply });
        let flow = self.flows.entry(request.flow).or_default();
        flow.waiting_units += request.units;
        flow.positions(request).insert(position);
        if !request.is_new {
            self.growing.insert(position);
        }
        if let Some(completed) = self.completed.as_mut().filter(|of| of.permit == request.permit) {
            completed.waiting = Some(position);
        }
        self.list(request.flow);
        Some(position)
    }

    pub(super) fn leave(&mut self, position: QueuePosition) {
        if let Some(waiter) = self.queue.remove(position) {
            self.forget_waiting(waiter.request, position);
        }
    }

    pub(super) fn release(&mut self, release: Release) {
        if let Some(completed) = self.completed
            && release.is_whole
            && completed.permit == release.permit
        {
            // Those that were split off stay in use.
            self.used = self.used.saturating_add(completed.units);
            self.completed = None;
        }
        self.used = self.used.saturating_sub(release.units);
        if let Some(flow) = self.flows.get_mut(&release.flow) {
            flow.units = flow.units.saturating_sub(release.units);
            flow.permits = flow.permits.saturating_sub(usize::from(release.is_whole));
        }
        self.list(release.flow);
        self.remove_if_idle(release.flow);
        let held = release.held.as_secs_f64();
        self.mean_held = Some(self.mean_held.map_or(held, |mean| mean + EWMA * (held - mean)));
    }

    /// Takes units for the waiters that fit, in fair order. The first that does not fit blocks those
    /// behind it, except those that may use the reserve or the units for completion.
    pub(super) fn serve(&mut self) -> Vec<(Request, R)> {
        let mut served = Vec::new();
        while let Some((position, waiter)) = self.queue.first() {
            if !self.fits(waiter.request) {
                break;
            }
            served.extend(self.grant(position));
        }
        let mut looked_at = Bound::Unbounded;
        while self.used < self.size.units.saturating_add(self.size.reserve) {
            let next = self.reserving.range((looked_at, Bound::Unbounded)).next().copied();
            let Some(position) = next else { break };
            looked_at = Bound::Excluded(position);
            if self.queue.get(position).is_some_and(|waiter| self.fits(waiter.request)) {
                served.extend(self.grant(position));
            }
        }
        served.extend(self.complete());
        served
    }

    /// Serves the permit that is completed. If there is none, the first that waits for more units
    /// becomes it.
    fn complete(&mut self) -> Option<(Request, R)> {
        let position = match self.completed {
            Some(completed) => completed.waiting?,
            None => *self.growing.first()?,
        };
        let request = self.queue.get(position)?.request;
        if self.completed.is_none() {
            if request.units > self.size.completion {
                return None;
            }
            let waiting = Some(position);
            self.completed = Some(CompletedPermit { permit: request.permit, units: 0, waiting });
        }
        if !self.take_for_completion(request) {
            return None;
        }
        let waiter = self.queue.remove(position)?;
        self.queue.serve(position);
        self.forget_waiting(request, position);
        Some((request, waiter.reply))
    }

    fn grant(&mut self, position: QueuePosition) -> Option<(Request, R)> {
        let WaitingRequest { request, reply } = self.queue.remove(position)?;
        self.queue.serve(position);
        self.forget_waiting(request, position);
        self.hold(request);
        Some((request, reply))
    }

    fn hold(&mut self, request: Request) {
        self.used += request.units;
        let flow = self.flows.entry(request.flow).or_default();
        flow.units += request.units;
        flow.permits += usize::from(request.is_new);
        self.list(request.flow);
    }

    fn forget_waiting(&mut self, request: Request, position: QueuePosition) {
        self.growing.remove(&position);
        if let Some(completed) = self.completed.as_mut().filter(|of| of.waiting == Some(position)) {
            completed.waiting = None;
        }
        if let Some(flow) = self.flows.get_mut(&request.flow) {
            flow.positions(request).remove(&position);
            flow.waiting_units = flow.waiting_units.saturating_sub(request.units);
        }
        self.list(request.flow);
        self.remove_if_idle(request.flow);
    }

    /// Updates which request of the flow may use the reserve: the first for a new permit if the
    /// flow has none, or for more units of the only one.
    fn list(&mut self, flow: u64) {
        let Some(flow) = self.flows.get_mut(&flow) else { return };
        let first = match flow.permits {
            0 => flow.new.first(),
            1 => flow.growing.first(),
            _ => None,
        };
        let first = first.copied().filter(|_| self.size.reserve > 0);
        if let Some(before) = std::mem::replace(&mut flow.reserving, first) {
            self.reserving.remove(&before);
        }
        self.reserving.extend(first);
    }

    fn remove_if_idle(&mut self, flow: u64) {
        let idle = |flow: &FlowUse| flow.permits == 0 && flow.units == 0 && flow.waiting() == 0;
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

    /// The number of waiting requests that were looked at so far.
    #[cfg(test)]
    pub(super) const fn looks(&self) -> usize {
        self.queue.looks()
    }

    /// The units in use.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used + self.completed.map_or(0, |completed| completed.units)
    }

    /// The units that permits hold.
    pub(super) fn held_units(&self) -> u64 {
        self.flows.values().map(|flow| flow.units).sum()
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
