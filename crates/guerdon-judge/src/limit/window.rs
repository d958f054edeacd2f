//! A quota as a sliding window: never more than `limit` units in any `span`.
//!
//! That is the one shape that keeps within every way in which endpoints count (fixed windows, sliding windows, token
//! buckets), lets a whole window's worth go at once, and still uses all of it. An estimate is reserved before an attempt
//! and settled after it: what was not used is free again at once.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// One quota.
#[derive(Debug)]
pub(crate) struct Window {
    limit: u64,
    /// What the operator configured; what the endpoint says may only be less.
    ceiling: u64,
    span: Duration,
    entries: VecDeque<Entry>,
    /// The number of the oldest entry.
    oldest: u64,
    used: u64,
    /// What others spent of the same quota, as the endpoint told.
    others: Option<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    until: Instant,
    amount: u64,
}

/// A reservation's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reserved(u64);

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

    /// A quota that the endpoint told of and nobody configured.
    pub(crate) fn learnt(limit: u64, span: Duration) -> Self {
        Self { ceiling: u64::MAX, ..Self::new(limit, span) }
    }

    /// How long until `amount` more fits, after `ahead` that others will take first. What exceeds the whole quota is
    /// let through an empty window: refusing it for ever would help nobody.
    pub(crate) fn wait(&mut self, amount: u64, ahead: u64, now: Instant) -> Duration {
        self.expire(now);
        let wanted = amount.min(self.limit).saturating_add(ahead);
        let mut free = self.limit.saturating_sub(self.spent());
        if wanted <= free {
            return Duration::ZERO;
        }
        let mut until = now;
        for Entry { until: end, amount } in self.ends() {
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

    /// What is spent, in the order in which it comes free.
    fn ends(&self) -> impl Iterator<Item = Entry> {
        let before = self
            .others
            .map_or(0, |others| self.entries.partition_point(|own| own.until <= others.until));
        let own = |skip, take| self.entries.iter().copied().skip(skip).take(take);
        own(0, before).chain(self.others).chain(own(before, usize::MAX))
    }

    /// Takes `amount`; only after [`Window::wait`] was zero.
    pub(crate) fn reserve(&mut self, amount: u64, now: Instant) -> Reserved {
        self.entries.push_back(Entry { until: now + self.span, amount });
        self.used += amount;
        Reserved(self.oldest + self.entries.len() as u64 - 1)
    }

    /// Replaces a reservation by what was used.
    pub(crate) fn settle(&mut self, reserved: Reserved, amount: u64, now: Instant) {
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

    /// Takes over what the endpoint says of this quota. Attempts under way are in our count and not yet in its, so only
    /// what it counts beyond ours is somebody else's.
    pub(crate) fn sync(&mut self, told: Told, now: Instant) {
        self.expire(now);
        if let Some(limit) = told.limit.filter(|limit| *limit > 0) {
            self.limit = limit.min(self.ceiling);
        }
        if let Some(remaining) = told.remaining {
            let spent = told.limit.unwrap_or(self.limit).saturating_sub(remaining);
            let others = spent.saturating_sub(self.used);
            let until = now + told.reset.unwrap_or(self.span).min(self.span);
            self.others = (others > 0).then_some(Entry { until, amount: others });
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

/// What an endpoint says of one of its quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Told {
    pub(crate) limit: Option<u64>,
    pub(crate) remaining: Option<u64>,
    /// How long until it is full again.
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
    async fn what_was_not_used_is_free_again_at_once() {
        let (mut window, now) = (Window::new(100, MINUTE), Instant::now());
        let reserved = window.reserve(90, now);
        assert_eq!(window.wait(20, 0, now), MINUTE);
        window.settle(reserved, 30, now);
        assert_eq!(window.wait(70, 0, now), Duration::ZERO);
        assert_eq!(window.wait(71, 0, now), MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn those_ahead_are_waited_for_window_by_window() {
        let (mut window, now) = (Window::new(100, MINUTE), Instant::now());
        window.reserve(100, now);
        assert_eq!(window.wait(10, 90, now), MINUTE);
        assert_eq!(window.wait(10, 190, now), 2 * MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_big_for_any_window_waits_for_an_empty_one() {
        let (mut window, now) = (Window::new(100, MINUTE), Instant::now());
        assert_eq!(window.wait(1000, 0, now), Duration::ZERO);
        window.reserve(1000, now);
        assert_eq!(window.wait(1, 0, now + secs(59)), secs(1));
        assert_eq!(window.wait(1, 0, now + secs(60)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_spend_is_taken_off_and_a_smaller_limit_is_believed() {
        let (mut window, now) = (Window::new(100, MINUTE), Instant::now());
        window.reserve(10, now);
        window.sync(Told { limit: Some(100), remaining: Some(40), reset: Some(secs(6)) }, now);
        assert_eq!(window.wait(41, 0, now), secs(6));
        assert_eq!(window.wait(40, 0, now), Duration::ZERO);
        window.sync(Told { limit: Some(50), remaining: Some(40), reset: None }, now);
        assert_eq!(window.wait(40, 0, now), Duration::ZERO);
        assert_eq!(window.wait(41, 0, now), MINUTE);
        window.sync(Told { limit: Some(500), remaining: None, reset: None }, now);
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
