//! The state behind the lock of an [`Admission`](super::Admission): arithmetic on instants that are
//! passed in.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::demand::{AdmissionLimits, AdmissionStatus, Demand, Refusal};
use super::lane::{Lane, LaneGrant, Readiness};
use super::waiters::{Waiter, Waiters};
use crate::fair::QueuePosition;

/// The longest time until the next probe through which a request waits a second time.
const LONGEST_DOWN: Duration = Duration::from_secs(8);

/// The resources taken for a request.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) position: QueuePosition,
    pub(super) address: usize,
    /// `None` for a probe, which takes no quota.
    pub(super) lane: Option<LaneGrant>,
    /// The failed probes through which the request still waits.
    pub(super) probes: u32,
}

/// The waiters to answer once the lock is released, and the time at which to look again.
#[derive(Debug)]
pub(super) struct Wakeup<R> {
    pub(super) replies: Vec<(R, Result<Grant, Refusal>)>,
    pub(super) next: Option<Instant>,
}

impl<R> Wakeup<R> {
    fn look_again(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |before| before.min(at)));
    }
}

/// The place of a demand.
enum Placement {
    Granted(Grant),
    /// No address takes it now; the state may change by itself at this time.
    Waits(Option<Instant>),
    /// Only the address that the request avoids takes it now. Another address may take it at this
    /// time.
    Avoids(Option<Instant>),
}

/// The state. `R` is the channel to a waiter.
#[derive(Debug)]
pub(super) struct AdmissionState<R> {
    max_queued: usize,
    pub(super) lanes: Vec<Lane>,
    waiters: Waiters<R>,
    /// The closure of all addresses against which every waiter was checked.
    checked: Option<Closure>,
}

/// The time until which no address is open, and the reason. `None` while one is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Closure {
    opens: Instant,
    /// True if no address is usable, even after its pause.
    down: bool,
    /// True if every address refuses the account.
    closed: bool,
}

impl<R> AdmissionState<R> {
    /// The state of `addresses` addresses, at least one.
    pub(super) fn new(limits: AdmissionLimits, addresses: usize) -> Self {
        let count = addresses.max(1);
        Self {
            // With a `max_queued` of 0, one waiting request is a full queue.
            max_queued: limits.max_queued.max(1).saturating_mul(count),
            lanes: (0..count).map(|_| Lane::new(&limits, count == 1)).collect(),
            waiters: Waiters::default(),
            checked: None,
        }
    }

    /// The number of waiting requests that were looked at so far.
    #[cfg(test)]
    pub(super) const fn looks(&self) -> usize {
        self.waiters.queue.looks()
    }

    /// Admits a request without waiting if no other waits and an address is free.
    pub(super) fn grant_at_once(&mut self, demand: &Demand, now: Instant) -> Option<Grant> {
        if !self.waiters.queue.is_empty() {
            return None;
        }
        let (address, probe) = self.free_lane(demand.tokens, demand.avoid, now).ok()?;
        let position = self.position(demand);
        let grant = self.grant(position, demand.tokens, (address, probe), now);
        Some(Grant { probes: demand.probes, ..grant })
    }

    /// Joins the queue, unless the request cannot be served in time.
    pub(super) fn join(
        &mut self,
        demand: &Demand,
        reply: R,
        now: Instant,
    ) -> Result<QueuePosition, Refusal> {
        if let Some(refusal) = self.unserved(demand.deadline, now) {
            return Err(refusal);
        }
        if let Some(opens) = self.all_down(now) {
            if opens > now && (self.all_closed() || demand.probes == 0) {
                return Err(Refusal::Down(opens));
            }
        } else if demand.deadline.is_some_and(|at| now + self.time_to_answer(demand, now) > at) {
            return Err(Refusal::TooLate);
        }
        let position = self.position(demand);
        let waiter = Waiter {
            client: demand.flow.client,
            tokens: demand.tokens,
            estimate: demand.estimate.clone(),
            deadline: demand.deadline,
            avoid: demand.avoid,
            probes: demand.probes,
            saw_failure: false,
            reply,
        };
        self.waiters.insert(position, waiter);
        Ok(position)
    }

    /// The refusal of a request whose deadline is before the first time at which any address is
    /// open.
    fn unserved(&self, deadline: Option<Instant>, now: Instant) -> Option<Refusal> {
        let deadline = deadline?;
        let opens = |lane: &Lane| (lane.opens_at(now), !lane.is_usable());
        let (first, down) = self.lanes.iter().map(opens).min()?;
        let refusal = if down { Refusal::Down(first) } else { Refusal::PausedTooLong };
        (first > deadline).then_some(refusal)
    }

    /// If no address is usable: the time at which one may be again at the earliest, which is `now`
    /// while a probe is due or in flight.
    fn all_down(&self, now: Instant) -> Option<Instant> {
        if self.lanes.iter().any(Lane::is_usable) {
            return None;
        }
        self.lanes.iter().map(|lane| lane.opens_at(now)).min()
    }

    fn all_closed(&self) -> bool {
        self.lanes.iter().all(|lane| lane.health.is_closed())
    }

    /// A lower bound of the time until an answer can arrive: the arithmetic of the quotas, and the
    /// mean time of a request for each round of requests ahead.
    #[expect(clippy::cast_precision_loss, reason = "queues are far below 2^53")]
    fn time_to_answer(&mut self, demand: &Demand, now: Instant) -> Duration {
        // A request that returns goes to the head.
        let returns = demand.position.is_some();
        let ahead = if returns { 0 } else { self.waiters.queue.len() };
        let tokens_ahead = if returns { 0 } else { self.waiters.queue.cost() };
        let usable = || self.lanes.iter().filter(|lane| lane.is_usable());
        let mean = usable().filter_map(|lane| lane.mean_seconds).min_by(f64::total_cmp);
        let mean = mean.unwrap_or_default();
        let allowed = usable().map(Lane::limit).sum::<usize>().max(1);
        let in_flight = usable().map(|lane| lane.in_flight).sum::<usize>();
        let rounds = (in_flight + ahead + 1).saturating_sub(allowed) as f64 / allowed as f64;
        let wait = self.quota_wait(demand.tokens, (ahead as u64, tokens_ahead), now);
        wait.max(Duration::from_secs_f64(mean * rounds)) + Duration::from_secs_f64(mean)
    }

    /// Time until the first usable address is out of its pause and has quota for a request behind
    /// its share of those ahead.
    pub(super) fn quota_wait(&mut self, tokens: u64, ahead: (u64, u64), now: Instant) -> Duration {
        let usable = self.lanes.iter().filter(|lane| lane.is_usable()).count().max(1) as u64;
        let (ahead, tokens_ahead) = (ahead.0 / usable, ahead.1 / usable);
        let usable = self.lanes.iter_mut().filter(|lane| lane.is_usable());
        let wait = usable.map(|lane| {
            let pause = lane.paused_until(now).map(|until| until - now).unwrap_or_default();
            pause.max(lane.quota_wait(tokens, ahead, tokens_ahead, now))
        });
        wait.min().unwrap_or_default()
    }

    /// Time until fewer than `max_queued` requests wait, if as many or more wait now and `client`
    /// has its share of them: between a second and a minute.
    #[expect(clippy::cast_precision_loss, reason = "queues are far below 2^53")]
    pub(super) fn full_for(&mut self, client: u64, now: Instant) -> Option<Duration> {
        let (waiting, excess) = (self.waiters.queue.len(), self.waiters.excess(self.max_queued));
        if excess == 0 || self.waiters.is_within_share(client, self.max_queued) {
            return None;
        }
        let (ahead, tokens) =
            (excess as u64 - 1, self.waiters.queue.cost() / waiting.max(1) as u64);
        let wait = self.quota_wait(tokens, (ahead, tokens.saturating_mul(ahead)), now);
        let allowed: usize = self.lanes.iter().map(Lane::limit).sum();
        let mean = self.lanes.iter().filter_map(|lane| lane.mean_seconds).min_by(f64::total_cmp);
        let rounds = excess as f64 / allowed.max(1) as f64;
        let rounds = Duration::from_secs_f64(mean.unwrap_or_default() * rounds);
        Some(wait.max(rounds).clamp(Duration::from_secs(1), Duration::from_secs(60)))
    }

    fn position(&mut self, demand: &Demand) -> QueuePosition {
        if let Some(position) = demand.position {
            return position;
        }
        if self.waiters.queue.is_empty() && self.lanes.iter().all(|lane| lane.in_flight == 0) {
            self.waiters.queue.reset_clock();
        }
        let flow = (Arc::clone(&demand.flow.name), demand.flow.client);
        self.waiters.queue.next_position(flow, demand.tokens, demand.flow.weight)
    }

    pub(super) fn leave(&mut self, position: QueuePosition) {
        self.waiters.remove(position);
    }

    /// Admits requests from the head of the queue. A request that avoids the only free address
    /// lets others pass.
    pub(super) fn wake(&mut self, now: Instant) -> Wakeup<R> {
        let mut wakeup = Wakeup { replies: Vec::new(), next: None };
        self.refuse_unserved(now, &mut wakeup);
        let mut passed = Vec::new();
        while let Some((position, waiter)) = self.waiters.first_not_avoiding(&passed) {
            let (tokens, avoid) = (waiter.current_tokens(), waiter.avoid);
            match self.place(position, tokens, avoid, now) {
                Placement::Granted(grant) => {
                    if let Some(waiter) = self.waiters.remove(position) {
                        let grant = Grant { probes: waiter.probes, ..grant };
                        wakeup.replies.push((waiter.reply, Ok(grant)));
                    }
                }
                Placement::Avoids(next) => {
                    passed.extend(avoid);
                    if let Some(next) = next {
                        wakeup.look_again(next);
                    }
                }
                Placement::Waits(next) => {
                    if let Some(next) = next {
                        wakeup.look_again(next);
                    }
                    return wakeup;
                }
            }
        }
        wakeup
    }

    fn place(
        &mut self,
        position: QueuePosition,
        tokens: u64,
        avoid: Option<usize>,
        now: Instant,
    ) -> Placement {
        match self.free_lane(tokens, avoid, now) {
            Ok(lane) => Placement::Granted(self.grant(position, tokens, lane, now)),
            Err(next) if avoid.is_some() && self.free_lane(tokens, None, now).is_ok() => {
                Placement::Avoids(next)
            }
            Err(next) => Placement::Waits(next),
        }
    }

    /// The least loaded address that takes a request of `tokens` tokens now, and whether it wants a
    /// probe instead. Otherwise the time at which that may change by itself. The address `avoid` is
    /// not chosen while another one is usable.
    fn free_lane(
        &mut self,
        tokens: u64,
        avoid: Option<usize>,
        now: Instant,
    ) -> Result<(usize, bool), Option<Instant>> {
        let usable = |index: usize, lane: &Lane| Some(index) != avoid && lane.is_usable();
        let alternative = self.lanes.iter().enumerate().any(|(index, lane)| usable(index, lane));
        let mut next: Option<Instant> = None;
        let mut best: Option<(f64, usize)> = None;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            match lane.readiness(tokens, now) {
                Readiness::Probe => return Ok((index, true)),
                Readiness::Ready if alternative && Some(index) == avoid => {}
                Readiness::Ready => {
                    let load = lane.load(now);
                    if best.is_none_or(|(least, _)| load < least) {
                        best = Some((load, index));
                    }
                }
                Readiness::At(at) | Readiness::Down(at) | Readiness::Busy(Some(at)) => {
                    next = Some(next.map_or(at, |before| before.min(at)));
                }
                Readiness::Busy(None) => {}
            }
        }
        best.map(|(_, index)| (index, false)).ok_or(next)
    }

    /// The time until which no address is open.
    fn closure(&self, now: Instant) -> Option<Closure> {
        let opens = self.lanes.iter().map(|lane| lane.opens_at(now)).min()?;
        let down = !self.lanes.iter().any(Lane::is_usable);
        (opens > now).then(|| Closure { opens, down, closed: self.all_closed() })
    }

    /// Refuses the waiters that no address can serve in time, or that do not wait for probes. All
    /// of them are looked at only if the closure has changed: [`Self::join`] checks new ones.
    fn refuse_unserved(&mut self, now: Instant, wakeup: &mut Wakeup<R>) {
        let closure = self.closure(now);
        if closure == std::mem::replace(&mut self.checked, closure) {
            return;
        }
        let Some(Closure { opens, down, closed }) = closure else { return };
        let rare = opens.saturating_duration_since(now) >= LONGEST_DOWN;
        let refusal = |waiter: &Waiter<R>| {
            let late = waiter.deadline.is_some_and(|deadline| deadline < opens);
            let gave_up = closed || waiter.probes == 0 || (waiter.saw_failure && rare);
            match down {
                true if late || gave_up => Some(Refusal::Down(opens)),
                false if late => Some(Refusal::PausedTooLong),
                _ => None,
            }
        };
        let refused =
            self.waiters.queue.iter().filter_map(|(at, waiter)| Some((at, refusal(waiter)?)));
        let refused: Vec<(QueuePosition, Refusal)> = refused.collect();
        for (position, refusal) in refused {
            if let Some(waiter) = self.waiters.remove(position) {
                wakeup.replies.push((waiter.reply, Err(refusal)));
            }
        }
    }

    /// Takes in a failed probe: each waiter sits through a limited number of them while no address
    /// is usable.
    pub(super) fn probe_failed(&mut self, address: usize, now: Instant) {
        let Some(lane) = self.lanes.get_mut(address) else { return };
        lane.health.probe_failed(now);
        self.checked = None;
        if self.all_down(now).is_some() {
            for waiter in self.waiters.queue.values_mut() {
                waiter.probes = waiter.probes.saturating_sub(1);
                waiter.saw_failure = true;
            }
        }
    }

    fn grant(
        &mut self,
        position: QueuePosition,
        tokens: u64,
        (address, probe): (usize, bool),
        now: Instant,
    ) -> Grant {
        let lane = self.lanes.get_mut(address);
        if probe {
            if let Some(lane) = lane {
                lane.health.probe_started(now);
                lane.in_flight += 1;
            }
            return Grant { position, address, lane: None, probes: 0 };
        }
        self.waiters.queue.serve(position);
        Grant { position, address, lane: lane.map(|lane| lane.grant(tokens, now)), probes: 0 }
    }

    pub(super) fn release(&mut self, grant: &Grant) {
        if let Some(lane) = self.lanes.get_mut(grant.address) {
            lane.in_flight -= 1;
        }
    }

    /// The time at which a request that was sent to `address` at `sent` counts as stalled, or is
    /// worth another look: the address has answered nothing since, although it had ten times as
    /// long as a request to it usually takes, and another address is usable. For an address that
    /// has not answered yet, the mean time of the slowest other address counts, and at least 5 s.
    /// `None` if there is no other address.
    pub(super) fn stalled_at(
        &self,
        address: usize,
        sent: Instant,
        now: Instant,
    ) -> Option<Instant> {
        let lane = self.lanes.get(address).filter(|_| self.lanes.len() > 1)?;
        let slowest = self.lanes.iter().filter_map(|lane| lane.mean_seconds).max_by(f64::total_cmp);
        let (mean, shortest) = match (lane.mean_seconds, slowest) {
            (Some(mean), _) => (mean, SHORTEST_STALL),
            (None, Some(slowest)) => (slowest, SHORTEST_FIRST_STALL),
            (None, None) => return Some(now + LOOK_AGAIN),
        };
        let at = sent + Duration::from_secs_f64(mean * STALLED).max(shortest);
        let mut others = self.lanes.iter().enumerate().filter(|(index, _)| *index != address);
        let stalls = lane.is_silent_since(sent) && others.any(|(_, other)| other.is_usable());
        Some(if stalls { at } else { at.max(now + LOOK_AGAIN) })
    }

    pub(super) fn status(&self, now: Instant) -> AdmissionStatus {
        let addresses = self.lanes.iter().map(|lane| lane.status(now)).collect();
        AdmissionStatus { queued: self.waiters.queue.len(), addresses }
    }

    /// Requests in flight and waiting, as a share of the limits that slow start reaches.
    #[expect(clippy::cast_precision_loss, reason = "queues are far below 2^53")]
    pub(super) fn load(&self) -> f64 {
        let in_flight: usize = self.lanes.iter().map(|lane| lane.in_flight).sum();
        let allowed: usize = self.lanes.iter().map(Lane::limit).sum();
        (in_flight + self.waiters.queue.len()) as f64 / allowed.max(1) as f64
    }
}

/// The multiple of the mean time of a request after which it counts as stalled.
const STALLED: f64 = 10.0;
/// The shortest time after which a request counts as stalled.
const SHORTEST_STALL: Duration = Duration::from_secs(1);
/// The shortest such time for an address that has not answered yet.
const SHORTEST_FIRST_STALL: Duration = Duration::from_secs(5);
/// The time between two looks at a request that may have stalled.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
