//! The number of requests that may be in flight: additive increase, multiplicative decrease.
//!
//! The limit grows by rounds and shrinks by episodes, as in TCP (Jacobson, "Congestion avoidance
//! and control", SIGCOMM 1988). Requests that were in flight when it shrank add no information;
//! only a refusal of one that was sent afterwards shrinks it again. It grows again some time after
//! the last refusal, or after the pause that the address asked for. Failures that are not about
//! load, such as most HTTP 5xx, change nothing. A request that runs out of time does, because an
//! address that queues instead of refusing gives no other sign.

use std::time::Duration;

use tokio::time::Instant;

use crate::deadline;

/// The first limit.
const START: f64 = 20.0;
/// The factor after a refusal.
const DECREASE: f64 = 0.8;
/// The factor after a full round without refusals.
const INCREASE: f64 = 1.05;
/// The share of the limit that a round must have used to raise it.
const USED: f64 = 0.8;
/// Time after a refusal in which the limit does not grow.
const CALM: Duration = Duration::from_secs(15);

/// The number of requests that may be in flight to one address.
#[derive(Debug)]
pub struct AdaptiveLimit {
    limit: f64,
    most: f64,
    /// Requests in this round that ended without a refusal.
    clean: f64,
    /// The most requests in flight in this round.
    peak: usize,
    shrunk_at: Option<Instant>,
    grows_after: Option<Instant>,
}

impl AdaptiveLimit {
    /// A limit that starts at 20 and stays between 1 and `most`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
    pub fn new(most: usize) -> Self {
        let most = most.max(1) as f64;
        Self {
            limit: START.min(most),
            most,
            clean: 0.0,
            peak: 0,
            shrunk_at: None,
            grows_after: None,
        }
    }

    /// The number of requests that may be in flight.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the limit is between 1 and `most`"
    )]
    pub const fn allowed(&self) -> usize {
        self.limit as usize
    }

    /// Records that a request was sent; `in_flight` counts it.
    pub fn started(&mut self, in_flight: usize) {
        self.peak = self.peak.max(in_flight);
    }

    /// Records that the address accepted a request.
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
    pub fn accepted(&mut self, now: Instant) {
        self.clean += 1.0;
        if self.clean < self.limit {
            return;
        }
        let used = self.peak as f64 >= USED * self.limit.floor();
        if used && self.grows_after.is_none_or(|until| until <= now) {
            self.limit = (self.limit * INCREASE).min(self.most);
        }
        (self.clean, self.peak) = (0.0, 0);
    }

    /// Records that the address refused a request for load. `sent` is the time at which the request
    /// was sent, `pause` the pause that the address asked for.
    pub fn overloaded(&mut self, sent: Instant, now: Instant, pause: Duration) {
        if self.shrunk_at.is_none_or(|shrunk| shrunk < sent) {
            self.limit = (self.limit * DECREASE).max(1.0);
            self.shrunk_at = Some(now);
            (self.clean, self.peak) = (0.0, 0);
        }
        let until = deadline::after(now, pause.max(CALM));
        self.grows_after = Some(self.grows_after.map_or(until, |before| before.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(limit: &mut AdaptiveLimit, in_flight: usize) {
        for _ in 0..=limit.allowed() {
            limit.started(in_flight);
            limit.accepted(Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_episode_shrinks_it_once_and_growth_waits_for_calm() {
        let mut limit = AdaptiveLimit::new(1000);
        assert_eq!(limit.allowed(), 20);
        let sent = Instant::now();
        for _ in 0..50 {
            tokio::time::advance(Duration::from_millis(1)).await;
            limit.overloaded(sent, Instant::now(), Duration::from_secs(60));
        }
        assert_eq!(limit.allowed(), 16);
        let sent = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        limit.overloaded(sent, Instant::now(), Duration::ZERO);
        assert_eq!(limit.allowed(), 12, "refused a request that was sent after it shrank");
        tokio::time::advance(CALM).await;
        round(&mut limit, 12);
        assert_eq!(limit.allowed(), 12, "the pause is not over");
        tokio::time::advance(Duration::from_secs(60)).await;
        round(&mut limit, 12);
        assert_eq!(limit.allowed(), 13);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_limit_does_not_grow() {
        let mut limit = AdaptiveLimit::new(1000);
        for _ in 0..20 {
            round(&mut limit, 10);
        }
        assert_eq!(limit.allowed(), 20);
        for _ in 0..200 {
            let full = limit.allowed();
            round(&mut limit, full);
        }
        assert_eq!(limit.allowed(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_between_one_and_the_most() {
        let mut limit = AdaptiveLimit::new(3);
        assert_eq!(limit.allowed(), 3);
        for _ in 0..30 {
            tokio::time::advance(CALM).await;
            limit.overloaded(Instant::now(), Instant::now(), Duration::ZERO);
        }
        assert_eq!(limit.allowed(), 1);
    }
}
