//! Retries: exponential backoff with jitter, never earlier than the delay that the server names,
//! within one deadline for the whole call.
//!
//! Scoring is idempotent, and the server caches the judge's answers, so every transient failure is
//! retried. While the server is away or busy (no connection, a broken connection, the statuses 408,
//! 429, 502, 503 and 504), a request is retried until the deadline, so that a restart of the server
//! does not end a training run. A fault of the server (500, a rollout that could not be scored, a
//! reply that was cut short) may return with every attempt and is retried a few times. Other
//! failures are not retried, because the same request would fail in the same way.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::Backoff;
use tokio::time::{Instant, sleep, timeout_at};

use crate::Error;

/// The retries of a fault, if no number is configured.
const FAULT_RETRIES: u32 = 5;

/// The shortest wait. No setting makes a client send requests without any wait.
const SHORTEST: Duration = Duration::from_millis(10);

/// A function that is told of every retry.
pub(crate) type RetryObserver = Arc<dyn Fn(&Error, u32, Duration) + Send + Sync>;

/// The number of retries and the waits between them.
#[derive(Clone)]
pub(crate) struct RetryPolicy {
    /// The most retries after any failure. `None`: until the deadline while the server is away, and
    /// [`FAULT_RETRIES`] after faults.
    pub(crate) retries: Option<u32>,
    pub(crate) backoff: Backoff,
    pub(crate) observer: Option<RetryObserver>,
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("retries", &self.retries)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

/// The failure of one attempt.
#[derive(Debug)]
pub(crate) struct AttemptError {
    pub(crate) error: Error,
    pub(crate) again: RetryAdvice,
    /// The server may have begun the work, so that it may be paid for and cached there.
    pub(crate) has_begun: bool,
}

/// Advice for the next attempt after a failure. The delay is the one that the server named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryAdvice {
    /// A retry would fail in the same way.
    Never,
    /// The server is away or busy: retry until the deadline.
    Away(Option<Duration>),
    /// A fault that may return with every attempt: retry a few times.
    Fault(Option<Duration>),
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

/// The failures of one request so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Failures {
    tries: u32,
    faults: u32,
}

impl Failures {
    /// The number of tries that failed.
    pub(crate) const fn tries(self) -> u32 {
        self.tries
    }
}

impl RetryPolicy {
    /// Counts a failure. Returns false if its kind or the number of retries allows no further
    /// attempt.
    pub(crate) fn count(&self, failures: &mut Failures, again: RetryAdvice) -> bool {
        failures.tries = failures.tries.saturating_add(1);
        let (used, most) = match again {
            RetryAdvice::Never => return false,
            RetryAdvice::Away(_) => (failures.tries, self.retries),
            RetryAdvice::Fault(_) => {
                failures.faults = failures.faults.saturating_add(1);
                match self.retries {
                    Some(retries) => (failures.tries, Some(retries)),
                    None => (failures.faults, Some(FAULT_RETRIES)),
                }
            }
        };
        most.is_none_or(|most| used <= most)
    }

    /// Counts a failure. Returns the wait before the next attempt; `None` if there is no next one,
    /// by its kind, the number of retries or the deadline.
    pub(crate) fn next_wait(
        &self,
        failures: &mut Failures,
        again: RetryAdvice,
        deadline: &Deadline,
    ) -> Option<Duration> {
        if !self.count(failures, again) {
            return None;
        }
        let named = match again {
            RetryAdvice::Away(named) | RetryAdvice::Fault(named) => named,
            RetryAdvice::Never => None,
        };
        let left = deadline.at.saturating_duration_since(Instant::now());
        self.wait(named, failures.tries - 1, left)
    }

    /// Tells the observer of a retry, and waits for it.
    pub(crate) async fn pause(&self, error: &Error, failures: Failures, wait: Duration) {
        self.observe(error, failures, wait);
        sleep(wait).await;
    }

    /// Tells the observer of a retry.
    pub(crate) fn observe(&self, error: &Error, failures: Failures, wait: Duration) {
        if let Some(observer) = &self.observer {
            observer(error, failures.tries, wait);
        }
    }

    /// The shortest wait before an attempt.
    pub(crate) fn floor(&self) -> Duration {
        self.backoff.floor.max(SHORTEST)
    }

    /// The wait before retry `n` (from 0), with `left` until the deadline; `None` if no retry can
    /// begin before it.
    pub(crate) fn wait(&self, named: Option<Duration>, n: u32, left: Duration) -> Option<Duration> {
        let floor = self.floor();
        let wait = match named {
            Some(_) => self.backoff.pause(named, n).max(floor),
            // At most half of the time left, so that attempts go on until shortly before the
            // deadline.
            None => self.backoff.full_jitter(n).min(left / 2).max(floor),
        };
        (wait < left).then_some(wait)
    }
}

/// Runs `attempt` until it succeeds, fails finally, has used all retries, or the deadline passes.
///
/// If the delay that the server names ends after the deadline, the last failure is returned at
/// once.
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
    let (mut last, mut failures) = (None, Failures::default());
    loop {
        let failure = match timeout_at(deadline.at, attempt()).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(failure)) => failure,
            Err(_) => return Err(deadline.passed(url, last)),
        };
        let wait = policy.next_wait(&mut failures, failure.again, deadline);
        let error = failure.error.with_tries(failures.tries);
        let Some(wait) = wait else { return Err(error) };
        policy.pause(&error, failures, wait).await;
        last = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::SystemTime;

    use guerdon_queue::parse_retry_after;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        retries: Some(3),
        observer: None,
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
            has_begun: false,
        }
    }

    /// Runs attempts that fail with `again` until number `ok`. Returns the number of attempts, the
    /// time and the outcome.
    async fn attempts(
        again: RetryAdvice,
        ok: u32,
        timeout: u64,
    ) -> (u32, Duration, Result<u32, Error>) {
        attempts_with(&POLICY, again, ok, timeout).await
    }

    async fn attempts_with(
        policy: &RetryPolicy,
        again: RetryAdvice,
        ok: u32,
        timeout: u64,
    ) -> (u32, Duration, Result<u32, Error>) {
        let (made, start) = (Cell::new(0), Instant::now());
        let deadline = Deadline::new(Duration::from_secs(timeout));
        let outcome = run(policy, &deadline, "u", || {
            made.set(made.get() + 1);
            std::future::ready(if made.get() == ok { Ok(ok) } else { Err(busy(again)) })
        })
        .await;
        (made.get(), start.elapsed(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn transient_failure_is_retried_until_success() {
        let (made, took, outcome) = attempts(RetryAdvice::Away(None), 4, 300).await;
        assert_eq!((made, outcome.unwrap()), (4, 4));
        assert!(took <= Duration::from_secs(1 + 2 + 4), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn persistent_failure_is_returned_with_the_number_of_tries() {
        let (made, _, outcome) = attempts(RetryAdvice::Away(None), 99, 300).await;
        assert_eq!(made, 4);
        assert!(outcome.unwrap_err().to_string().contains("(4 tries)"));
    }

    /// The policy of a client with its defaults.
    fn defaults() -> RetryPolicy {
        let backoff = Backoff {
            base: Duration::from_millis(200),
            cap: Duration::from_secs(5),
            floor: Duration::from_millis(50),
        };
        RetryPolicy { retries: None, backoff, observer: None }
    }

    #[tokio::test(start_paused = true)]
    async fn absent_server_is_asked_until_shortly_before_the_deadline() {
        for timeout in [1, 3, 10, 60, 300, 3_600] {
            let (made, took, outcome) =
                attempts_with(&defaults(), RetryAdvice::Away(None), u32::MAX, timeout).await;
            let timeout = Duration::from_secs(timeout);
            assert!(outcome.is_err() && took <= timeout, "{took:?}");
            assert!(timeout - took <= Duration::from_millis(110), "{took:?} of {timeout:?}");
            // No more often than the floor allows, and no less often than the cap demands.
            assert!(u128::from(made) <= took.as_millis() / 50 + 1, "{made} tries in {took:?}");
            assert!(u64::from(made) >= timeout.as_secs() / 5, "{made} tries in {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fault_is_retried_a_few_times_however_often_the_server_was_away_before() {
        let (made, ..) = attempts_with(&defaults(), RetryAdvice::Fault(None), u32::MAX, 300).await;
        assert_eq!(made, 1 + FAULT_RETRIES);
        for away in [0, 1, 7, 40] {
            let (made, deadline) = (Cell::new(0), Deadline::new(Duration::from_secs(3_600)));
            let outcome = run::<(), _, _>(&defaults(), &deadline, "u", || {
                made.set(made.get() + 1);
                let away = made.get() <= away;
                let again = if away { RetryAdvice::Away(None) } else { RetryAdvice::Fault(None) };
                std::future::ready(Err(busy(again)))
            })
            .await;
            assert_eq!((made.get(), outcome.is_err()), (away + 1 + FAULT_RETRIES, true));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn configured_number_of_retries_holds_for_every_kind_of_failure() {
        for retries in [0, 1, 9] {
            let policy = RetryPolicy { retries: Some(retries), ..defaults() };
            for again in [RetryAdvice::Away(None), RetryAdvice::Fault(None)] {
                let (made, ..) = attempts_with(&policy, again, u32::MAX, 3_600).await;
                assert_eq!(made, retries + 1, "{again:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_backoff_setting_sends_requests_without_a_wait() {
        let zero = Backoff { base: Duration::ZERO, cap: Duration::ZERO, floor: Duration::ZERO };
        let policy = RetryPolicy { backoff: zero, ..defaults() };
        let (made, ..) = attempts_with(&policy, RetryAdvice::Away(None), u32::MAX, 10).await;
        assert!(made <= 1_001, "{made} tries in 10 s");
    }

    #[tokio::test(start_paused = true)]
    async fn observer_is_told_of_every_retry() {
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let observer: RetryObserver = {
            let told = Arc::clone(&told);
            Arc::new(move |error: &Error, tries, _| {
                assert!(error.is_transient());
                told.lock().unwrap().push(tries);
            })
        };
        let policy = RetryPolicy { observer: Some(observer), ..defaults() };
        attempts_with(&policy, RetryAdvice::Away(None), 4, 300).await.2.unwrap();
        assert_eq!(*told.lock().unwrap(), [1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn final_failure_is_not_retried() {
        let (made, took, _) = attempts(RetryAdvice::Never, 99, 300).await;
        assert_eq!((made, took), (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_the_shortest_wait() {
        let (made, took, _) =
            attempts(RetryAdvice::Away(Some(Duration::from_secs(30))), 3, 300).await;
        assert_eq!(made, 3);
        // Each wait of 30 s has up to a tenth of jitter on top.
        assert!((60..=66).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn wait_beyond_the_deadline_fails_at_once() {
        let (made, took, outcome) =
            attempts(RetryAdvice::Away(Some(Duration::from_secs(3600))), 3, 300).await;
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
