//! The health of one address: healthy, down, closed or half-open.
//!
//! Failures in a row make an address *suspect*: it becomes half-open, and only a probe is sent to
//! it. If the probe fails, the address is *down* until the next probe is due. An address that
//! refuses the account (no access, no money, no such model) is *closed*; it is probed more seldom.
//! Any success makes it healthy again. The intervals between probes double up to a small bound, so
//! that an address is used again soon after it has recovered.
//!
//! A probe should be a fixed request of the program that probes. Otherwise a single client request
//! that always fails can keep an address down for all others.

use std::time::Duration;

use tokio::time::Instant;

use crate::deadline;

/// The time between two probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeInterval {
    /// The time before the first probe.
    pub first: Duration,
    /// The longest time. The time doubles with each failed probe up to this bound.
    pub longest: Duration,
}

impl ProbeInterval {
    fn after(self, failed: u32) -> Duration {
        self.first.saturating_mul(2_u32.saturating_pow(failed)).min(self.longest)
    }
}

/// Time after an answered probe in which one suspicious refusal is not enough for another probe.
const VOUCHED: Duration = Duration::from_secs(60);

/// The settings of an [`AddressHealth`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthConfig {
    /// Failures in a row that make an address suspect.
    pub failures: u32,
    /// Probes of an address that fails.
    pub down: ProbeInterval,
    /// Probes of an address that refuses the account.
    pub closed: ProbeInterval,
    /// Time after which a probe without a result counts as lost, and another one is let through.
    pub probe_timeout: Duration,
}

impl Default for HealthConfig {
    /// Suspect after 8 failures; probes after 1 to 10 s, or 5 to 30 s if it is closed; a probe is
    /// lost after 120 s.
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            failures: 8,
            down: ProbeInterval { first: secs(1), longest: secs(10) },
            closed: ProbeInterval { first: secs(5), longest: secs(30) },
            probe_timeout: secs(120),
        }
    }
}

/// The state of an address at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// Requests are sent.
    Healthy,
    /// It fails. No request is sent before the next probe, which is due at this time.
    Down(Instant),
    /// It refuses the account. No request is sent before the next probe, which is due at this time.
    Closed(Instant),
    /// Only a probe is sent.
    HalfOpen,
}

/// The health of one address.
#[derive(Debug, Default)]
pub struct AddressHealth {
    config: HealthConfig,
    /// Failures in a row while it is healthy.
    failures: u32,
    sick: Option<Sickness>,
    /// The time of the last probe that was answered.
    vouched_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Sickness {
    closed: bool,
    /// Probes that failed.
    failed: u32,
    /// The time at which the next probe is due.
    due: Instant,
    /// Start of the probe in flight.
    probe: Option<Instant>,
}

impl AddressHealth {
    /// A healthy address.
    #[must_use]
    pub const fn new(config: HealthConfig) -> Self {
        Self { config, failures: 0, sick: None, vouched_at: None }
    }

    /// The state at `now`.
    #[must_use]
    pub fn state(&self, now: Instant) -> HealthState {
        match self.sick {
            None => HealthState::Healthy,
            Some(sick) if sick.due <= now => HealthState::HalfOpen,
            Some(Sickness { closed: true, due, .. }) => HealthState::Closed(due),
            Some(Sickness { due, .. }) => HealthState::Down(due),
        }
    }

    /// True if requests are sent.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        self.sick.is_none()
    }

    /// True if it refused the account, and no probe has succeeded since.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sick.is_some_and(|sick| sick.closed)
    }

    /// The time at which a probe may be sent, if the address is not healthy: when it is due, or
    /// when the one in flight counts as lost.
    #[must_use]
    pub fn probe_at(&self) -> Option<Instant> {
        let Sickness { due, probe, .. } = self.sick?;
        Some(probe.map_or(due, |start| due.max(start + self.config.probe_timeout)))
    }

    /// The time at which the address may be used again at the earliest, if it is not healthy: `now`
    /// if a probe is due or in flight, otherwise when it is due.
    #[must_use]
    pub fn opens_at(&self, now: Instant) -> Option<Instant> {
        self.sick.map(|sick| sick.due.max(now))
    }

    /// Records that a probe was sent.
    pub fn probe_started(&mut self, now: Instant) {
        if let Some(sick) = &mut self.sick {
            sick.probe = Some(now);
        }
    }

    /// Records that a probe ended without a result, for example because its caller was cancelled.
    pub fn probe_abandoned(&mut self) {
        if let Some(sick) = &mut self.sick {
            sick.probe = None;
        }
    }

    /// Records that a probe failed, and returns the time until the next one.
    pub fn probe_failed(&mut self, now: Instant) -> Duration {
        let interval = |closed| if closed { self.config.closed } else { self.config.down };
        let before = self.sick.take();
        let (closed, failed) = before.map_or((false, 0), |sick| (sick.closed, sick.failed));
        let wait = interval(closed).after(failed);
        let due = deadline::after(now, wait);
        let failed = failed.saturating_add(1);
        self.sick = Some(Sickness { closed, failed, due, probe: None });
        wait
    }

    /// Records that the address answered a request: it is healthy.
    pub const fn success(&mut self) {
        self.failures = 0;
        self.sick = None;
    }

    /// Records that the address answered a probe: it is healthy, and for a while it takes several
    /// failures to make it suspect again.
    pub const fn probe_passed(&mut self, now: Instant) {
        self.success();
        self.vouched_at = Some(now);
    }

    /// Records a failure. The last of too many in a row makes the address suspect. Failures of
    /// requests that were sent earlier change nothing.
    pub fn failure(&mut self, now: Instant) {
        if self.sick.is_some() {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.config.failures {
            self.suspect(now);
        }
    }

    /// Makes a healthy address half-open: a probe decides. If one has decided a short while ago,
    /// counts a failure instead, so that requests that are at fault themselves cause few probes.
    pub fn suspect(&mut self, now: Instant) {
        let vouched = self.vouched_at.is_some_and(|at| now < at + VOUCHED);
        if vouched && self.failures + 1 < self.config.failures {
            self.failures += 1;
            return;
        }
        self.failures = 0;
        self.sick.get_or_insert(Sickness { closed: false, failed: 0, due: now, probe: None });
    }

    /// Records that the address refuses the account.
    pub fn close(&mut self, now: Instant) {
        if self.is_closed() {
            return;
        }
        self.failures = 0;
        let due = deadline::after(now, self.config.closed.after(0));
        self.sick = Some(Sickness { closed: true, failed: 1, due, probe: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_make_it_suspect_and_a_failed_probe_takes_it_down() {
        let HealthConfig { failures, .. } = HealthConfig::default();
        let mut health = AddressHealth::default();
        for _ in 0..failures - 1 {
            health.failure(Instant::now());
        }
        health.success();
        for _ in 0..failures {
            assert_eq!(health.state(Instant::now()), HealthState::Healthy);
            health.failure(Instant::now());
        }
        let now = Instant::now();
        assert_eq!((health.state(now), health.probe_at()), (HealthState::HalfOpen, Some(now)));
        health.probe_started(now);
        assert_eq!(health.probe_at(), Some(now + HealthConfig::default().probe_timeout));
        assert_eq!(health.probe_failed(now), secs(1));
        assert_eq!(health.state(now), HealthState::Down(now + secs(1)));
        health.failure(now);
        assert_eq!(health.state(now), HealthState::Down(now + secs(1)), "a late failure");
        tokio::time::advance(secs(1)).await;
        assert_eq!(health.state(Instant::now()), HealthState::HalfOpen);
        health.success();
        assert_eq!(health.state(Instant::now()), HealthState::Healthy);
    }

    #[tokio::test(start_paused = true)]
    async fn probes_become_rarer_up_to_a_bound() {
        let mut health = AddressHealth::default();
        health.suspect(Instant::now());
        let waits: Vec<u64> =
            (0..7).map(|_| health.probe_failed(Instant::now()).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10, 10]);
        health.success();
        health.close(Instant::now());
        let now = Instant::now();
        assert_eq!(health.state(now), HealthState::Closed(now + secs(5)));
        let waits: Vec<u64> = (0..4).map(|_| health.probe_failed(now).as_secs()).collect();
        assert_eq!(waits, [10, 20, 30, 30]);
        assert!(health.is_closed(), "a failed probe leaves it closed");
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_answered_probe_suspicion_needs_several_failures_for_a_while() {
        let mut health = AddressHealth::default();
        health.suspect(Instant::now());
        assert_eq!(health.state(Instant::now()), HealthState::HalfOpen);
        health.probe_passed(Instant::now());
        for _ in 0..HealthConfig::default().failures - 1 {
            health.suspect(Instant::now());
            assert!(health.is_healthy());
        }
        health.suspect(Instant::now());
        assert!(!health.is_healthy());
        health.probe_passed(Instant::now());
        tokio::time::advance(VOUCHED).await;
        health.suspect(Instant::now());
        assert!(!health.is_healthy());
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_or_lost_probe_is_replaced() {
        let mut health = AddressHealth::default();
        let now = Instant::now();
        health.suspect(now);
        health.probe_started(now);
        health.probe_abandoned();
        assert_eq!(health.probe_at(), Some(now));
        health.probe_started(now);
        let lost = now + HealthConfig::default().probe_timeout;
        assert_eq!(health.probe_at(), Some(lost));
    }
}
