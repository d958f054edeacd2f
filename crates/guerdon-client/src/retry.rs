//! When to ask again, and how long to wait before: full-jitter exponential backoff that never comes back sooner than
//! `Retry-After` asks, within one deadline for the whole call.
//!
//! Scoring changes nothing on the server, and what a judge has already been paid for is in its cache, so every
//! failure that may pass is asked again: no connection, one that broke, and the statuses below. Other 4xx are not:
//! they would fail the same way each time, and a trainer that retries them only hides the message.

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::Error;

/// How often and how patiently.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) retries: u32,
    pub(crate) base: Duration,
    pub(crate) cap: Duration,
}

/// One attempt's failure.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    pub(crate) again: Again,
}

/// Whether it may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    Never,
    Backoff,
    NotBefore(Duration),
}

/// The end of a whole call, and what to say when it comes.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) after: Duration,
}

impl Deadline {
    /// A deadline `after` from now. One beyond the clock's range is as good as ten years.
    pub(crate) fn new(after: Duration) -> Self {
        let now = Instant::now();
        let at = now.checked_add(after).unwrap_or(now + Duration::from_secs(10 * 365 * 86_400));
        Self { at, after }
    }

    pub(crate) fn passed(&self, url: &str, last: Option<Error>) -> Error {
        Error::Deadline { url: url.into(), after: self.after, last: last.map(Box::new) }
    }
}

/// Runs `attempt` until it succeeds, fails for good, has been retried often enough, or the deadline passes.
///
/// A wait that would outlast the deadline is not begun: the failure before it is returned at once.
pub(crate) async fn run<T, F, Fut>(
    policy: &Policy,
    deadline: &Deadline,
    url: &str,
    mut attempt: F,
) -> Result<T, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Failed>>,
{
    let mut last = None;
    for tries in 1.. {
        let failed = match timeout_at(deadline.at, attempt()).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(failed)) => failed,
            Err(_) => return Err(deadline.passed(url, last)),
        };
        let error = failed.error.tried(tries);
        let wait = match failed.again {
            Again::Never => return Err(error),
            Again::Backoff => policy.wait(tries - 1, rand::random()),
            // Jitter on top: everyone was told the same second.
            Again::NotBefore(ask) => ask.saturating_add(policy.wait(0, rand::random())),
        };
        let until = Instant::now().checked_add(wait).filter(|until| *until < deadline.at);
        match until {
            Some(until) if tries <= policy.retries => sleep_until(until).await,
            _ => return Err(error),
        }
        last = Some(error);
    }
    Err(deadline.passed(url, last))
}

impl Policy {
    /// The wait before retry `retry` (from 0): `unit` (uniform in `[0, 1)`) times `min(cap, base * 2^retry)`.
    fn wait(&self, retry: u32, unit: f64) -> Duration {
        let ceiling = self.base.saturating_mul(2_u32.saturating_pow(retry)).min(self.cap);
        ceiling.mul_f64(unit.clamp(0.0, 1.0))
    }
}

/// Whether an HTTP status may pass by itself.
pub(crate) const fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Reads a `Retry-After`: seconds, or an HTTP date as seen at `now`. What is neither says nothing.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const POLICY: Policy =
        Policy { retries: 3, base: Duration::from_secs(1), cap: Duration::from_secs(4) };

    fn busy(again: Again) -> Failed {
        Failed {
            error: Error::Status { url: "u".into(), tries: 1, status: 503, body: String::new() },
            again,
        }
    }

    /// Runs attempts that fail with `again` until number `ok`; the attempts made, the time it took, the outcome.
    async fn play(again: Again, ok: u32, timeout: u64) -> (u32, Duration, Result<u32, Error>) {
        let (made, start) = (Cell::new(0), Instant::now());
        let deadline = Deadline::new(Duration::from_secs(timeout));
        let outcome = run(&POLICY, &deadline, "u", || {
            made.set(made.get() + 1);
            std::future::ready(if made.get() == ok { Ok(ok) } else { Err(busy(again)) })
        })
        .await;
        (made.get(), start.elapsed(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_passes_is_not_seen() {
        let (made, took, outcome) = play(Again::Backoff, 4, 300).await;
        assert_eq!((made, outcome.unwrap()), (4, 4));
        assert!(took <= Duration::from_secs(1 + 2 + 4), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_stays_is_returned_with_the_number_of_tries() {
        let (made, _, outcome) = play(Again::Backoff, 99, 300).await;
        assert_eq!(made, 4);
        assert!(outcome.unwrap_err().to_string().contains("(4 tries)"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_for_good_is_asked_once() {
        let (made, took, _) = play(Again::Never, 99, 300).await;
        assert_eq!((made, took), (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_comes_back_before_retry_after() {
        let (made, took, _) = play(Again::NotBefore(Duration::from_secs(30)), 3, 300).await;
        assert_eq!(made, 3);
        assert!((60..=62).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_beyond_the_deadline_is_not_begun() {
        let (made, took, outcome) = play(Again::NotBefore(Duration::from_secs(3600)), 3, 300).await;
        assert_eq!((made, took), (1, Duration::ZERO));
        assert!(matches!(outcome.unwrap_err(), Error::Status { status: 503, .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_ends_with_the_deadline() {
        let deadline = Deadline::new(Duration::from_secs(7));
        let start = Instant::now();
        let error =
            run::<(), _, _>(&POLICY, &deadline, "u", std::future::pending).await.unwrap_err();
        assert_eq!(start.elapsed().as_secs(), 7);
        assert!(matches!(error, Error::Deadline { last: None, .. }));
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_cap_and_does_not_overflow() {
        let at = |retry| POLICY.wait(retry, 1.0).as_secs();
        assert_eq!([at(0), at(1), at(2), at(3), at(40), at(u32::MAX)], [1, 2, 4, 4, 4, 4]);
        assert_eq!(POLICY.wait(3, 0.0), Duration::ZERO);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }

    #[test]
    fn only_what_may_pass_is_asked_again() {
        let again: Vec<u16> = (300..600).filter(|status| may_pass(*status)).collect();
        assert_eq!(again, [408, 429, 500, 502, 503, 504]);
    }
}
