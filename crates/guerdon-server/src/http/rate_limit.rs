//! Rate limit of requests for each caller. Scarce resources behind it (the device, a judge's quota)
//! have their own fair queues.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;

use crate::http::caller::CallerId;
use crate::lru::LruMap;

/// Number of callers beyond which the one that was not seen for the longest time is forgotten.
const REMEMBERED: usize = 10_000;

/// The rate limiter; `None` if no rate is configured.
#[derive(Debug)]
pub(crate) struct RateLimit(Option<CallerRates>);

#[derive(Debug)]
struct CallerRates {
    quota: Quota,
    callers: Mutex<LruMap<CallerId, DefaultDirectRateLimiter>>,
}

impl RateLimit {
    /// `per_second` requests a second, with a burst of as many.
    pub(crate) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self(per_second.map(|rate| CallerRates {
            quota: Quota::per_second(rate),
            callers: Mutex::new(LruMap::new(REMEMBERED)),
        }))
    }

    /// Counts a request of `caller`.
    ///
    /// # Errors
    /// The time until the next request is allowed.
    pub(crate) fn admit(&self, caller: CallerId) -> Result<(), Duration> {
        let Some(CallerRates { quota, callers }) = &self.0 else { return Ok(()) };
        let mut callers = callers.lock();
        callers
            .get_or_insert(caller, || RateLimiter::direct(*quota))
            .check()
            .map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_of_one_caller_is_refused_with_a_wait_and_others_are_not_affected() {
        let limit = RateLimit::new(NonZeroU32::new(2));
        let (greedy, modest) = (CallerId(1), CallerId(2));
        assert!(limit.admit(greedy).is_ok() && limit.admit(greedy).is_ok());
        let wait = limit.admit(greedy).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert!(limit.admit(modest).is_ok());
    }

    #[test]
    fn memory_is_bounded_however_many_callers_there_are() {
        let limit = RateLimit::new(NonZeroU32::new(1));
        for caller in 0..3 * REMEMBERED as u64 {
            assert!(limit.admit(CallerId(caller)).is_ok());
        }
        assert_eq!(limit.0.unwrap().callers.lock().len(), REMEMBERED);
    }

    #[test]
    fn without_a_rate_every_request_is_admitted() {
        let limit = RateLimit::new(None);
        assert!((0..1_000).all(|_| limit.admit(CallerId(1)).is_ok()));
    }
}
