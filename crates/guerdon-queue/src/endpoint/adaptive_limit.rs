//! The number of requests that may be in flight: slow start, then additive increase and
//! multiplicative decrease.
//!
//! Slow start doubles the number at short steps until it reaches the limit: addresses refuse at
//! the door, so a refusal is heard long before the first answer. The first refusal sets the limit
//! to less than the number in flight. From then on the limit grows by rounds and shrinks by
//! episodes, as in TCP (Jacobson, "Congestion avoidance and control", SIGCOMM 1988). Requests that
//! were in flight when it shrank add no information; only a refusal of one that was sent
//! afterwards shrinks it again. It grows again some time after the last refusal, or after the
//! pause that the address asked for. After a pause a single request goes first, and slow start
//! follows. Failures that are not about load, such as most HTTP 5xx, change nothing. A request
//! that runs out of time does, because an address that queues instead of refusing gives no other
//! sign.

use std::time::Duration;

use tokio::time::Instant;

use crate::deadline;

/// The number of requests with which slow start begins.
const START: f64 = 8.0;
/// The time in which slow start doubles the number.
const STEP: Duration = Duration::from_millis(100);
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
    slow_start: Option<SlowStart>,
    /// Requests in this round that ended without a refusal.
    clean: f64,
    /// The most requests in flight in this round.
    peak: usize,
    shrunk_at: Option<Instant>,
    grows_after: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct SlowStart {
    /// The number at the beginning.
    from: f64,
    /// Set if the number grows only once a request has been accepted.
    awaits_answer: bool,
    /// The end of the pause before the slow start.
    after: Option<Instant>,
    since: Option<Instant>,
}

impl AdaptiveLimit {
    /// A limit of at most `most` that begins with a slow start from 8.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
    pub fn new(most: usize) -> Self {
        let most = most.max(1) as f64;
        Self {
            limit: most,
            most,
            slow_start: Some(SlowStart {
                from: START.min(most),
                awaits_answer: false,
                after: None,
                since: None,
            }),
            clean: 0.0,
            peak: 0,
            shrunk_at: None,
            grows_after: None,
        }
    }

    /// The same, but the slow start stays at its beginning until a request has been accepted. For
    /// an address that has alternatives: one that never answers then holds few requests.
    #[must_use]
    pub fn once_answered(most: usize) -> Self {
        let mut limit = Self::new(most);
        limit.slow_start = limit.slow_start.map(|start| SlowStart { awaits_answer: true, ..start });
        limit
    }

    /// The number of requests that may be in flight at `now`.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the limit is between 1 and `most`"
    )]
    pub fn allowed(&self, now: Instant) -> usize {
        self.current(now) as usize
    }

    /// The number that slow start reaches, for estimates of what the address can take.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the limit is between 1 and `most`"
    )]
    pub const fn limit(&self) -> usize {
        self.limit as usize
    }

    fn current(&self, now: Instant) -> f64 {
        let Some(SlowStart { from, since, .. }) = self.slow_start else { return self.limit };
        let steps = since.map_or(0, |since| steps(since, now));
        (from * f64::from(2_u32.saturating_pow(steps))).min(self.limit)
    }

    /// The time at which slow start raises the number next.
    #[must_use]
    pub fn grows_at(&self, now: Instant) -> Option<Instant> {
        let since = self.slow_start?.since?;
        (self.current(now) < self.limit).then(|| since + STEP * (steps(since, now) + 1))
    }

    /// Records that a request was sent; `in_flight` counts it.
    pub fn started(&mut self, in_flight: usize, now: Instant) {
        self.peak = self.peak.max(in_flight);
        if let Some(start) = self.slow_start.as_mut().filter(|start| !start.awaits_answer) {
            start.since.get_or_insert(now);
        }
    }

    /// Records that the address accepted a request that was sent at `sent`. Returns false if it was
    /// sent before the last refusal or the end of the last pause, and therefore adds nothing.
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
    pub fn accepted(&mut self, sent: Instant, now: Instant) -> bool {
        let restarted = self.slow_start.and_then(|start| start.after);
        if self.shrunk_at.is_some_and(|shrunk| sent <= shrunk)
            || restarted.is_some_and(|until| sent < until)
        {
            return false;
        }
        if let Some(start) = &mut self.slow_start {
            start.since.get_or_insert(now);
        }
        if self.current(now) < self.limit {
            return true;
        }
        self.slow_start = None;
        self.clean += 1.0;
        if self.clean < self.limit {
            return true;
        }
        let used = self.peak as f64 >= USED * self.limit.floor();
        if used && self.grows_after.is_none_or(|until| until <= now) {
            self.limit = (self.limit * INCREASE).min(self.most);
        }
        (self.clean, self.peak) = (0.0, 0);
        true
    }

    /// Records that the address refused a request for load. `sent` is the time at which the request
    /// was sent. Returns true if this is the first refusal of an episode.
    pub fn overloaded(&mut self, sent: Instant, now: Instant) -> bool {
        let first = self.shrunk_at.is_none_or(|shrunk| shrunk < sent);
        if first {
            // A refusal of the one request after a pause shows that the pause was too short. It
            // does not show how many requests are too many.
            let goes_alone = self.slow_start.is_some_and(|start| start.after.is_some())
                && self.current(now) <= 1.0;
            let refused = if goes_alone { self.limit } else { self.current(now) };
            self.limit = (refused * DECREASE).max(1.0);
            self.shrunk_at = Some(now);
            (self.clean, self.peak) = (0.0, 0);
        }
        self.calm_until(deadline::after(now, CALM));
        first
    }

    /// Records that no request is sent before `until`. A slow start from one request follows;
    /// `awaits_answer` says whether it grows only once a request has been accepted.
    pub fn paused(&mut self, until: Instant, awaits_answer: bool) {
        self.calm_until(until);
        self.slow_start =
            Some(SlowStart { from: 1.0, awaits_answer, after: Some(until), since: None });
    }

    fn calm_until(&mut self, until: Instant) {
        self.grows_after = Some(self.grows_after.map_or(until, |before| before.max(until)));
    }
}

/// Completed steps of slow start; after 31 steps every limit is reached.
fn steps(since: Instant, now: Instant) -> u32 {
    let elapsed = now.saturating_duration_since(since).as_millis() / STEP.as_millis();
    u32::try_from(elapsed).unwrap_or(u32::MAX).min(31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        Instant::now()
    }

    /// A limit of `most` after its slow start.
    async fn grown(most: usize) -> AdaptiveLimit {
        let mut limit = AdaptiveLimit::new(most);
        limit.started(1, now());
        tokio::time::advance(Duration::from_secs(4)).await;
        limit.accepted(now(), now());
        assert_eq!(limit.allowed(now()), most);
        limit
    }

    fn round(limit: &mut AdaptiveLimit, in_flight: usize) {
        for _ in 0..=limit.allowed(now()) {
            limit.started(in_flight, now());
            limit.accepted(now(), now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_start_doubles_until_the_limit_or_the_first_refusal() {
        let mut limit = AdaptiveLimit::new(256);
        assert_eq!((limit.allowed(now()), limit.grows_at(now())), (8, None));
        limit.started(1, now());
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(limit.allowed(now()));
            if let Some(at) = limit.grows_at(now()) {
                tokio::time::advance(at - now()).await;
            }
        }
        assert_eq!(seen, [8, 16, 32, 64, 128, 256]);

        let mut limit = AdaptiveLimit::new(256);
        limit.started(1, now());
        tokio::time::advance(STEP * 2).await;
        assert!(limit.overloaded(now(), now()));
        tokio::time::advance(STEP * 10).await;
        assert_eq!(limit.allowed(now()), 25, "32 were allowed when it refused");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_with_alternatives_grows_once_it_has_answered() {
        let mut limit = AdaptiveLimit::once_answered(256);
        limit.started(8, now());
        tokio::time::advance(STEP * 100).await;
        assert_eq!((limit.allowed(now()), limit.grows_at(now())), (8, None));
        limit.accepted(now(), now());
        tokio::time::advance(STEP * 2).await;
        assert_eq!(limit.allowed(now()), 32);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_request_goes_first() {
        let mut limit = grown(100).await;
        limit.overloaded(now(), now());
        limit.paused(now() + Duration::from_secs(1), false);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(limit.allowed(now()), 1);
        limit.started(1, now());
        tokio::time::advance(STEP * 3).await;
        assert_eq!(limit.allowed(now()), 8);
        tokio::time::advance(STEP * 10).await;
        assert_eq!(limit.allowed(now()), 80);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_an_earlier_request_does_not_end_the_slow_start_after_a_pause() {
        for (most, awaits_answer) in [(100, false), (100, true), (1, true)] {
            let mut limit = grown(most).await;
            let sent = now();
            tokio::time::advance(Duration::from_millis(10)).await;
            limit.overloaded(now(), now());
            let until = now() + Duration::from_secs(10);
            limit.paused(until, awaits_answer);
            for _ in 0..20 {
                tokio::time::advance(Duration::from_secs(1)).await;
                assert!(!limit.accepted(sent, now()), "it was sent before the refusal");
            }
            assert_eq!((limit.allowed(now()), limit.grows_at(now())), (1, None));
            limit.started(1, now());
            assert!(limit.accepted(now(), now()));
            tokio::time::advance(STEP * 2).await;
            assert_eq!(limit.allowed(now()), most.min(4));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_after_a_pause_says_little_about_the_limit() {
        let mut limit = grown(200).await;
        for _ in 0..3 {
            limit.overloaded(now(), now());
            limit.paused(now() + Duration::from_secs(1), false);
            tokio::time::advance(Duration::from_secs(1)).await;
            limit.started(1, now());
        }
        assert!(limit.limit() >= 100, "{}", limit.limit());
        tokio::time::advance(STEP * 4).await;
        limit.overloaded(now(), now());
        assert_eq!(limit.limit(), 12, "16 were too many");
    }

    #[tokio::test(start_paused = true)]
    async fn an_episode_shrinks_it_once_and_growth_waits_for_calm() {
        let mut limit = grown(20).await;
        let sent = now();
        for _ in 0..50 {
            tokio::time::advance(Duration::from_millis(1)).await;
            limit.overloaded(sent, now());
        }
        assert_eq!(limit.allowed(now()), 16);
        let sent = now();
        tokio::time::advance(Duration::from_millis(1)).await;
        limit.overloaded(sent, now());
        assert_eq!(limit.allowed(now()), 12, "refused a request that was sent after it shrank");
        round(&mut limit, 12);
        assert_eq!(limit.allowed(now()), 12, "it is not calm yet");
        tokio::time::advance(CALM).await;
        round(&mut limit, 12);
        assert_eq!(limit.allowed(now()), 13);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_limit_does_not_grow() {
        let mut limit = grown(100).await;
        limit.overloaded(now(), now());
        tokio::time::advance(CALM).await;
        for _ in 0..20 {
            round(&mut limit, 10);
        }
        assert_eq!(limit.allowed(now()), 80);
        for _ in 0..200 {
            let full = limit.allowed(now());
            round(&mut limit, full);
        }
        assert_eq!(limit.allowed(now()), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_between_one_and_the_most() {
        let mut limit = grown(3).await;
        for _ in 0..30 {
            tokio::time::advance(CALM).await;
            limit.overloaded(now(), now());
        }
        assert_eq!(limit.allowed(now()), 1);
    }
}
