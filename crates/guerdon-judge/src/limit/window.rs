//! A quota as a sliding window: at most `limit` units in any `span`.
//!
//! This shape stays within all common ways of counting (fixed windows, sliding windows, token
//! buckets), allows a whole window's worth at once, and uses the quota fully. An estimate is
//! reserved before an attempt and settled after it; the unused part is free again immediately.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// One quota.
#[derive(Debug)]
pub(crate) struct Window {
    limit: u64,
    /// The configured limit; the endpoint's headers can only lower it.
    ceiling: u64,
    span: Duration,
    entries: VecDeque<WindowEntry>,
    /// The number of the oldest entry.
    oldest: u64,
    used: u64,
    /// Usage of the same quota by other clients, from the endpoint's headers.
    others: Option<WindowEntry>,
}

#[derive(Debug, Clone, Copy)]
struct WindowEntry {
    until: Instant,
    amount: u64,
}

/// A reservation's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowReservation(u64);

impl Window {
    pub(crate) const fn new(limit: u64, span: Duration) -> Self {
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

    /// A quota learned from the endpoint's headers.
    pub(crate) fn learnt(limit: u64, span: Duration) -> Self {
        Self { ceiling: u64::MAX, ..Self::new(limit, span) }
    }

    /// Time until `amount` more fits, after `ahead` units that earlier questions will take. An
    /// amount larger than the whole quota waits for an empty window, because refusing it would
    /// never help.
    pub(crate) fn wait(&mut self, amount: u64, ahead: u64, now: Instant) -> Duration {
        self.expire(now);
        let wanted = amount.min(self.limit).saturating_add(ahead);
        let mut free = self.limit.saturating_sub(self.spent());
        if wanted <= free {
            return Duration::ZERO;
        }
        let mut until = now;
        for WindowEntry { until: end, amount } in self.ends() {
            free += amount;
            until = end;
            if wanted <= free {
                return until - now;
            }
        }
        // Those ahead fill whole windows more.
        let more = wanted.saturating_sub(self.limit).div_ceil(self.limit.max(1));
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        (until - now).saturating_add(self.span.saturating_mul(more))
    }

    /// Reserved amounts, in the order in which they expire.
    fn ends(&self) -> impl Iterator<Item = WindowEntry> {
        let before = self
            .others
            .map_or(0, |others| self.entries.partition_point(|own| own.until <= others.until));
        let own = |skip, take| self.entries.iter().copied().skip(skip).take(take);
        own(0, before).chain(self.others).chain(own(before, usize::MAX))
    }

    /// Takes `amount`; only after [`Window::wait`] was zero.
    pub(crate) fn reserve(&mut self, amount: u64, now: Instant) -> WindowReservation {
        self.entries.push_back(WindowEntry { until: now + self.span, amount });
        self.used += amount;
        WindowReservation(self.oldest + self.entries.len() as u64 - 1)
    }

    /// Replaces a reservation by the actual usage.
    pub(crate) fn settle(&mut self, reserved: WindowReservation, amount: u64, now: Instant) {
        self.expire(now);
        // One that has left the window no longer matters.
        let Some(index) =
            reserved.0.checked_sub(self.oldest).and_then(|index| usize::try_from(index).ok())
        else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(index) {
            self.used = self.used - entry.amount + amount;
            entry.amount = amount;
        }
    }

    /// Updates the quota from the endpoint's headers. Attempts in flight are counted here but not
    /// yet by the endpoint, so only its surplus over our own count belongs to other clients.
    pub(crate) fn sync(&mut self, status: QuotaStatus, now: Instant) {
        self.expire(now);
        if let Some(limit) = status.limit.filter(|limit| *limit > 0) {
            self.limit = limit.min(self.ceiling);
        }
        if let Some(remaining) = status.remaining {
            let spent = status.limit.unwrap_or(self.limit).saturating_sub(remaining);
            let others = spent.saturating_sub(self.used);
            let until = now + status.reset.unwrap_or(self.span).min(self.span);
            self.others = (others > 0).then_some(WindowEntry { until, amount: others });
        }
    }

    fn spent(&self) -> u64 {
        self.used + self.others.map_or(0, |others| others.amount)
    }

    fn expire(&mut self, now: Instant) {
        while let Some(first) = self.entries.front().filter(|first| first.until <= now) {
            self.used -= first.amount;
            self.oldest += 1;
            self.entries.pop_front();
        }
        if self.others.is_some_and(|others| others.until <= now) {
            self.others = None;
        }
    }
}

/// Status of one quota, from headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct QuotaStatus {
    pub(crate) limit: Option<u64>,
    pub(crate) remaining: Option<u64>,
    /// Time until it is full again.
    pub(crate) reset: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn unused_reservation_is_free_immediately() {
        let (mut window, now) = (Window::new(100, MINUTE), Instant::now());
        let reserved = window.reserve(90, now);
        assert_eq!(window.wait(20, 0, now), MINUTE);
        window.settle(reserved, 30, now);
        assert_eq!(window.wait(70, 0, now), Duration::ZERO);
        assert_eq!(window.wait(71, 0, now), MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn earlier_questions_are_waited_for_window_by_window() {
        let (mut window, now) = (Window::new(100, MINUTE), Instant::now());
        window.reserve(100, now);
        assert_eq!(window.wait(10, 90, now), MINUTE);
        assert_eq!(window.wait(10, 190, now), 2 * MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn oversized_amount_waits_for_an_empty_window() {
        let (mut window, now) = (Window::new(100, MINUTE), Instant::now());
        assert_eq!(window.wait(1000, 0, now), Duration::ZERO);
        window.reserve(1000, now);
        assert_eq!(window.wait(1, 0, now + secs(59)), secs(1));
        assert_eq!(window.wait(1, 0, now + secs(60)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn usage_of_other_clients_is_subtracted_and_lower_limits_apply() {
        let (mut window, now) = (Window::new(100, MINUTE), Instant::now());
        window.reserve(10, now);
        window
            .sync(QuotaStatus { limit: Some(100), remaining: Some(40), reset: Some(secs(6)) }, now);
        assert_eq!(window.wait(41, 0, now), secs(6));
        assert_eq!(window.wait(40, 0, now), Duration::ZERO);
        window.sync(QuotaStatus { limit: Some(50), remaining: Some(40), reset: None }, now);
        assert_eq!(window.wait(40, 0, now), Duration::ZERO);
        assert_eq!(window.wait(41, 0, now), MINUTE);
        window.sync(QuotaStatus { limit: Some(500), remaining: None, reset: None }, now);
        assert_eq!(window.wait(90, 0, now), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_limit(steps in proptest::collection::vec((1u64..60, 0u64..20_000), 1..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let _inside = runtime.enter();
            let (mut window, mut now) = (Window::new(100, MINUTE), Instant::now());
            let mut sent: Vec<(Instant, u64)> = Vec::new();
            for (amount, pause) in steps {
                now += Duration::from_millis(pause);
                now += window.wait(amount, 0, now);
                prop_assert_eq!(window.wait(amount, 0, now), Duration::ZERO);
                window.reserve(amount, now);
                sent.push((now, amount));
                let within: u64 = sent.iter().filter(|(at, _)| *at + MINUTE > now).map(|(_, amount)| amount).sum();
                prop_assert!(within <= 100, "{within}");
            }
        }
    }
}
