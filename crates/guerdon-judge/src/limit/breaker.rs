//! Circuit breaker: an endpoint that fails repeatedly is not called for a while, which saves its
//! time and the callers'.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it.
const FAILURES: u32 = 8;
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);
/// Open time after the account ran out of money or quota.
const QUOTA: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    /// Number of openings since the last success.
    trips: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Time of the next permitted attempt, if it lies in the future. After an open time one failure
    /// opens the breaker again.
    pub(crate) fn closed_at(&self, now: Instant) -> Option<Instant> {
        self.open_until.filter(|until| *until > now)
    }

    pub(crate) const fn success(&mut self) {
        *self = Self { failures: 0, trips: 0, open_until: None };
    }

    pub(crate) fn failure(&mut self, now: Instant) {
        self.failures += 1;
        if self.failures >= FAILURES && self.closed_at(now).is_none() {
            self.open_until =
                Some(now + FIRST.saturating_mul(2u32.saturating_pow(self.trips)).min(LONGEST));
            self.trips += 1;
        }
    }

    pub(crate) fn quota_gone(&mut self, now: Instant) {
        self.failures = FAILURES;
        self.open_until = Some(now + QUOTA);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_longer_each_time() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES - 1 {
            breaker.failure(Instant::now());
        }
        breaker.success();
        for _ in 0..FAILURES {
            assert_eq!(breaker.closed_at(Instant::now()), None);
            breaker.failure(Instant::now());
        }
        let opened = Instant::now();
        assert_eq!(breaker.closed_at(opened), Some(opened + FIRST));
        breaker.failure(opened);
        assert_eq!(
            breaker.closed_at(opened),
            Some(opened + FIRST),
            "one that was under way adds nothing"
        );
        tokio::time::advance(FIRST).await;
        assert_eq!(breaker.closed_at(Instant::now()), None);
        breaker.failure(Instant::now());
        assert_eq!(breaker.closed_at(Instant::now()), Some(Instant::now() + 2 * FIRST));
        tokio::time::advance(2 * FIRST).await;
        breaker.success();
        breaker.failure(Instant::now());
        assert_eq!(breaker.closed_at(Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_without_money_is_left_alone_for_minutes() {
        let mut breaker = Breaker::default();
        breaker.quota_gone(Instant::now());
        assert_eq!(breaker.closed_at(Instant::now()), Some(Instant::now() + QUOTA));
    }
}
