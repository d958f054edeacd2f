//! The state behind the lock of an [`Admission`](super::Admission): arithmetic on instants that are
//! passed in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::demand::{AdmissionLimits, Demand, LoadSignal, Refusal};
use crate::endpoint::AdaptiveLimit;
use crate::fair::{FairQueue, QueuePosition};
use crate::quota::{QuotaReports, QuotaReservation, QuotaWindow};

/// The weight of a new duration in the running mean.
const EWMA: f64 = 0.1;

/// The resources taken for a request.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) position: QueuePosition,
    request: Option<QuotaReservation>,
    tokens: Option<QuotaReservation>,
}

#[derive(Debug)]
struct Waiter<R> {
    client: u64,
    tokens: u64,
    deadline: Option<Instant>,
    reply: R,
}

/// The waiters to answer once the lock is released, and the time at which to look again.
#[derive(Debug)]
pub(super) struct Wakeup<R> {
    pub(super) replies: Vec<(R, Result<Grant, Refusal>)>,
    pub(super) next: Option<Instant>,
}

/// The state. `R` is the channel to a waiter.
#[derive(Debug)]
pub(super) struct State<R> {
    limits: AdmissionLimits,
    requests: Option<QuotaWindow>,
    tokens: Option<QuotaWindow>,
    capacity: AdaptiveLimit,
    in_flight: usize,
    paused_until: Option<Instant>,
    /// By name and client.
    queue: FairQueue<(Arc<str>, u64), Waiter<R>>,
    /// The number of waiting requests by client; no zeros.
    waiting: HashMap<u64, usize>,
    /// Mean time of a request, in seconds.
    mean_seconds: Option<f64>,
}

impl<R> State<R> {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        let window = |limit: Option<u64>| limit.map(|limit| QuotaWindow::new(limit, limits.span));
        Self {
            limits,
            requests: window(limits.requests),
            tokens: window(limits.tokens),
            capacity: AdaptiveLimit::new(limits.max_concurrent),
            in_flight: 0,
            paused_until: None,
            queue: FairQueue::default(),
            waiting: HashMap::new(),
            mean_seconds: None,
        }
    }

    /// Admits a request without waiting if no other waits and every resource is free.
    pub(super) fn grant_at_once(&mut self, demand: &Demand, now: Instant) -> Option<Grant> {
        let free = self.queue.is_empty()
            && self.paused_until(now).is_none()
            && self.in_flight < self.capacity.allowed()
            && self.quota_wait(demand.tokens, now).is_zero();
        if !free {
            return None;
        }
        let position = self.position(demand);
        Some(self.grant(position, demand.tokens, now))
    }

    /// Joins the queue, unless the deadline cannot be met.
    pub(super) fn join(
        &mut self,
        demand: &Demand,
        reply: R,
        now: Instant,
    ) -> Result<QueuePosition, Refusal> {
        if let Some(deadline) = demand.deadline {
            if self.paused_until(now).is_some_and(|until| until > deadline) {
                return Err(Refusal::PausedTooLong);
            }
            if now + self.time_to_answer(demand, now) > deadline {
                return Err(Refusal::TooLate);
            }
        }
        let position = self.position(demand);
        let Demand { tokens, deadline, .. } = *demand;
        // An item that waits at the position is replaced.
        self.remove(position);
        let client = demand.flow.client;
        *self.waiting.entry(client).or_default() += 1;
        self.queue.insert(position, tokens, Waiter { client, tokens, deadline, reply });
        Ok(position)
    }

    fn remove(&mut self, position: QueuePosition) -> Option<Waiter<R>> {
        let waiter = self.queue.remove(position)?;
        if let Entry::Occupied(mut waiting) = self.waiting.entry(waiter.client) {
            *waiting.get_mut() -= 1;
            if *waiting.get() == 0 {
                waiting.remove();
            }
        }
        Some(waiter)
    }

    /// A lower bound of the time until an answer can arrive: the arithmetic of the quotas, and the
    /// mean time of a request for each round of requests ahead.
    #[expect(clippy::cast_precision_loss, reason = "queues are far below 2^53")]
    fn time_to_answer(&mut self, demand: &Demand, now: Instant) -> Duration {
        // A request that returns goes to the head.
        let returns = demand.position.is_some();
        let ahead = if returns { 0 } else { self.queue.len() };
        let tokens_ahead = if returns { 0 } else { self.queue.cost() };
        let requests = self.requests.as_mut().map(|window| window.wait(1, ahead as u64, now));
        let tokens = self.tokens.as_mut();
        let tokens = tokens.map(|window| window.wait(demand.tokens, tokens_ahead, now));
        let mean = self.mean_seconds.unwrap_or_default();
        let before = (self.in_flight + ahead + 1).saturating_sub(self.capacity.allowed());
        let rounds = before as f64 / self.capacity.allowed() as f64;
        let pause = self.paused_until(now).map(|until| until - now);
        let wait = [requests, tokens, pause].into_iter().flatten().max().unwrap_or_default();
        wait.max(Duration::from_secs_f64(mean * rounds)) + Duration::from_secs_f64(mean)
    }

    /// Time until fewer than `max_queued` requests wait, if as many or more wait now and `client`
    /// has its share of them: between a second and a minute.
    #[expect(clippy::cast_precision_loss, reason = "queues are far below 2^53")]
    pub(super) fn full_for(&mut self, client: u64, now: Instant) -> Option<Duration> {
        // With a `max_queued` of 0, one waiting request is a full queue.
        let waiting = self.queue.len();
        let excess = (waiting + 1).saturating_sub(self.limits.max_queued.max(1));
        let own = self.waiting.get(&client).copied().unwrap_or_default();
        let clients = self.waiting.len() + usize::from(own == 0);
        let share = (self.limits.max_queued / clients).max(1);
        // Another client's requests must not shut this one out: the queue serves clients in turn.
        let is_within_share = own < share && self.waiting.len() > usize::from(own > 0);
        if excess == 0 || is_within_share {
            return None;
        }
        let (ahead, tokens) = (excess as u64 - 1, self.queue.cost() / waiting.max(1) as u64);
        let requests = self.requests.as_mut().map(|window| window.wait(1, ahead, now));
        let ahead = tokens.saturating_mul(ahead);
        let tokens = self.tokens.as_mut().map(|window| window.wait(tokens, ahead, now));
        let pause = self.paused_until(now).map(|until| until - now);
        let rounds = excess as f64 / self.capacity.allowed() as f64;
        let rounds = Duration::from_secs_f64(self.mean_seconds.unwrap_or_default() * rounds);
        let longest = [requests, tokens, pause].into_iter().flatten().fold(rounds, Duration::max);
        Some(longest.clamp(Duration::from_secs(1), Duration::from_secs(60)))
    }

    fn position(&mut self, demand: &Demand) -> QueuePosition {
        if let Some(position) = demand.position {
            return position;
        }
        if self.queue.is_empty() && self.in_flight == 0 {
            self.queue.reset_clock();
        }
        let flow = (Arc::clone(&demand.flow.name), demand.flow.client);
        self.queue.next_position(flow, demand.tokens, demand.flow.weight)
    }

    pub(super) fn leave(&mut self, position: QueuePosition) {
        self.remove(position);
    }

    /// Admits requests from the head of the queue.
    pub(super) fn wake(&mut self, now: Instant) -> Wakeup<R> {
        let mut wakeup = Wakeup { replies: Vec::new(), next: None };
        if let Some(until) = self.paused_until(now) {
            self.refuse_too_late(until, &mut wakeup);
            wakeup.next = Some(until);
            return wakeup;
        }
        while let Some((position, head)) = self.queue.first() {
            let tokens = head.tokens;
            if self.in_flight >= self.capacity.allowed() {
                // A request that ends wakes the queue.
                return wakeup;
            }
            let wait = self.quota_wait(tokens, now);
            if !wait.is_zero() {
                wakeup.next = Some(now + wait);
                return wakeup;
            }
            if let Some(waiter) = self.remove(position) {
                let grant = self.grant(position, tokens, now);
                wakeup.replies.push((waiter.reply, Ok(grant)));
            }
        }
        wakeup
    }

    /// Refuses the waiters whose deadline is before the end of a pause.
    fn refuse_too_late(&mut self, until: Instant, wakeup: &mut Wakeup<R>) {
        let late = |waiter: &Waiter<R>| waiter.deadline.is_some_and(|deadline| deadline < until);
        let late = self.queue.iter().filter(|(_, waiter)| late(waiter));
        let late: Vec<QueuePosition> = late.map(|(position, _)| position).collect();
        for position in late {
            if let Some(waiter) = self.remove(position) {
                wakeup.replies.push((waiter.reply, Err(Refusal::PausedTooLong)));
            }
        }
    }

    fn quota_wait(&mut self, tokens: u64, now: Instant) -> Duration {
        let requests = self.requests.as_mut().map(|window| window.wait(1, 0, now));
        let tokens = self.tokens.as_mut().map(|window| window.wait(tokens, 0, now));
        requests.max(tokens).unwrap_or_default()
    }

    fn grant(&mut self, position: QueuePosition, tokens: u64, now: Instant) -> Grant {
        self.queue.serve(position);
        self.in_flight += 1;
        self.capacity.started(self.in_flight);
        Grant {
            position,
            request: self.requests.as_mut().map(|window| window.reserve(1, now)),
            tokens: self.tokens.as_mut().map(|window| window.reserve(tokens, now)),
        }
    }

    pub(super) fn settle(
        &mut self,
        grant: &Grant,
        tokens: Option<u64>,
        load: LoadSignal,
        took: Duration,
    ) {
        let now = Instant::now();
        if let (Some(window), Some(reservation), Some(tokens)) =
            (&mut self.tokens, grant.tokens, tokens)
        {
            window.settle(reservation, tokens, now);
        }
        match load {
            LoadSignal::Accepted => {
                self.capacity.accepted(now);
                let took = took.as_secs_f64();
                let mean = self.mean_seconds.map_or(took, |mean| mean + EWMA * (took - mean));
                self.mean_seconds = Some(mean);
            }
            LoadSignal::Overloaded(pause) => {
                self.capacity.overloaded(now.checked_sub(took).unwrap_or(now), now, pause);
            }
            LoadSignal::Unknown => {}
        }
    }

    pub(super) fn refund(&mut self, grant: &Grant, now: Instant) {
        let windows = [(&mut self.requests, grant.request), (&mut self.tokens, grant.tokens)];
        for (window, reservation) in windows {
            if let (Some(window), Some(reservation)) = (window, reservation) {
                window.settle(reservation, 0, now);
            }
        }
    }

    pub(super) const fn release(&mut self) {
        self.in_flight -= 1;
    }

    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = Some(self.paused_until.map_or(until, |before| before.max(until)));
    }

    pub(super) fn paused_until(&mut self, now: Instant) -> Option<Instant> {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        self.paused_until
    }

    pub(super) fn sync(&mut self, reports: &QuotaReports, now: Instant) {
        let span = self.limits.span;
        let windows = [(&mut self.requests, reports.requests), (&mut self.tokens, reports.tokens)];
        for (window, report) in windows {
            // Reports are about a minute; only a window of a minute can be compared with them.
            if span != Duration::from_secs(60) && window.is_some() {
                continue;
            }
            if let (None, Some(limit)) = (&window, report.limit.filter(|limit| *limit > 0)) {
                *window = Some(QuotaWindow::learned(limit, span));
            }
            if let Some(window) = window {
                window.sync(report, now);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "queues are far below 2^53")]
    pub(super) fn load(&self) -> f64 {
        (self.in_flight + self.queue.len()) as f64 / self.capacity.allowed() as f64
    }
}
