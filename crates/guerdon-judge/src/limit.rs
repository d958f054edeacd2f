//! An endpoint's limits: how many attempts at once, how many a minute, and the pauses that it asks for.
//!
//! The rate is governor's, behind a mutex: governor's own waiters poll, so that whoever asks for much never gets a turn;
//! tokio's mutex queues first come, first served. Whoever hangs up leaves the queue. A pause holds for the endpoint, not
//! only for the question that was told of it.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// tokio's clock, so that tests need not wait.
#[derive(Debug, Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Rate = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

/// One endpoint's limits.
#[derive(Debug)]
pub(crate) struct Limit {
    slots: Semaphore,
    rate: Option<Mutex<Rate>>,
    paused_until: StdMutex<Option<Instant>>,
    queued: AtomicUsize,
    max_queued: usize,
}

/// Why an attempt may not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue is full.
    Overloaded,
    /// The endpoint is paused beyond the time that the asker has.
    PausedTooLong,
}

impl Limit {
    pub(crate) fn new(max_concurrent: usize, per_minute: Option<NonZeroU32>, max_queued: usize) -> Self {
        let rate = |per_minute| {
            RateLimiter::direct_with_clock(Quota::per_minute(per_minute), TokioClock(Instant::now()))
        };
        Self {
            slots: Semaphore::new(max_concurrent.min(Semaphore::MAX_PERMITS)),
            rate: per_minute.map(|per_minute| Mutex::new(rate(per_minute))),
            paused_until: StdMutex::new(None),
            queued: AtomicUsize::new(0),
            max_queued,
        }
    }

    /// Waits for a place; the attempt holds it.
    pub(crate) async fn enter(&self, deadline: Option<Instant>) -> Result<SemaphorePermit<'_>, Refused> {
        let _queued = Queued::join(self)?;
        // The semaphore is never closed, so this is no error in practice; if it were, nobody may enter.
        let slot = self.slots.acquire().await.map_err(|_| Refused::Overloaded)?;
        loop {
            match (self.paused_until(), deadline) {
                (Some(until), Some(deadline)) if until > deadline => return Err(Refused::PausedTooLong),
                (Some(until), _) => tokio::time::sleep_until(until).await,
                (None, _) => break,
            }
        }
        if let Some(rate) = &self.rate {
            let rate = rate.lock().await;
            while let Err(not_yet) = rate.check() {
                tokio::time::sleep(not_yet.wait_time_from(rate.clock().now())).await;
            }
        }
        Ok(slot)
    }

    /// No attempt starts for `delay`.
    pub(crate) fn pause(&self, delay: Duration) {
        let until = Instant::now() + delay;
        let mut paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.is_none_or(|before| before < until) {
            *paused = Some(until);
        }
    }

    fn paused_until(&self) -> Option<Instant> {
        let mut paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.is_some_and(|until| until <= Instant::now()) {
            *paused = None;
        }
        *paused
    }
}

/// A place in the queue, left when dropped.
#[derive(Debug)]
struct Queued<'a>(&'a Limit);

impl<'a> Queued<'a> {
    fn join(limit: &'a Limit) -> Result<Self, Refused> {
        let queued = Self(limit);
        let before = limit.queued.fetch_add(1, Ordering::Relaxed);
        // Those who enter without waiting also pass through the queue, hence the slots.
        if before >= limit.max_queued.saturating_add(limit.slots.available_permits()) {
            return Err(Refused::Overloaded);
        }
        Ok(queued)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minutes_worth_goes_at_once_and_the_next_waits_its_turn() {
        let limit = Limit::new(100, NonZeroU32::new(60), 100);
        let started = Instant::now();
        for _ in 0..60 {
            drop(limit.enter(None).await.unwrap());
        }
        assert!(started.elapsed() < Duration::from_millis(10));
        drop(limit.enter(None).await.unwrap());
        assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
        assert!(started.elapsed() < Duration::from_millis(1100), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_for_everyone_and_is_refused_to_those_without_time() {
        let limit = Limit::new(1, None, 1);
        limit.pause(Duration::from_secs(30));
        let soon = Instant::now() + Duration::from_secs(3);
        assert_eq!(limit.enter(Some(soon)).await.err(), Some(Refused::PausedTooLong));
        let started = Instant::now();
        drop(limit.enter(None).await.unwrap());
        assert!(started.elapsed() >= Duration::from_secs(30));
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let limit = Limit::new(1, None, 1);
        let held = limit.enter(None).await.unwrap();
        let mut first = Box::pin(limit.enter(None));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert_eq!(limit.enter(None).await.err(), Some(Refused::Overloaded));
        drop(held);
        assert!(first.await.is_ok());
    }
}
