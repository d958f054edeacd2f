//! The queue's places: how many turns may wait or run at once, and when those that do will be done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places. Every queued turn holds one until it is answered.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    places: Arc<Semaphore>,
    size: usize,
    load: Arc<Load>,
}

/// What the places hold, and how fast it goes.
#[derive(Debug, Default)]
struct Load {
    tokens: AtomicUsize,
    /// A moving average; 0 before the first batch.
    nanos_per_token: AtomicU64,
}

/// One turn's place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    load: Arc<Load>,
    tokens: usize,
}

/// Places taken for one rollout, one to be given to each of its turns.
#[derive(Debug)]
pub(crate) struct Reserved {
    permits: OwnedSemaphorePermit,
    load: Arc<Load>,
}

impl Queue {
    pub(crate) fn new(size: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(size)), size, load: Arc::default() }
    }

    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// Waits for `wanted` places at once: all of a rollout's turns or none of them, so that none is scored in vain.
    /// `None` if there are not that many in all.
    pub(crate) async fn reserve(&self, wanted: usize) -> Option<Reserved> {
        let permits = u32::try_from(wanted).ok().filter(|_| wanted <= self.size)?;
        let permits = Arc::clone(&self.places).acquire_many_owned(permits).await.ok()?;
        Some(Reserved { permits, load: Arc::clone(&self.load) })
    }

    /// How long until what is queued now is done, if every place is taken; at least a second, at most a minute.
    pub(crate) fn full_for(&self) -> Option<Duration> {
        if self.places.available_permits() > 0 {
            return None;
        }
        let tokens = u64::try_from(self.load.tokens.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        let nanos = tokens.saturating_mul(self.load.nanos_per_token.load(Ordering::Relaxed));
        Some(Duration::from_nanos(nanos).clamp(Duration::from_secs(1), Duration::from_secs(60)))
    }

    /// Told of every batch. Device threads may overwrite each other's figure: it stays an average.
    pub(crate) fn ran(&self, tokens: usize, took: Duration) {
        let tokens = u64::try_from(tokens).unwrap_or(u64::MAX).max(1);
        let now = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / tokens;
        let before = self.load.nanos_per_token.load(Ordering::Relaxed);
        let average = if before == 0 { now } else { before / 8 * 7 + now / 8 };
        self.load.nanos_per_token.store(average, Ordering::Relaxed);
    }
}

impl Reserved {
    /// The place of a turn of `tokens`; `None` once all are given.
    pub(crate) fn place(&mut self, tokens: usize) -> Option<Place> {
        let permit = self.permits.split(1)?;
        self.load.tokens.fetch_add(tokens, Ordering::Relaxed);
        Some(Place { _permit: permit, load: Arc::clone(&self.load), tokens })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.tokens.fetch_sub(self.tokens, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_full_queue_says_when_it_will_be_done() {
        let queue = Queue::new(2);
        queue.ran(100, Duration::from_millis(500));
        let mut both = queue.reserve(2).await.unwrap();
        let places = [both.place(300), both.place(500)];
        assert!(both.place(1).is_none());
        // 800 tokens at 5 ms each.
        assert_eq!(queue.full_for(), Some(Duration::from_secs(4)));
        drop(places);
        drop(both);
        assert_eq!(queue.full_for(), None);
        assert_eq!(queue.load.tokens.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn who_finds_it_full_waits_and_who_wants_more_than_there_is_does_not() {
        let queue = Queue::new(2);
        let held = queue.reserve(1).await.unwrap();
        let mut wants_two = Box::pin(queue.reserve(2));
        assert!(wants_two.as_mut().now_or_never().is_none(), "one place is free, two were wanted");
        drop(held);
        assert!(wants_two.await.is_some());
        assert!(queue.reserve(3).await.is_none());
    }
}
