//! A quota as a sliding window: at most `limit` units in any `span`.
//!
//! A sliding window stays within the quota for every way in which an endpoint may count (fixed
//! window, sliding window or token bucket). It allows bursts of the whole quota and loses none of
//! it. An estimate is reserved before a request and settled after it; the unused part is free again
//! immediately.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// One quota.
#[derive(Debug)]
pub struct QuotaWindow {
    limit: u64,
    /// The configured limit. The endpoint can report a smaller one, but not a larger one.
    ceiling: u64,
    span: Duration,
    entries: VecDeque<WindowEntry>,
    /// The number of the oldest entry.
    oldest: u64,
    used: u64,
    /// The use of the same quota by other clients, as the endpoint reported it.
    others: Option<WindowEntry>,
}

#[derive(Debug, Clone, Copy)]
struct WindowEntry {
    until: Instant,
    amount: u64,
}

/// The number of a reservation in its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaReservation(u64);

/// An endpoint's report about one of its quotas. Fields that it did not report are `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaReport {
    /// The size of the quota.
    pub limit: Option<u64>,
    /// The unused part.
    pub remaining: Option<u64>,
    /// Time until the whole quota is available again.
    pub reset: Option<Duration>,
}

impl QuotaWindow {
    /// A configured quota.
    #[must_use]
    pub const fn new(limit: u64, span: Duration) -> Self {
        Self {
            limit,
            ceiling: limit,
            span,
            entries: VecDeque::new(),
            oldest: 0,
            used: 0,
            others: None,
        }
    }

    /// A quota that was reported by the endpoint but not configured. Later reports may raise it.
    #[must_use]
    pub const fn learned(limit: u64, span: Duration) -> Self {
        let mut window = Self::new(limit, span);
        window.ceiling = u64::MAX;
        window
    }

    /// Time until `amount` fits, after the amount `ahead` of earlier requests. An amount larger
    /// than the whole quota is admitted when the window is empty, because it would never fit.
    pub fn wait(&mut self, amount: u64, ahead: u64, now: Instant) -> Duration {
        self.expire(now);
        let wanted = amount.min(self.limit).saturating_add(ahead);
        let mut free = self.limit.saturating_sub(self.spent());
        if wanted <= free {
            return Duration::ZERO;
        }
        let mut until = now;
        for WindowEntry { until: end, amount } in self.in_order_of_expiry() {
            free = free.saturating_add(amount);
            until = end;
            if wanted <= free {
                return until - now;
            }
        }
        // The amounts ahead fill additional whole windows.
        let more = wanted.saturating_sub(self.limit).div_ceil(self.limit.max(1));
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        (until - now).saturating_add(self.span.saturating_mul(more))
    }

    fn in_order_of_expiry(&self) -> impl Iterator<Item = WindowEntry> {
        let before = self
            .others
            .map_or(0, |others| self.entries.partition_point(|own| own.until <= others.until));
        let own = |skip, take| self.entries.iter().copied().skip(skip).take(take);
        own(0, before).chain(self.others).chain(own(before, usize::MAX))
    }

    /// Reserves `amount`. Call it only if [`QuotaWindow::wait`] was zero.
    pub fn reserve(&mut self, amount: u64, now: Instant) -> QuotaReservation {
        self.entries.push_back(WindowEntry { until: now + self.span, amount });
        self.used = self.used.saturating_add(amount);
        QuotaReservation(self.oldest + self.entries.len() as u64 - 1)
    }

    /// Replaces the amount of a reservation by the amount that was used.
    pub fn settle(&mut self, reservation: QuotaReservation, amount: u64, now: Instant) {
        self.expire(now);
        // A reservation that has left the window no longer matters.
        let index = reservation.0.checked_sub(self.oldest);
        let Some(index) = index.and_then(|index| usize::try_from(index).ok()) else { return };
        if let Some(entry) = self.entries.get_mut(index) {
            self.used = self.used.saturating_sub(entry.amount).saturating_add(amount);
            entry.amount = amount;
        }
    }

    /// Applies a report of the endpoint. This window counts requests in flight, which the endpoint
    /// does not count yet, so only usage beyond this window's count is attributed to other clients.
    pub fn sync(&mut self, report: QuotaReport, now: Instant) {
        self.expire(now);
        if let Some(limit) = report.limit.filter(|limit| *limit > 0) {
            self.limit = limit.min(self.ceiling);
        }
        if let Some(remaining) = report.remaining {
            let spent = report.limit.unwrap_or(self.limit).saturating_sub(remaining);
            let others = spent.saturating_sub(self.used);
            let until = now + report.reset.unwrap_or(self.span).min(self.span);
            self.others = (others > 0).then_some(WindowEntry { until, amount: others });
        }
    }

    fn spent(&self) -> u64 {
        self.used.saturating_add(self.others.map_or(0, |others| others.amount))
    }

    fn expire(&mut self, now: Instant) {
        while let Some(first) = self.entries.front().filter(|first| first.until <= now) {
            self.used = self.used.saturating_sub(first.amount);
            self.oldest += 1;
            self.entries.pop_front();
        }
        if self.others.is_some_and(|others| others.until <= now) {
            self.others = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn the_unused_part_is_free_again_at_once() {
        let (mut window, now) = (QuotaWindow::new(100, MINUTE), Instant::now());
        let reservation = window.reserve(90, now);
        assert_eq!(window.wait(20, 0, now), MINUTE);
        window.settle(reservation, 30, now);
        assert_eq!(window.wait(70, 0, now), Duration::ZERO);
        assert_eq!(window.wait(71, 0, now), MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn units_ahead_fill_one_window_after_another() {
        let (mut window, now) = (QuotaWindow::new(100, MINUTE), Instant::now());
        window.reserve(100, now);
        assert_eq!(window.wait(10, 90, now), MINUTE);
        assert_eq!(window.wait(10, 190, now), 2 * MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_amount_larger_than_the_quota_waits_for_an_empty_window() {
        let (mut window, now) = (QuotaWindow::new(100, MINUTE), Instant::now());
        assert_eq!(window.wait(1000, 0, now), Duration::ZERO);
        window.reserve(1000, now);
        assert_eq!(window.wait(1, 0, now + secs(59)), secs(1));
        assert_eq!(window.wait(1, 0, now + secs(60)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn reported_use_by_others_and_smaller_limits_count() {
        let (mut window, now) = (QuotaWindow::new(100, MINUTE), Instant::now());
        let report = |limit, remaining, reset| QuotaReport { limit, remaining, reset };
        window.reserve(10, now);
        window.sync(report(Some(100), Some(40), Some(secs(6))), now);
        assert_eq!(window.wait(41, 0, now), secs(6));
        assert_eq!(window.wait(40, 0, now), Duration::ZERO);
        window.sync(report(Some(50), Some(40), None), now);
        assert_eq!(window.wait(40, 0, now), Duration::ZERO);
        assert_eq!(window.wait(41, 0, now), MINUTE);
        window.sync(report(Some(500), None, None), now);
        assert_eq!(window.wait(90, 0, now), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_learned_limit_can_be_raised() {
        let (mut window, now) = (QuotaWindow::learned(10, MINUTE), Instant::now());
        window.sync(QuotaReport { limit: Some(100), ..QuotaReport::default() }, now);
        assert_eq!(window.wait(100, 0, now), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_limit(
            steps in proptest::collection::vec((1u64..60, 0u64..20_000), 1..200),
        ) {
            let (mut window, mut now) = (QuotaWindow::new(100, MINUTE), Instant::now());
            let mut sent: Vec<(Instant, u64)> = Vec::new();
            for (amount, pause) in steps {
                now += Duration::from_millis(pause);
                now += window.wait(amount, 0, now);
                prop_assert_eq!(window.wait(amount, 0, now), Duration::ZERO);
                window.reserve(amount, now);
                sent.push((now, amount));
                let inside = sent.iter().filter(|(at, _)| *at + MINUTE > now);
                let inside: u64 = inside.map(|(_, amount)| amount).sum();
                prop_assert!(inside <= 100, "{inside}");
            }
        }
    }
}
