//! A quota as a sliding window: at most `limit` units in any `span`.
//!
//! A sliding window stays within the quota for every way in which an endpoint may count (fixed
//! window, sliding window or token bucket). It allows bursts of the whole quota and loses none of
//! it. An estimate is reserved before a request and settled after it; the unused part is free again
//! immediately.
//!
//! An endpoint counts a request some time between its reservation and its settlement. A settled
//! request therefore stays in the window for as much longer as it took, within a bound that keeps
//! the loss small. The bound grows while the endpoint refuses requests that should fit.
//!
//! Next to the own count stand the endpoint's [reports](QuotaReport): what it says remains, less
//! what was reserved since, may be spent until the reported reset. A quota with a long reset is
//! refilled meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::remainder::{QuotaRemainder, QuotaReport};
use crate::deadline;

/// The share of the span by which a request may stay longer in the window.
const SLACK: f64 = 0.04;
/// The largest such share that refusals lead to.
const MOST_SLACK: f64 = 0.2;
/// The factor by which a refusal raises it.
const MORE_SLACK: f64 = 1.5;

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
    /// The current share of the span by which a request may stay longer.
    slack: f64,
    /// The endpoint's reports, by period.
    reported: Vec<QuotaRemainder>,
}

#[derive(Debug, Clone, Copy)]
struct WindowEntry {
    /// The time of the reservation.
    at: Instant,
    until: Instant,
    amount: u64,
}

/// The number of a reservation in its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaReservation(u64);

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
            slack: SLACK,
            reported: Vec::new(),
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
        let reported = self.reported.iter().map(|reported| reported.wait(amount, now)).max();
        self.own_wait(wanted, now).max(reported.unwrap_or_default())
    }

    fn own_wait(&self, wanted: u64, now: Instant) -> Duration {
        let mut free = self.limit.saturating_sub(self.used);
        if wanted <= free {
            return Duration::ZERO;
        }
        let mut until = now;
        for WindowEntry { until: end, amount, .. } in &self.entries {
            free = free.saturating_add(*amount);
            until = until.max(*end);
            if wanted <= free {
                return until - now;
            }
        }
        // The amounts ahead fill additional whole windows.
        let more = wanted.saturating_sub(self.limit).div_ceil(self.limit.max(1));
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        (until - now).saturating_add(self.span.saturating_mul(more))
    }

    /// Reserves `amount`. Call it only if [`QuotaWindow::wait`] was zero.
    pub fn reserve(&mut self, amount: u64, now: Instant) -> QuotaReservation {
        self.entries.push_back(WindowEntry { at: now, until: now + self.span, amount });
        self.used = self.used.saturating_add(amount);
        self.reported.iter_mut().for_each(|reported| reported.reserve(amount, now));
        QuotaReservation(self.oldest + self.entries.len() as u64 - 1)
    }

    /// Replaces the amount of a reservation by the amount that was used.
    pub fn settle(&mut self, reservation: QuotaReservation, amount: u64, now: Instant) {
        self.expire(now);
        let (span, slack) = (self.span, self.span.mul_f64(self.slack));
        let Some(entry) = self.entry(reservation) else { return };
        let before = std::mem::replace(&mut entry.amount, amount);
        let at = entry.at;
        entry.until = at + span + (now - at).min(slack);
        self.used = self.used.saturating_sub(before).saturating_add(amount);
        self.reported.iter_mut().for_each(|reported| reported.settle(at, before, amount));
    }

    /// Removes a reservation whose request did not reach the endpoint.
    pub fn refund(&mut self, reservation: QuotaReservation, now: Instant) {
        self.expire(now);
        let Some(entry) = self.entry(reservation) else { return };
        let (at, before) = (entry.at, std::mem::take(&mut entry.amount));
        self.used = self.used.saturating_sub(before);
        self.reported.iter_mut().for_each(|reported| reported.settle(at, before, 0));
    }

    /// Records that the endpoint refused a request for load. If most of the quota is used, the
    /// endpoint counts requests for longer than this window does. A delay that it named counts more
    /// than what its reports leave.
    pub fn refused(&mut self, named: Option<Duration>, now: Instant) {
        self.expire(now);
        if let Some(named) = named {
            let end = deadline::after(now, named);
            self.reported.iter_mut().for_each(|reported| reported.ends_by(end));
        }
        if self.used.saturating_mul(5) >= self.limit.saturating_mul(4) {
            self.slack = (self.slack * MORE_SLACK).min(MOST_SLACK);
        }
    }

    /// `None` for a reservation that has left the window and no longer matters.
    fn entry(&mut self, reservation: QuotaReservation) -> Option<&mut WindowEntry> {
        let index = reservation.0.checked_sub(self.oldest)?;
        self.entries.get_mut(usize::try_from(index).ok()?)
    }

    /// Applies a report of the endpoint, read from the reply to a request that was sent at `sent`.
    /// The endpoint may not have counted the requests that were sent afterwards, so they are taken
    /// off what it says remains.
    pub fn sync(&mut self, report: QuotaReport, sent: Instant, now: Instant) {
        self.expire(now);
        let limit = report.limit.filter(|limit| *limit > 0);
        if let Some(limit) = limit.filter(|_| report.is_of(self.span)) {
            self.limit = limit.min(self.ceiling);
        }
        let Some(remaining) = report.remaining else { return };
        let since = self.entries.iter().rev().take_while(|entry| entry.at > sent);
        let since = since.fold(0_u64, |sum, entry| sum.saturating_add(entry.amount));
        let reset = report.reset.or(report.period).unwrap_or(self.span);
        self.reported.retain(|reported| reported.period != report.period);
        let left = remaining.saturating_sub(since);
        self.reported.push(QuotaRemainder::new(&report, left, (sent, now), reset));
    }

    fn expire(&mut self, now: Instant) {
        while let Some(first) = self.entries.front().filter(|first| first.until <= now) {
            self.used = self.used.saturating_sub(first.amount);
            self.oldest += 1;
            self.entries.pop_front();
        }
        self.reported.retain_mut(|reported| reported.refill(now));
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

    fn report(limit: u64, remaining: u64, reset: Option<u64>) -> QuotaReport {
        QuotaReport {
            limit: Some(limit),
            remaining: Some(remaining),
            reset: reset.map(secs),
            ..QuotaReport::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_smaller_of_the_own_remainder_and_the_reported_one_may_be_spent() {
        let now = Instant::now();
        // A large quota of which others use much does not narrow a small configured one.
        let mut window = QuotaWindow::new(100, MINUTE);
        window.reserve(30, now);
        window.sync(report(5000, 4400, Some(8)), now, now);
        assert_eq!(window.wait(70, 0, now), Duration::ZERO);
        assert_eq!(window.wait(71, 0, now), MINUTE);

        let mut window = QuotaWindow::new(100, MINUTE);
        window.reserve(10, now);
        window.sync(report(100, 40, Some(6)), now, now);
        assert_eq!(window.wait(40, 0, now), Duration::ZERO);
        assert_eq!(window.wait(41, 0, now), secs(6));
        window.reserve(30, now);
        assert_eq!(window.wait(11, 0, now), secs(6), "reserved since the report");
        assert_eq!(window.wait(11, 0, now + secs(6)), Duration::ZERO);
        window.sync(report(50, 40, None), now, now);
        assert_eq!(window.wait(11, 0, now), MINUTE, "a smaller limit counts");
        window.sync(report(500, 500, None), now, now);
        assert_eq!(window.wait(60, 0, now), Duration::ZERO);
        assert_eq!(window.wait(61, 0, now), MINUTE, "a larger one does not");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_the_endpoint_may_not_have_counted_are_taken_off() {
        let (mut window, sent) = (QuotaWindow::new(100, MINUTE), Instant::now());
        window.reserve(10, sent);
        let now = sent + secs(1);
        window.reserve(20, now);
        window.sync(report(100, 30, Some(50)), sent, now);
        assert_eq!(window.wait(10, 0, now), Duration::ZERO);
        assert_eq!(window.wait(11, 0, now), secs(50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_of_a_day_does_not_narrow_that_of_a_minute() {
        let (mut window, now) = (QuotaWindow::new(30, MINUTE), Instant::now());
        window.reserve(4, now);
        // 30 of 14,400 a day are used.
        window.sync(report(14_400, 14_370, Some(180)), now, now);
        assert_eq!(window.wait(26, 0, now), Duration::ZERO);
        // It refills by one every six seconds, so two hours from the end a request waits 6 s.
        window.sync(report(14_400, 0, Some(86_400)), now, now);
        assert_eq!(window.wait(1, 0, now), secs(6));
        let day = secs(86_400);
        window.sync(QuotaReport { period: Some(day), ..report(20, 20, None) }, now, now);
        assert_eq!(window.limit, 30, "a limit of another period");
        assert_eq!(window.reported.len(), 2, "each period has a report of its own");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_quota_that_is_used_up_refills_steadily() {
        let (mut window, now) = (QuotaWindow::new(30, MINUTE), Instant::now());
        let (step, day) = (secs(6), secs(86_400));
        // It refills by one every six seconds.
        window.sync(report(14_400, 0, Some(86_400)), now, now);
        for request in 1..=100 {
            let at = now + request * step;
            assert_eq!(window.wait(1, 0, at - secs(1)), secs(1), "{request}");
            assert_eq!(window.wait(1, 0, at), Duration::ZERO, "{request}");
            window.reserve(1, at);
            assert!(!window.wait(1, 0, at).is_zero(), "{request}");
        }
        let last = now + day - step;
        assert_eq!(window.wait(1, 0, last), Duration::ZERO, "in its last minute, too");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_quota_of_unknown_size_lets_a_request_through_each_minute() {
        let (mut window, now) = (QuotaWindow::new(1000, MINUTE), Instant::now());
        let unknown = QuotaReport { limit: None, ..report(0, 0, Some(86_400)) };
        window.sync(unknown, now, now);
        for minute in 1..=10 {
            let at = now + minute * MINUTE;
            assert_eq!(window.wait(500, 0, at - secs(1)), secs(1), "{minute}");
            assert_eq!(window.wait(500, 0, at), Duration::ZERO, "{minute}");
            window.reserve(500, at);
            assert_eq!(window.wait(1, 0, at), MINUTE, "{minute}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_that_counts_a_request_is_not_credited_with_its_estimate() {
        for refunded in [false, true] {
            let (mut window, at) = (QuotaWindow::new(1000, MINUTE), Instant::now());
            let counted = window.reserve(90, at);
            let (sent, now) = (at + secs(1), at + secs(2));
            let later = window.reserve(20, now);
            // It includes the request of 90, and not that of 20.
            window.sync(report(1000, 50, Some(50)), sent, now);
            if refunded {
                window.refund(counted, now);
            } else {
                window.settle(counted, 10, now);
            }
            assert_eq!(window.wait(30, 0, now), Duration::ZERO);
            assert_eq!(window.wait(31, 0, now), secs(50));
            window.settle(later, 5, now);
            assert_eq!(window.wait(45, 0, now), Duration::ZERO, "one that it does not count");
            assert_eq!(window.wait(46, 0, now), secs(50));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_named_delay_counts_more_than_a_report() {
        let (mut window, now) = (QuotaWindow::new(100, MINUTE), Instant::now());
        window.sync(report(100, 0, Some(50)), now, now);
        window.refused(Some(secs(2)), now);
        assert_eq!(window.wait(1, 0, now), secs(2));
        let unknown = QuotaReport { limit: None, ..report(0, 0, Some(360)) };
        window.sync(unknown, now, now);
        assert_eq!(window.wait(1, 0, now), MINUTE, "a quota of unknown size");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_stays_in_the_window_for_as_long_as_it_may_be_counted() {
        let (mut window, now) = (QuotaWindow::new(100, MINUTE), Instant::now());
        let reservation = window.reserve(100, now);
        window.settle(reservation, 100, now + secs(1));
        assert_eq!(window.wait(1, 0, now + MINUTE), secs(1));
        let reservation = window.reserve(100, now + 2 * MINUTE);
        window.settle(reservation, 100, now + 2 * MINUTE + secs(30));
        let free = now + 3 * MINUTE;
        assert_eq!(window.wait(1, 0, free), MINUTE.mul_f64(SLACK), "within a bound");
        let reservation = window.reserve(100, now + 4 * MINUTE);
        window.refused(None, now + 4 * MINUTE);
        window.settle(reservation, 100, now + 4 * MINUTE + secs(30));
        let free = now + 5 * MINUTE;
        assert_eq!(window.wait(1, 0, free), MINUTE.mul_f64(SLACK * MORE_SLACK));
    }

    #[tokio::test(start_paused = true)]
    async fn a_learned_limit_can_be_raised() {
        let (mut window, now) = (QuotaWindow::learned(10, MINUTE), Instant::now());
        window.sync(QuotaReport { limit: Some(100), ..QuotaReport::default() }, now, now);
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
