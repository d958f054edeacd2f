//! The time that a client may take to send a body or to read a reply.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// Longer pauses are cut to it, so that instants do not overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// The slowest client that is served.
#[derive(Debug, Clone, Copy)]
pub(super) struct PaceLimits {
    /// The longest pause.
    pub(super) pause: Duration,
    /// The lowest mean rate in bytes a second, once all waits together exceed `pause`.
    pub(super) rate: NonZeroU32,
}

/// The progress of one transfer. Only the time spent waiting for the client counts.
#[derive(Debug)]
pub(super) struct Pace {
    limits: PaceLimits,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(super) const fn new(limits: PaceLimits) -> Self {
        Self { limits, waited: Duration::ZERO, bytes: 0 }
    }

    /// The end of a wait for the client that begins at `since`.
    pub(super) fn deadline(&self, since: Instant) -> Instant {
        let pause = self.limits.pause.min(LONGEST);
        let millis = self.bytes.saturating_mul(1_000) / u64::from(self.limits.rate.get());
        let earned = Duration::from_millis(millis);
        since + pause.saturating_add(earned).saturating_sub(self.waited).min(pause)
    }

    /// Records that the client moved `bytes` after a wait of `waited`.
    pub(super) fn moved(&mut self, waited: Duration, bytes: usize) {
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(20);

    fn pace() -> Pace {
        let rate = NonZeroU32::new(1_000).unwrap();
        Pace::new(PaceLimits { pause: PAUSE, rate })
    }

    /// The total wait after which a client that sends `bytes` after every `every` is given up.
    fn given_up_after(every: Duration, bytes: usize) -> Option<Duration> {
        let (mut pace, mut total) = (pace(), Duration::ZERO);
        let since = Instant::now();
        for _ in 0..10_000 {
            let allowed = pace.deadline(since) - since;
            if allowed < every {
                return Some(total + allowed);
            }
            total += every;
            pace.moved(every, bytes);
        }
        None
    }

    #[test]
    fn drip_of_single_bytes_is_given_up_after_about_one_pause() {
        let after = given_up_after(Duration::from_secs(19), 1).unwrap();
        assert!(after <= PAUSE + Duration::from_secs(1), "{after:?}");
    }

    #[test]
    fn client_at_the_lowest_rate_is_served() {
        assert_eq!(given_up_after(Duration::from_secs(10), 10_000), None);
        assert_eq!(given_up_after(Duration::from_secs(21), 1 << 30), Some(PAUSE));
    }

    proptest! {
        /// The total wait is at most a pause and the time that the bytes need at the lowest rate.
        #[test]
        fn total_wait_is_bounded(every in 1u64..20_000, bytes in 0usize..5_000) {
            if let Some(after) = given_up_after(Duration::from_millis(every), bytes) {
                let times = after.as_millis() / u128::from(every);
                let earned = Duration::from_millis(u64::try_from(times).unwrap() * bytes as u64);
                prop_assert!(after <= PAUSE + earned);
            }
        }
    }
}
