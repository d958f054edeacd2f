//! Bounded waiting: polls a condition until it holds, and panics with its description if it does
//! not hold in time.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

/// The pause between two polls.
const POLL_EVERY: Duration = Duration::from_millis(5);

/// Waits until `condition` returns true; panics with `what` after `timeout`.
///
/// Time is that of the runtime's clock. Under a paused clock (`start_paused`) the polls therefore
/// advance it.
#[track_caller]
pub fn wait_until(
    what: &str,
    timeout: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let start = tokio::time::Instant::now();
        while !condition().await {
            let waited = start.elapsed();
            assert!(waited < timeout, "{caller}: timed out after {waited:?} waiting until {what}");
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}

/// [`wait_until`] for tests without a runtime: blocks the thread.
#[track_caller]
pub fn wait_until_blocking(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        let waited = start.elapsed();
        assert!(waited < timeout, "timed out after {waited:?} waiting until {what}");
        std::thread::sleep(POLL_EVERY);
    }
}

/// Runs `future`, and panics with `what` if it takes longer than 30 seconds of real time.
///
/// A thread measures the time: a timer of a paused runtime would fire as soon as the runtime is
/// idle, before a socket has answered.
pub(crate) async fn in_real_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    const LIMIT: Duration = Duration::from_secs(30);
    let (expire, expired) = tokio::sync::oneshot::channel();
    let (finished, wait_for_finish) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if wait_for_finish.recv_timeout(LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            // The receiver is gone if the future ended at the same moment.
            let _ = expire.send(());
        }
    });
    let output = tokio::select! {
        output = future => output,
        Ok(()) = expired => panic!("timed out after {LIMIT:?} waiting until {what}"),
    };
    drop(finished);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_condition_is_polled_until_it_holds() {
        let mut polls = 0;
        wait_until("three polls", Duration::from_secs(1), async || {
            polls += 1;
            polls == 3
        })
        .await;
        assert_eq!(polls, 3);
        wait_until_blocking("true", Duration::ZERO, || true);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "waiting until pigs fly")]
    async fn a_condition_that_never_holds_panics_with_its_description() {
        wait_until("pigs fly", Duration::from_secs(60), async || false).await;
    }

    #[test]
    #[should_panic(expected = "waiting until pigs fly")]
    fn the_blocking_form_panics_too() {
        wait_until_blocking("pigs fly", Duration::from_millis(1), || false);
    }
}
