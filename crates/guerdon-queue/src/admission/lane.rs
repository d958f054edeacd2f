//! One address of an [`Admission`](super::Admission): its quotas, capacity, pause and health.

use std::time::Duration;

use tokio::time::Instant;

use super::demand::{AddressState, AddressStatus, AdmissionLimits, LoadSignal};
use crate::deadline;
use crate::endpoint::{AdaptiveLimit, AddressHealth, HealthState};
use crate::quota::{QuotaReports, QuotaReservation, QuotaWindow};
use crate::retry::Backoff;

/// The weight of a new duration in the running mean.
const EWMA: f64 = 0.1;
const MINUTE: Duration = Duration::from_secs(60);
/// The longest pause. An address that asks for more is asked again after it.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// The quotas taken for a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneGrant {
    request: Option<QuotaReservation>,
    tokens: Option<QuotaReservation>,
}

/// An address's answer to a demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It takes the request now.
    Ready,
    /// A probe is to be sent now.
    Probe,
    /// It may take the request at this time.
    At(Instant),
    /// It may take the request after one in flight has ended, or at this time.
    Busy(Option<Instant>),
    /// It is down or closed, and the next probe is due at this time.
    Down(Instant),
}

/// One address.
#[derive(Debug)]
pub(super) struct Lane {
    requests: Option<QuotaWindow>,
    tokens: Option<QuotaWindow>,
    backoff: Backoff,
    capacity: AdaptiveLimit,
    pub(super) in_flight: usize,
    paused_until: Option<Instant>,
    /// Refusals for load in a row, counted by episodes.
    refusals: u32,
    pub(super) health: AddressHealth,
    /// Mean time of a request, in seconds.
    pub(super) mean_seconds: Option<f64>,
    answered_at: Option<Instant>,
}

impl Lane {
    /// `alone` is set for the only address.
    pub(super) fn new(limits: &AdmissionLimits, alone: bool) -> Self {
        let window = |limit: Option<u64>| limit.map(|limit| QuotaWindow::new(limit, limits.span));
        let capacity = if alone {
            AdaptiveLimit::new(limits.max_concurrent)
        } else {
            AdaptiveLimit::once_answered(limits.max_concurrent)
        };
        Self {
            requests: window(limits.requests),
            tokens: window(limits.tokens),
            backoff: limits.backoff,
            capacity,
            in_flight: 0,
            paused_until: None,
            refusals: 0,
            health: AddressHealth::default(),
            mean_seconds: None,
            answered_at: None,
        }
    }

    /// Says when the address takes a request of `tokens` tokens.
    pub(super) fn readiness(&mut self, tokens: u64, now: Instant) -> Readiness {
        let paused_until = self.paused_until(now);
        if let Some(probe_at) = self.health.probe_at() {
            // An address that asked for a pause is not probed before its end.
            if let Some(until) = paused_until {
                return Readiness::Down(until.max(probe_at));
            }
            let due = probe_at <= now;
            return match self.health.state(now) {
                HealthState::HalfOpen if due => Readiness::Probe,
                HealthState::HalfOpen => Readiness::Busy(Some(probe_at)),
                _ => Readiness::Down(probe_at),
            };
        }
        if let Some(until) = paused_until {
            return Readiness::At(until);
        }
        if self.in_flight >= self.allowed(now) {
            return Readiness::Busy(self.capacity.grows_at(now));
        }
        let wait = self.quota_wait(tokens, 0, 0, now);
        if wait.is_zero() { Readiness::Ready } else { Readiness::At(now + wait) }
    }

    /// True if requests are sent to it, now or after a pause.
    pub(super) const fn is_usable(&self) -> bool {
        self.health.is_healthy()
    }

    pub(super) fn allowed(&self, now: Instant) -> usize {
        self.capacity.allowed(now)
    }

    /// The number of requests in flight that slow start reaches.
    pub(super) const fn limit(&self) -> usize {
        self.capacity.limit()
    }

    /// Requests in flight as a share of those allowed.
    #[expect(clippy::cast_precision_loss, reason = "queues are far below 2^53")]
    pub(super) fn load(&self, now: Instant) -> f64 {
        self.in_flight as f64 / self.allowed(now) as f64
    }

    /// Time until the quotas hold a request of `tokens` tokens behind `ahead` other requests with
    /// `tokens_ahead` tokens.
    pub(super) fn quota_wait(
        &mut self,
        tokens: u64,
        ahead: u64,
        tokens_ahead: u64,
        now: Instant,
    ) -> Duration {
        let requests = self.requests.as_mut().map(|window| window.wait(1, ahead, now));
        let tokens = self.tokens.as_mut().map(|window| window.wait(tokens, tokens_ahead, now));
        requests.max(tokens).unwrap_or_default()
    }

    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|until| *until > now)
    }

    /// The time at which a request or a probe may be sent, as far as pause and health decide: `now`
    /// if one may be sent now or a probe is in flight.
    pub(super) fn opens_at(&self, now: Instant) -> Instant {
        let paused_until = self.paused_until(now).unwrap_or(now);
        self.health.opens_at(now).map_or(paused_until, |at| at.max(paused_until))
    }

    pub(super) fn grant(&mut self, tokens: u64, now: Instant) -> LaneGrant {
        self.in_flight += 1;
        self.capacity.started(self.in_flight, now);
        LaneGrant {
            request: self.requests.as_mut().map(|window| window.reserve(1, now)),
            tokens: self.tokens.as_mut().map(|window| window.reserve(tokens, now)),
        }
    }

    /// Replaces the reserved tokens by those that were used.
    pub(super) fn used(&mut self, grant: LaneGrant, tokens: Option<u64>, now: Instant) {
        if let (Some(window), Some(reservation)) = (&mut self.requests, grant.request) {
            window.settle(reservation, 1, now);
        }
        if let (Some(window), Some(reservation), Some(tokens)) =
            (&mut self.tokens, grant.tokens, tokens)
        {
            window.settle(reservation, tokens, now);
        }
    }

    pub(super) fn refund(&mut self, grant: LaneGrant, now: Instant) {
        let windows = [(&mut self.requests, grant.request), (&mut self.tokens, grant.tokens)];
        for (window, reservation) in windows {
            if let (Some(window), Some(reservation)) = (window, reservation) {
                window.refund(reservation, now);
            }
        }
    }

    /// Takes in the result of a request that was sent `took` ago.
    pub(super) fn observe(&mut self, signal: LoadSignal, took: Duration, now: Instant) {
        let sent = now.checked_sub(took).unwrap_or(now);
        match signal {
            LoadSignal::Accepted => {
                if self.capacity.accepted(sent, now) {
                    self.refusals = 0;
                }
                self.health.success();
                self.answered_at = Some(now);
                let took = took.as_secs_f64();
                let mean = self.mean_seconds.map_or(took, |mean| mean + EWMA * (took - mean));
                self.mean_seconds = Some(mean);
            }
            LoadSignal::Refused(named) => {
                for window in [&mut self.requests, &mut self.tokens].into_iter().flatten() {
                    window.refused(named, now);
                }
                if self.capacity.overloaded(sent, now) {
                    let pause = self.backoff.pause(named.map(bounded), self.refusals);
                    self.refusals = self.refusals.saturating_add(1);
                    self.pause(pause, now);
                } else if let Some(named) = named {
                    self.pause(bounded(named), now);
                }
            }
            LoadSignal::TimedOut => {
                self.capacity.overloaded(sent, now);
                self.health.failure(now);
            }
            LoadSignal::FailedFor(named) => {
                self.health.failure(now);
                self.pause(self.backoff.pause(Some(bounded(named)), 0), now);
            }
            LoadSignal::Failed => self.health.failure(now),
            LoadSignal::Suspect => self.health.suspect(now),
            LoadSignal::Unknown => {}
        }
    }

    pub(super) fn pause(&mut self, pause: Duration, now: Instant) {
        let until = deadline::after(now, pause);
        if self.paused_until.is_none_or(|before| before < until) {
            self.paused_until = Some(until);
            // An address that refused twice in a row has to accept a request first.
            self.capacity.paused(until, self.refusals > 1);
        }
    }

    pub(super) fn sync(&mut self, reports: &QuotaReports, sent: Instant, now: Instant) {
        let windows =
            [(&mut self.requests, &reports.requests), (&mut self.tokens, &reports.tokens)];
        for (window, reports) in windows {
            for report in reports {
                if window.is_none() && !report.is_empty() {
                    // Of longer quotas, and of those with an unknown period, only the remainder is
                    // followed.
                    let span = report.period.filter(|period| *period <= MINUTE).unwrap_or(MINUTE);
                    let limit = report.limit.filter(|limit| *limit > 0 && report.is_of(span));
                    *window = Some(QuotaWindow::learned(limit.unwrap_or(u64::MAX), span));
                }
                if let Some(window) = window {
                    window.sync(*report, sent, now);
                }
            }
        }
    }

    /// True if the address has answered nothing since `sent`.
    pub(super) fn is_silent_since(&self, sent: Instant) -> bool {
        self.answered_at.is_none_or(|answered| answered <= sent)
    }

    pub(super) fn status(&self, now: Instant) -> AddressStatus {
        let paused_for = self
            .paused_until(now)
            .map(|until| until.saturating_duration_since(now))
            .unwrap_or_default();
        let paused = !paused_for.is_zero();
        let state = match self.health.state(now) {
            HealthState::Healthy | HealthState::HalfOpen if paused => AddressState::Paused,
            HealthState::Healthy => AddressState::Healthy,
            HealthState::HalfOpen => AddressState::HalfOpen,
            HealthState::Down(_) => AddressState::Down,
            HealthState::Closed(_) => AddressState::Closed,
        };
        let (in_flight, allowed) = (self.in_flight, self.allowed(now));
        AddressStatus { state, in_flight, allowed, paused_for }
    }
}

fn bounded(named: Duration) -> Duration {
    named.min(LONGEST_PAUSE)
}
