//! The state behind the lock of a [`Limit`](super::Limit): plain arithmetic on instants passed as
//! arguments.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::aimd::Aimd;
use super::headers::QuotaHeaders;
use super::window::{Window, WindowReservation};
use super::{AdmissionError, AttemptPermit, LoadSignal};

/// Weight of a new duration in the running mean.
const EWMA: f64 = 0.1;
/// Virtual time of one token of weight 1; so that shares of a token still count.
const TICKS: u64 = 1024;

/// The limits as configured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndpointLimits {
    pub(crate) max_concurrent: usize,
    pub(crate) max_queued: usize,
    /// Within `span`.
    pub(crate) requests: Option<u64>,
    /// Within `span`.
    pub(crate) tokens: Option<u64>,
    pub(crate) span: Duration,
}

/// The flow of a question. Questions of one flow are served in order; flows share by weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueFlow {
    pub(crate) name: Arc<str>,
    /// Each client's questions are a flow of their own.
    pub(crate) client: u64,
    pub(crate) weight: u32,
}

impl QueueFlow {
    /// Of client 0.
    pub(crate) fn of(name: &str, weight: u32) -> Self {
        Self { name: name.into(), client: 0, weight }
    }
}

/// The demand of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct AttemptDemand {
    /// An estimate; settled afterwards.
    pub(crate) tokens: u64,
    pub(crate) flow: QueueFlow,
    pub(crate) deadline: Option<Instant>,
    /// Earlier position, for an attempt that returns.
    pub(crate) place: Option<QueuePosition>,
}

/// A place in the queue: by virtual time, then by arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueuePosition {
    tag: u64,
    number: u64,
}

/// The end of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settlement {
    /// Tokens used, if known.
    pub(super) tokens: Option<u64>,
    pub(super) load: LoadSignal,
    pub(super) took: Duration,
}

/// The quota and concurrency taken for an attempt.
#[derive(Debug)]
pub(crate) struct AttemptGrant {
    pub(super) place: QueuePosition,
    request: Option<WindowReservation>,
    tokens: Option<WindowReservation>,
}

type GrantSender = oneshot::Sender<Result<AttemptPermit, AdmissionError>>;

#[derive(Debug)]
struct QueuedAttempt {
    tokens: u64,
    deadline: Option<Instant>,
    sender: GrantSender,
}

/// Waiters to notify after the lock is released, and the time of the next look.
#[derive(Debug, Default)]
pub(super) struct WakeUps {
    pub(super) replies: Vec<(GrantSender, Result<AttemptGrant, AdmissionError>)>,
    pub(super) next: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct LimitState {
    limits: EndpointLimits,
    requests: Option<Window>,
    tokens: Option<Window>,
    room: Aimd,
    under_way: usize,
    paused_until: Option<Instant>,
    waiting: BTreeMap<QueuePosition, QueuedAttempt>,
    tokens_waiting: u64,
    /// Virtual start time of each flow's next question.
    flows: HashMap<(Arc<str>, u64), u64>,
    virtual_now: u64,
    arrivals: u64,
    /// Mean seconds of an attempt.
    usual: Option<f64>,
}

impl LimitState {
    pub(super) fn new(limits: EndpointLimits) -> Self {
        let window = |limit: Option<u64>| limit.map(|limit| Window::new(limit, limits.span));
        Self {
            limits,
            requests: window(limits.requests),
            tokens: window(limits.tokens),
            room: Aimd::new(limits.max_concurrent),
            under_way: 0,
            paused_until: None,
            waiting: BTreeMap::new(),
            tokens_waiting: 0,
            flows: HashMap::new(),
            virtual_now: 0,
            arrivals: 0,
            usual: None,
        }
    }

    /// Grants immediately if no question waits and all limits allow it.
    pub(super) fn try_grant(&mut self, want: &AttemptDemand, now: Instant) -> Option<AttemptGrant> {
        let free = self.waiting.is_empty()
            && self.paused_until(now).is_none()
            && self.under_way < self.room.allowed()
            && self.quota_wait(want.tokens, now).is_zero();
        if !free {
            return None;
        }
        let place = self.place(want);
        Some(self.grant(place, want.tokens, now))
    }

    /// Joins the queue, unless the deadline cannot be met. A full queue takes more: its questions
    /// belong to requests that were admitted, and [`LimitState::full_for`] keeps new requests out.
    pub(super) fn join(
        &mut self,
        want: &AttemptDemand,
        sender: GrantSender,
        now: Instant,
    ) -> Result<QueuePosition, AdmissionError> {
        if let Some(deadline) = want.deadline {
            if self.paused_until(now).is_some_and(|until| until > deadline) {
                return Err(AdmissionError::PausedTooLong);
            }
            if now + self.eta(want, now) > deadline {
                return Err(AdmissionError::TooLate);
            }
        }
        let place = self.place(want);
        self.tokens_waiting += want.tokens;
        self.waiting
            .insert(place, QueuedAttempt { tokens: want.tokens, deadline: want.deadline, sender });
        Ok(place)
    }

    /// Lower bound on the time until an answer: from the quotas, and from the mean duration of an
    /// attempt for each round of questions ahead.
    #[expect(clippy::cast_precision_loss, reason = "queues are short of 2^53")]
    fn eta(&mut self, want: &AttemptDemand, now: Instant) -> Duration {
        // A returning attempt is at the head.
        let ahead = if want.place.is_some() { 0 } else { self.waiting.len() };
        let tokens_ahead = if want.place.is_some() { 0 } else { self.tokens_waiting };
        let requests = self.requests.as_mut().map(|window| window.wait(1, ahead as u64, now));
        let tokens = self.tokens.as_mut().map(|window| window.wait(want.tokens, tokens_ahead, now));
        let usual = self.usual.unwrap_or_default();
        let before = (self.under_way + ahead + 1).saturating_sub(self.room.allowed());
        let rounds = before as f64 / self.room.allowed() as f64;
        let pause = self.paused_until(now).map(|until| until - now);
        let wait = [requests, tokens, pause].into_iter().flatten().max().unwrap_or_default();
        wait.max(Duration::from_secs_f64(usual * rounds)) + Duration::from_secs_f64(usual)
    }

    /// Time until fewer than `max_queued` questions wait, if as many or more wait now: between a
    /// second and a minute.
    #[expect(clippy::cast_precision_loss, reason = "queues are short of 2^53")]
    pub(super) fn full_for(&mut self, now: Instant) -> Option<Duration> {
        // With a `max_queued` of 0, one waiting question is a full queue.
        let waiting = self.waiting.len();
        let excess = (waiting + 1).saturating_sub(self.limits.max_queued.max(1));
        if excess == 0 {
            return None;
        }
        let (ahead, tokens) = (excess as u64 - 1, self.tokens_waiting / waiting.max(1) as u64);
        let requests = self.requests.as_mut().map(|window| window.wait(1, ahead, now));
        let ahead = tokens.saturating_mul(ahead);
        let tokens = self.tokens.as_mut().map(|window| window.wait(tokens, ahead, now));
        let pause = self.paused_until(now).map(|until| until - now);
        let rounds = excess as f64 / self.room.allowed() as f64;
        let rounds = Duration::from_secs_f64(self.usual.unwrap_or_default() * rounds);
        let longest = [requests, tokens, pause].into_iter().flatten().fold(rounds, Duration::max);
        Some(longest.clamp(Duration::from_secs(1), Duration::from_secs(60)))
    }

    fn place(&mut self, want: &AttemptDemand) -> QueuePosition {
        if let Some(place) = want.place {
            return place;
        }
        if self.waiting.is_empty() && self.under_way == 0 {
            self.flows.clear();
        }
        let next = self.flows.entry((Arc::clone(&want.flow.name), want.flow.client)).or_default();
        let tag = (*next).max(self.virtual_now);
        let ticks = want.tokens.max(1).saturating_mul(TICKS) / u64::from(want.flow.weight.max(1));
        *next = tag.saturating_add(ticks.max(1));
        self.arrivals += 1;
        QueuePosition { tag, number: self.arrivals }
    }

    pub(super) fn leave(&mut self, place: QueuePosition) {
        if let Some(waiter) = self.waiting.remove(&place) {
            self.tokens_waiting -= waiter.tokens;
        }
    }

    /// Grants permits from the head of the queue while the limits allow it.
    pub(super) fn wake(&mut self, now: Instant) -> WakeUps {
        let mut woken = WakeUps::default();
        if let Some(until) = self.paused_until(now) {
            let late =
                |waiter: &QueuedAttempt| waiter.deadline.is_some_and(|deadline| deadline < until);
            let hopeless: Vec<QueuePosition> = self
                .waiting
                .iter()
                .filter(|(_, waiter)| late(waiter))
                .map(|(place, _)| *place)
                .collect();
            for place in hopeless {
                if let Some(waiter) = self.waiting.remove(&place) {
                    self.tokens_waiting -= waiter.tokens;
                    woken.replies.push((waiter.sender, Err(AdmissionError::PausedTooLong)));
                }
            }
            woken.next = Some(until);
            return woken;
        }
        while let Some((place, tokens)) =
            self.waiting.first_key_value().map(|(place, head)| (*place, head.tokens))
        {
            if self.under_way >= self.room.allowed() {
                // The end of an attempt frees a slot and wakes the queue again.
                return woken;
            }
            let wait = self.quota_wait(tokens, now);
            if !wait.is_zero() {
                woken.next = Some(now + wait);
                return woken;
            }
            if let Some(waiter) = self.waiting.remove(&place) {
                self.tokens_waiting -= waiter.tokens;
                let grant = self.grant(place, tokens, now);
                woken.replies.push((waiter.sender, Ok(grant)));
            }
        }
        woken
    }

    fn quota_wait(&mut self, tokens: u64, now: Instant) -> Duration {
        let requests = self.requests.as_mut().map(|window| window.wait(1, 0, now));
        let tokens = self.tokens.as_mut().map(|window| window.wait(tokens, 0, now));
        requests.max(tokens).unwrap_or_default()
    }

    fn grant(&mut self, place: QueuePosition, tokens: u64, now: Instant) -> AttemptGrant {
        self.virtual_now = self.virtual_now.max(place.tag);
        self.under_way += 1;
        self.room.started(self.under_way);
        AttemptGrant {
            place,
            request: self.requests.as_mut().map(|window| window.reserve(1, now)),
            tokens: self.tokens.as_mut().map(|window| window.reserve(tokens, now)),
        }
    }

    pub(super) fn settle(
        &mut self,
        grant: &AttemptGrant,
        Settlement { tokens, load, took }: Settlement,
        now: Instant,
    ) {
        if let (Some(window), Some(reserved), Some(tokens)) =
            (&mut self.tokens, grant.tokens, tokens)
        {
            window.settle(reserved, tokens, now);
        }
        match load {
            LoadSignal::Carried => {
                self.room.clean(now);
                let took = took.as_secs_f64();
                self.usual = Some(self.usual.map_or(took, |usual| usual + EWMA * (took - usual)));
            }
            LoadSignal::TooMuch(pause) => {
                self.room.overloaded(now.checked_sub(took).unwrap_or(now), now, pause)
            }
            LoadSignal::Unknown => {}
        }
    }

    pub(super) fn refund(&mut self, grant: &AttemptGrant, now: Instant) {
        for (window, reserved) in
            [(&mut self.requests, grant.request), (&mut self.tokens, grant.tokens)]
        {
            if let (Some(window), Some(reserved)) = (window, reserved) {
                window.settle(reserved, 0, now);
            }
        }
    }

    pub(super) const fn release(&mut self) {
        self.under_way -= 1;
    }

    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = Some(self.paused_until.map_or(until, |before| before.max(until)));
    }

    pub(super) fn paused_until(&mut self, now: Instant) -> Option<Instant> {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        self.paused_until
    }

    /// Updates the quotas; a quota that is not configured is learned from the headers.
    pub(super) fn sync(&mut self, quotas: &QuotaHeaders, now: Instant) {
        let span = self.limits.span;
        for (window, status) in
            [(&mut self.requests, quotas.requests), (&mut self.tokens, quotas.tokens)]
        {
            // Said of a minute; only a window of a minute can be compared with it.
            if span != Duration::from_secs(60) && window.is_some() {
                continue;
            }
            if let (None, Some(limit)) = (&window, status.limit.filter(|limit| *limit > 0)) {
                *window = Some(Window::learnt(limit, span));
            }
            if let Some(window) = window {
                window.sync(status, now);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "queues are short of 2^53")]
    pub(super) fn crowding(&self) -> f64 {
        (self.under_way + self.waiting.len()) as f64 / self.room.allowed() as f64
    }
}
