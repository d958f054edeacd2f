//! An endpoint's reports about its quotas, and the part of a quota that a report leaves.
//!
//! A quota that is reset within a minute is whole again at its reset. One with a longer reset is
//! taken to be refilled steadily until then, as a token bucket is. If it is a fixed window instead,
//! the next report corrects the estimate.

use std::time::Duration;

use tokio::time::Instant;

use crate::deadline;

/// The longest reset that is waited for as a whole, and the time between two requests to a quota of
/// unknown size that is used up.
const SHORT: Duration = Duration::from_secs(60);

/// An endpoint's report about one of its quotas. Fields that it did not report are `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaReport {
    /// The time over which the quota is counted, if the endpoint names it.
    pub period: Option<Duration>,
    /// The size of the quota.
    pub limit: Option<u64>,
    /// The unused part.
    pub remaining: Option<u64>,
    /// Time until the whole quota is available again.
    pub reset: Option<Duration>,
    /// True if the period over which the limit is counted is unknown. If false, a limit without a
    /// named period is taken to be per minute, the usual period, unless its reset is later.
    pub of_unknown_period: bool,
}

impl QuotaReport {
    /// True if the endpoint reported nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limit.is_none() && self.remaining.is_none() && self.reset.is_none()
    }

    /// True if the period of the quota may be `span`.
    pub(crate) fn is_of(&self, span: Duration) -> bool {
        let longer = self.reset.is_some_and(|reset| reset > span);
        self.period.map_or(!longer && !self.of_unknown_period, |period| period == span)
    }
}

/// The part of a quota that a report leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct QuotaRemainder {
    pub(super) period: Option<Duration>,
    limit: Option<u64>,
    /// The reported remainder, minus the reservations and plus the refill since.
    left: u64,
    /// The largest part that was used since the report.
    used: u64,
    /// The time at which the request was sent whose reply held the report.
    sent: Instant,
    /// The time up to which the refill is counted.
    at: Instant,
    /// The reported time until the reset.
    reset: Duration,
    /// The time at which the whole quota is available again.
    until: Instant,
}

impl QuotaRemainder {
    /// The remainder after `report`, which leaves `left` units. The report is from the reply to a
    /// request that was sent at `sent`. The quota is reset after `reset`.
    pub(super) fn new(
        report: &QuotaReport,
        left: u64,
        (sent, now): (Instant, Instant),
        reset: Duration,
    ) -> Self {
        let limit = report.limit.filter(|limit| *limit > 0);
        let used = limit.unwrap_or_default().saturating_sub(left);
        let until = deadline::after(now, reset);
        Self { period: report.period, limit, left, used, sent, at: now, reset, until }
    }

    /// Time until `wanted` units are left.
    pub(super) fn wait(&self, wanted: u64, now: Instant) -> Duration {
        let wanted = wanted.min(self.limit.unwrap_or(u64::MAX));
        let missing = wanted.saturating_sub(self.left);
        let whole = self.until.saturating_duration_since(now);
        if missing == 0 || !self.is_refilled_steadily() {
            return if missing == 0 { Duration::ZERO } else { whole };
        }
        let refill = self.unit().map_or(SHORT, |unit| times(unit, missing));
        refill.saturating_sub(now.saturating_duration_since(self.at)).min(whole)
    }

    fn is_refilled_steadily(&self) -> bool {
        self.reset > SHORT
    }

    /// The time in which one unit is refilled; `None` for a quota of unknown size.
    fn unit(&self) -> Option<Duration> {
        self.limit?;
        let nanos = self.reset.as_nanos() / u128::from(self.used.max(1));
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).max(1)))
    }

    /// Counts the refill up to `now`. Returns false if the quota was reset, so that the report no
    /// longer applies.
    pub(super) fn refill(&mut self, now: Instant) -> bool {
        if let (true, Some(limit), Some(unit)) =
            (self.is_refilled_steadily(), self.limit, self.unit())
        {
            let units = now.saturating_duration_since(self.at).as_nanos() / unit.as_nanos();
            let units = u64::try_from(units).unwrap_or(u64::MAX);
            self.left = self.left.saturating_add(units).min(limit.max(self.left));
            self.at = deadline::after(self.at, times(unit, units));
        }
        self.until > now
    }

    /// Subtracts a request. If the quota is used up and its size is unknown, the next request waits
    /// again.
    pub(super) fn reserve(&mut self, amount: u64, now: Instant) {
        if self.limit.is_none() && self.left < amount {
            self.at = now;
        }
        self.left = self.left.saturating_sub(amount);
        self.used = self.used.max(self.limit.unwrap_or_default().saturating_sub(self.left));
    }

    /// Replaces the amount of a request that was reserved at `reserved_at`, unless the report
    /// counts the request already.
    pub(super) fn settle(&mut self, reserved_at: Instant, before: u64, amount: u64) {
        if self.sent < reserved_at {
            self.left = self.left.saturating_add(before).saturating_sub(amount);
        }
    }

    /// Records that the quota is available again at `until`, if that is earlier than reported.
    pub(super) fn ends_by(&mut self, until: Instant) {
        self.until = self.until.min(until);
    }
}

fn times(unit: Duration, count: u64) -> Duration {
    let nanos = unit.as_nanos().saturating_mul(u128::from(count));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
