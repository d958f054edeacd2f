//! Exponential backoff with jitter.

use std::time::Duration;

use rand::Rng as _;

/// Exponential backoff: the wait before repeat `n` (from 0) is at most `base`·2ⁿ.
///
/// Jitter keeps clients that failed together from returning together (AWS Architecture Blog,
/// "Exponential Backoff And Jitter", 2015).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Longest wait before the first repeat.
    pub base: Duration,
    /// Longest wait before any repeat.
    pub cap: Duration,
    /// Base of [`Backoff::pause`] if `base` is shorter, so that a `base` of zero does not repeat
    /// refused requests without any wait.
    pub floor: Duration,
}

impl Backoff {
    /// Longest wait before repeat `n`: `base`·2ⁿ, at most `cap`.
    #[must_use]
    pub fn ceiling(&self, n: u32) -> Duration {
        grown(self.base, n).min(self.cap)
    }

    /// The wait before repeat `n` of a request that failed: full jitter, uniform between zero and
    /// [`Backoff::ceiling`].
    #[must_use]
    pub fn full_jitter(&self, n: u32) -> Duration {
        self.ceiling(n).mul_f64(rand::rng().random_range(0.0..=1.0))
    }

    /// The wait after refusal `n` (from 0) for load, or after a reply that names a delay: the
    /// longer of
    ///
    /// - `named`, the delay that the server named, plus up to a tenth of jitter, and
    /// - the own backoff: between half and all of the larger of `base` and `floor`, times 2ⁿ, at
    ///   most `cap`.
    ///
    /// The own backoff holds even if the server names a delay of zero or a date in the past:
    /// servers count refused requests too, so a client that follows such a delay may never be
    /// served. The caller bounds `named`.
    #[must_use]
    pub fn pause(&self, named: Option<Duration>, n: u32) -> Duration {
        let mut random = rand::rng();
        let ceiling = grown(self.base.max(self.floor), n).min(self.cap);
        let own = ceiling.mul_f64(random.random_range(0.5..=1.0));
        let named = named.unwrap_or_default();
        own.max(named.saturating_add(jitter(named, random.random_range(0.0..=0.1))))
    }
}

fn grown(base: Duration, n: u32) -> Duration {
    base.saturating_mul(2_u32.saturating_pow(n))
}

/// `share` of `delay`. A delay too long for that gets no jitter.
fn jitter(delay: Duration, share: f64) -> Duration {
    Duration::try_from_secs_f64(delay.as_secs_f64() * share).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        base: Duration::from_secs(1),
        cap: Duration::from_secs(4),
        floor: Duration::from_millis(50),
    };

    #[test]
    fn the_ceiling_doubles_up_to_the_cap_and_does_not_overflow() {
        let at = |n| BACKOFF.ceiling(n).as_secs();
        assert_eq!([at(0), at(1), at(2), at(3), at(40), at(u32::MAX)], [1, 2, 4, 4, 4, 4]);
    }

    #[test]
    fn full_jitter_is_at_most_the_ceiling() {
        for n in [0, 1, 5, 40] {
            assert!(BACKOFF.full_jitter(n) <= BACKOFF.ceiling(n));
        }
    }

    #[test]
    fn a_pause_is_at_least_half_the_own_backoff_and_the_named_delay() {
        for named in [None, Some(0), Some(1), Some(3_000), Some(500_000)] {
            let named = named.map(Duration::from_millis);
            for (base, n, least) in
                [(0, 0, 25), (0, 3, 200), (500, 0, 250), (500, 2, 1000), (500, 40, 2000)]
            {
                let backoff = Backoff { base: Duration::from_millis(base), ..BACKOFF };
                let pause = backoff.pause(named, n);
                assert!(pause >= Duration::from_millis(least), "{named:?} {base} {n}");
                assert!(pause >= named.unwrap_or_default());
                let longest = named.unwrap_or_default().mul_f64(1.1).max(BACKOFF.cap);
                assert!(pause <= longest, "{pause:?}");
            }
        }
        assert_eq!(BACKOFF.pause(Some(Duration::MAX), 0), Duration::MAX);
    }
}
