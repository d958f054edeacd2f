//! Single-flight: concurrent callers of one key share one call.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

/// The calls in flight, by key.
///
/// The first caller of a key is the leader: its future runs, inside its own task. The others wait
/// for its value. If the leader is cancelled or panics, one of the others becomes the leader and
/// runs its own future. Values are not kept: a caller that arrives after the end of a call starts a
/// new one. A future that should not be repeated must therefore store its value before it returns.
#[derive(Debug)]
pub struct SingleFlight<K, V> {
    calls: Mutex<HashMap<K, Arc<OnceCell<V>>>>,
}

/// The result of [`SingleFlight::run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight<V> {
    /// The value.
    pub value: V,
    /// True if the caller's own future produced it.
    pub led: bool,
}

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self { calls: Mutex::default() }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> SingleFlight<K, V> {
    /// Runs `call`, or waits for the call of the same key that is in flight.
    ///
    /// To finish a call even if its caller is cancelled, run this in a separate task.
    pub async fn run(&self, key: K, call: impl Future<Output = V>) -> Flight<V> {
        let cell = Arc::clone(self.calls.lock().entry(key.clone()).or_default());
        let caller = FlightCaller { flights: self, key, cell };
        let mut led = false;
        // If the leader's future is dropped, the cell makes the next caller the leader.
        let value = caller.cell.get_or_init(|| {
            led = true;
            call
        });
        let value = value.await.clone();
        Flight { value, led }
    }

    /// The number of calls in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.calls.lock().len()
    }
}

/// A caller, either the leader or waiting.
struct FlightCaller<'a, K: Eq + Hash, V> {
    flights: &'a SingleFlight<K, V>,
    key: K,
    cell: Arc<OnceCell<V>>,
}

impl<K: Eq + Hash, V> Drop for FlightCaller<'_, K, V> {
    /// Removes the entry at the end of the call, or if the last caller is cancelled.
    fn drop(&mut self) {
        let mut calls = self.flights.calls.lock();
        // One reference is the map's, one is this caller's.
        let ended = self.cell.initialized() || Arc::strong_count(&self.cell) <= 2;
        if ended && calls.get(&self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell)) {
            calls.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::{join_all, select};
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn concurrent_callers_share_one_call() {
        let (flights, calls) = (SingleFlight::default(), AtomicUsize::new(0));
        let call = || async {
            sleep(Duration::from_secs(1)).await;
            calls.fetch_add(1, Ordering::Relaxed)
        };
        let values = join_all((0..10).map(|_| flights.run("key", call()))).await;
        assert!(values.iter().all(|flight| flight.value == 0));
        assert_eq!(values.iter().filter(|flight| flight.led).count(), 1);
        assert_eq!(flights.run("key", call()).await, Flight { value: 1, led: true });
        assert_eq!(flights.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_do_not_wait_for_each_other() {
        let flights = SingleFlight::default();
        let slow = Box::pin(flights.run(1, pending::<()>()));
        let fast = Box::pin(flights.run(2, async {}));
        select(slow, fast).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_leads_if_the_leader_is_cancelled() {
        let flights = SingleFlight::default();
        let cancelled = tokio::time::timeout(Duration::from_secs(1), flights.run((), pending()));
        let waiter = |value| flights.run((), async move { value });
        let (cancelled, one, two) = tokio::join!(cancelled, waiter(1), waiter(2));
        assert!(cancelled.is_err(), "the leader is cancelled");
        assert_eq!(one.value, two.value);
        assert!(one.led != two.led);
        assert_eq!(flights.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_leads_if_the_leader_panics() {
        use futures_util::FutureExt as _;
        let flights = SingleFlight::default();
        let panicking = flights.run((), async {
            sleep(Duration::from_secs(1)).await;
            panic!("the leader fails")
        });
        let panicking = std::panic::AssertUnwindSafe(panicking).catch_unwind();
        let (failed, waiter) = tokio::join!(panicking, flights.run((), async { 7 }));
        assert!(failed.is_err());
        assert_eq!(waiter, Flight { value: 7, led: true });
    }

    #[tokio::test]
    async fn a_future_that_is_never_polled_leaves_nothing_behind() {
        let flights = SingleFlight::default();
        drop(flights.run((), async {}));
        assert_eq!(flights.in_flight(), 0);
    }
}
