//! Retries: exponential backoff with jitter, never earlier than the delay that the server names,
//! within one deadline for the whole call.
//!
//! Scoring is idempotent, and the server caches the judge's answers, so every transient failure is
//! retried: no connection, a broken connection, and the statuses of
//! [`is_transient`](crate::error::is_transient). Other 4xx statuses are not retried, because the
//! same request would fail in the same way.

use std::future::Future;
use std::time::Duration;

use guerdon_queue::Backoff;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::Error;

/// The number of retries and the waits between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    pub(crate) retries: u32,
    pub(crate) backoff: Backoff,
}

/// The failure of one attempt.
#[derive(Debug)]
pub(crate) struct AttemptError {
    pub(crate) error: Error,
    pub(crate) again: RetryAdvice,
}

/// The earliest time of the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryAdvice {
    /// A retry would fail in the same way.
    Never,
    /// After the policy's backoff.
    Backoff,
    /// Not before this wait, which the server asked for.
    NotBefore(Duration),
}

/// The end of a call with all its attempts.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) after: Duration,
}

impl Deadline {
    /// A deadline `after` from now. Beyond the clock's range, ten years.
    pub(crate) fn new(after: Duration) -> Self {
        let now = Instant::now();
        let at = now.checked_add(after).unwrap_or(now + Duration::from_secs(10 * 365 * 86_400));
        Self { at, after }
    }

    pub(crate) fn passed(&self, url: &str, last: Option<Error>) -> Error {
        Error::Deadline { url: url.into(), after: self.after, last: last.map(Box::new) }
    }
}

/// Runs `attempt` until it succeeds, fails finally, has used all retries, or the deadline passes.
///
/// If the next wait would end after the deadline, the last failure is returned at once.
pub(crate) async fn run<T, F, Fut>(
    policy: &RetryPolicy,
    deadline: &Deadline,
    url: &str,
    mut attempt: F,
) -> Result<T, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, AttemptError>>,
{
    let mut last = None;
    for tries in 1.. {
        let failure = match timeout_at(deadline.at, attempt()).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(failure)) => failure,
            Err(_) => return Err(deadline.passed(url, last)),
        };
        let error = failure.error.with_tries(tries);
        let wait = match failure.again {
            RetryAdvice::Never => return Err(error),
            RetryAdvice::Backoff => policy.backoff.full_jitter(tries - 1),
            RetryAdvice::NotBefore(delay) => policy.backoff.pause(Some(delay), tries - 1),
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::SystemTime;

    use guerdon_queue::parse_retry_after;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        retries: 3,
        backoff: Backoff {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(4),
            floor: Duration::ZERO,
        },
    };

    fn busy(again: RetryAdvice) -> AttemptError {
        AttemptError {
            error: Error::Status { url: "u".into(), tries: 1, status: 503, body: String::new() },
            again,
        }
    }

    /// Runs attempts that fail with `again` until number `ok`. Returns the number of attempts, the
    /// time and the outcome.
    async fn attempts(
        again: RetryAdvice,
        ok: u32,
        timeout: u64,
    ) -> (u32, Duration, Result<u32, Error>) {
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
    async fn transient_failure_is_retried_until_success() {
        let (made, took, outcome) = attempts(RetryAdvice::Backoff, 4, 300).await;
        assert_eq!((made, outcome.unwrap()), (4, 4));
        assert!(took <= Duration::from_secs(1 + 2 + 4), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn persistent_failure_is_returned_with_the_number_of_tries() {
        let (made, _, outcome) = attempts(RetryAdvice::Backoff, 99, 300).await;
        assert_eq!(made, 4);
        assert!(outcome.unwrap_err().to_string().contains("(4 tries)"));
    }

    #[tokio::test(start_paused = true)]
    async fn final_failure_is_not_retried() {
        let (made, took, _) = attempts(RetryAdvice::Never, 99, 300).await;
        assert_eq!((made, took), (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_the_shortest_wait() {
        let (made, took, _) =
            attempts(RetryAdvice::NotBefore(Duration::from_secs(30)), 3, 300).await;
        assert_eq!(made, 3);
        // Each wait of 30 s has up to a tenth of jitter on top.
        assert!((60..=66).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn wait_beyond_the_deadline_fails_at_once() {
        let (made, took, outcome) =
            attempts(RetryAdvice::NotBefore(Duration::from_secs(3600)), 3, 300).await;
        assert_eq!((made, took), (1, Duration::ZERO));
        assert!(matches!(outcome.unwrap_err(), Error::Status { status: 503, .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn hanging_attempt_ends_at_the_deadline() {
        let deadline = Deadline::new(Duration::from_secs(7));
        let start = Instant::now();
        let error =
            run::<(), _, _>(&POLICY, &deadline, "u", std::future::pending).await.unwrap_err();
        assert_eq!(start.elapsed().as_secs(), 7);
        assert!(matches!(error, Error::Deadline { last: None, .. }));
    }

    #[test]
    fn longest_wait_doubles_up_to_the_cap_without_overflow() {
        let at = |retry| POLICY.backoff.ceiling(retry).as_secs();
        assert_eq!([at(0), at(1), at(2), at(3), at(40), at(u32::MAX)], [1, 2, 4, 4, 4, 4]);
        assert!(POLICY.backoff.full_jitter(3) <= Duration::from_secs(4));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let retry_after = |value| parse_retry_after(value, now);
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
        assert_eq!(retry_after("-1"), None);
    }
}
