//! Circuit breaker: an address that fails again and again gets no requests for a while.

use std::time::Duration;

use tokio::time::Instant;

use crate::deadline;

/// The settings of a [`CircuitBreaker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open the breaker.
    pub failures: u32,
    /// The first open time. It doubles each time the breaker opens without a success in between.
    pub first: Duration,
    /// The longest open time.
    pub longest: Duration,
    /// Time after which a probe that was neither a success nor a failure counts as lost, and
    /// another one is let through.
    pub probe_timeout: Duration,
}

impl Default for BreakerConfig {
    /// Opens after 8 failures, for 5 seconds at first and 300 seconds at most; a probe is lost
    /// after 60 seconds.
    fn default() -> Self {
        Self {
            failures: 8,
            first: Duration::from_secs(5),
            longest: Duration::from_secs(300),
            probe_timeout: Duration::from_secs(60),
        }
    }
}

/// The state of a [`CircuitBreaker`] at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests are let through.
    Closed,
    /// No request is let through before this time.
    Open(Instant),
    /// The open time is over, and no request has succeeded since. One failure opens the breaker
    /// again.
    HalfOpen,
}

/// The health of one address.
///
/// A caller that sends all requests while the breaker is half-open uses
/// [`CircuitBreaker::open_until`]. A caller that first sends a single probe uses
/// [`CircuitBreaker::admit`].
#[derive(Debug, Default)]
pub struct CircuitBreaker {
    config: BreakerConfig,
    /// Failures in a row.
    failures: u32,
    /// Openings without a success in between.
    trips: u32,
    open_until: Option<Instant>,
    /// Start of the probe in flight.
    probe: Option<Instant>,
}

impl CircuitBreaker {
    /// A closed breaker.
    #[must_use]
    pub const fn new(config: BreakerConfig) -> Self {
        Self { config, failures: 0, trips: 0, open_until: None, probe: None }
    }

    /// The state at `now`.
    #[must_use]
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.open_until {
            None => BreakerState::Closed,
            Some(until) if until > now => BreakerState::Open(until),
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// The end of the open time, if it is in the future.
    #[must_use]
    pub fn open_until(&self, now: Instant) -> Option<Instant> {
        self.open_until.filter(|until| *until > now)
    }

    /// Asks to send a request. While the breaker is half-open, only one request at a time is let
    /// through, the probe. Its result must be reported with [`CircuitBreaker::success`],
    /// [`CircuitBreaker::failure`] or [`CircuitBreaker::abandon_probe`].
    ///
    /// # Errors
    ///
    /// Returns the time at which it is worth asking again: the end of the open time, or of the
    /// probe in flight at the latest.
    pub fn admit(&mut self, now: Instant) -> Result<(), Instant> {
        match self.state(now) {
            BreakerState::Closed => Ok(()),
            BreakerState::Open(until) => Err(until),
            BreakerState::HalfOpen => {
                let lost_at = self.probe.map(|start| start + self.config.probe_timeout);
                if let Some(lost_at) = lost_at.filter(|lost_at| *lost_at > now) {
                    return Err(lost_at);
                }
                self.probe = Some(now);
                Ok(())
            }
        }
    }

    /// Records that the address answered: the breaker closes.
    pub const fn success(&mut self) {
        *self = Self::new(self.config);
    }

    /// Records that the address failed. While the breaker is open, failures of requests that were
    /// sent before it opened do not prolong the open time.
    pub fn failure(&mut self, now: Instant) {
        self.probe = None;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.config.failures && self.open_until(now).is_none() {
            let longer = 2_u32.saturating_pow(self.trips);
            let open = self.config.first.saturating_mul(longer).min(self.config.longest);
            self.open_until = Some(deadline::after(now, open));
            self.trips = self.trips.saturating_add(1);
        }
    }

    /// Records that the probe ended without a result, for example because its caller was
    /// cancelled. The next request is a probe.
    pub const fn abandon_probe(&mut self) {
        self.probe = None;
    }

    /// Opens the breaker for `time`, for example because the account has no credit. One failure
    /// after it opens the breaker again.
    pub fn open_for(&mut self, time: Duration, now: Instant) {
        self.probe = None;
        self.failures = self.config.failures;
        self.open_until = Some(deadline::after(now, time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(breaker: &mut CircuitBreaker) {
        for _ in 0..BreakerConfig::default().failures {
            breaker.failure(Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_longer_each_time() {
        let BreakerConfig { failures, first, .. } = BreakerConfig::default();
        let mut breaker = CircuitBreaker::default();
        for _ in 0..failures - 1 {
            breaker.failure(Instant::now());
        }
        breaker.success();
        for _ in 0..failures {
            assert_eq!(breaker.state(Instant::now()), BreakerState::Closed);
            breaker.failure(Instant::now());
        }
        let opened = Instant::now();
        assert_eq!(breaker.open_until(opened), Some(opened + first));
        breaker.failure(opened);
        assert_eq!(breaker.open_until(opened), Some(opened + first), "a late failure adds nothing");
        tokio::time::advance(first).await;
        assert_eq!(breaker.state(Instant::now()), BreakerState::HalfOpen);
        breaker.failure(Instant::now());
        assert_eq!(breaker.open_until(Instant::now()), Some(Instant::now() + 2 * first));
        tokio::time::advance(2 * first).await;
        breaker.success();
        breaker.failure(Instant::now());
        assert_eq!(breaker.state(Instant::now()), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_open_breaker_lets_one_probe_through() {
        let BreakerConfig { first, probe_timeout, .. } = BreakerConfig::default();
        let mut breaker = CircuitBreaker::default();
        assert_eq!(breaker.admit(Instant::now()), Ok(()));
        failing(&mut breaker);
        assert_eq!(breaker.admit(Instant::now()), Err(Instant::now() + first));
        tokio::time::advance(first).await;
        let start = Instant::now();
        assert_eq!(breaker.admit(start), Ok(()));
        assert_eq!(breaker.admit(start), Err(start + probe_timeout));
        breaker.abandon_probe();
        assert_eq!(breaker.admit(start), Ok(()), "the abandoned probe is replaced");
        tokio::time::advance(probe_timeout).await;
        assert_eq!(breaker.admit(Instant::now()), Ok(()), "the lost probe is replaced");
        breaker.success();
        assert_eq!(breaker.admit(Instant::now()), Ok(()));
        assert_eq!(breaker.admit(Instant::now()), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_open_time_is_bounded() {
        let longest = BreakerConfig::default().longest;
        let mut breaker = CircuitBreaker::default();
        failing(&mut breaker);
        for _ in 0..40 {
            tokio::time::advance(longest).await;
            breaker.failure(Instant::now());
        }
        assert_eq!(breaker.open_until(Instant::now()), Some(Instant::now() + longest));
    }

    #[tokio::test(start_paused = true)]
    async fn it_can_be_opened_for_a_given_time() {
        let mut breaker = CircuitBreaker::default();
        let time = Duration::from_secs(600);
        breaker.open_for(time, Instant::now());
        assert_eq!(breaker.open_until(Instant::now()), Some(Instant::now() + time));
    }
}
