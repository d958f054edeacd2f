//! How many requests a second one caller may send. Simple and steady, so governor's cells do; what is scarce behind the
//! door (the device, a judge's quota) has queues of its own.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::caller::Caller;

/// Callers remembered before those that have been quiet are forgotten.
const REMEMBERED: usize = 10_000;

/// A rate for each caller; none, if none is configured.
#[derive(Debug)]
pub(crate) struct InboundLimit(Option<DefaultKeyedRateLimiter<Caller>>);

impl InboundLimit {
    /// `per_second` requests a second, as many at once after a quiet second.
    pub(crate) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self(per_second.map(|rate| RateLimiter::keyed(Quota::per_second(rate))))
    }

    /// Counts a request of `caller`.
    ///
    /// # Errors
    /// How long until the next one is allowed.
    pub(crate) fn admit(&self, caller: Caller) -> Result<(), Duration> {
        let Some(limiter) = &self.0 else { return Ok(()) };
        if limiter.len() > REMEMBERED {
            limiter.retain_recent();
        }
        limiter
            .check_key(&caller)
            .map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_callers_burst_is_refused_with_a_wait_and_another_is_not_in_its_way() {
        let limit = InboundLimit::new(NonZeroU32::new(2));
        let (greedy, modest) = (Caller(1), Caller(2));
        assert!(limit.admit(greedy).is_ok() && limit.admit(greedy).is_ok());
        let wait = limit.admit(greedy).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert!(limit.admit(modest).is_ok());
    }

    #[test]
    fn without_a_rate_everybody_is_let_in() {
        let limit = InboundLimit::new(None);
        assert!((0..1_000).all(|_| limit.admit(Caller(1)).is_ok()));
    }
}
