//! Queue slots: a bound on the turns that wait or run at once, and an estimate of their remaining
//! time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use guerdon_queue::{FairPermit, FairSemaphore, SemaphoreSize};

/// The queue's slots. Every queued turn holds one until it is answered. Clients that wait for slots
/// get them in turn.
#[derive(Debug, Clone)]
pub(crate) struct QueueSlots {
    slots: Arc<FairSemaphore>,
    size: usize,
    load: Arc<QueueLoad>,
}

/// The queued tokens and the speed at which they are computed.
#[derive(Debug, Default)]
struct QueueLoad {
    tokens: AtomicUsize,
    /// Moving average; 0 before the first batch.
    nanos_per_token: AtomicU64,
}

/// The slot of one turn; freed when dropped.
#[derive(Debug)]
pub(crate) struct QueueSlot {
    _permit: FairPermit,
    load: Arc<QueueLoad>,
    tokens: usize,
}

/// Slots reserved for the turns of one rollout.
#[derive(Debug)]
pub(crate) struct SlotReservation {
    permits: FairPermit,
    load: Arc<QueueLoad>,
}

impl QueueSlots {
    pub(crate) fn new(size: usize) -> Self {
        let units = u64::try_from(size).unwrap_or(u64::MAX);
        let slots = FairSemaphore::new(SemaphoreSize {
            units,
            reserve: 0,
            completion: 0,
            max_waiting: usize::MAX,
        });
        Self { slots, size, load: Arc::default() }
    }

    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// Waits until `wanted` slots are free and takes them together for `client`. A rollout gets
    /// slots for all of its turns or for none, so that the model scores no turn of a rollout that is
    /// given up. Returns `None` if the queue has fewer slots in total.
    pub(crate) async fn reserve(&self, client: u64, wanted: usize) -> Option<SlotReservation> {
        let units = u64::try_from(wanted).ok()?;
        let permits = self.slots.acquire(client, units).await?;
        Some(SlotReservation { permits, load: Arc::clone(&self.load) })
    }

    /// The expected time until the queued and waiting work is done, between a second and a minute.
    /// `None` if a slot is free, or if `client` has less than its share of the slots: its turns
    /// then get the next ones.
    pub(crate) fn full_for(&self, client: u64) -> Option<Duration> {
        if !self.slots.is_full_for(client) {
            return None;
        }
        let queued = u64::try_from(self.load.tokens.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        // The length of turns that still wait for a slot is not known; the queued ones stand in.
        let size = u64::try_from(self.size).unwrap_or(u64::MAX).max(1);
        let waiting = queued.saturating_mul(self.slots.waiting_units()) / size;
        let tokens = queued.saturating_add(waiting);
        let nanos = tokens.saturating_mul(self.load.nanos_per_token.load(Ordering::Relaxed));
        Some(Duration::from_nanos(nanos).clamp(Duration::from_secs(1), Duration::from_secs(60)))
    }

    /// The turns that hold a slot or wait for one.
    pub(crate) fn depth(&self) -> u64 {
        self.slots.held_units().saturating_add(self.slots.waiting_units())
    }

    /// Records the speed of a batch. Device threads may overwrite each other's update; the value
    /// remains an average of measured speeds.
    pub(crate) fn record_batch(&self, tokens: usize, duration: Duration) {
        let tokens = u64::try_from(tokens).unwrap_or(u64::MAX).max(1);
        let now = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX) / tokens;
        let before = self.load.nanos_per_token.load(Ordering::Relaxed);
        let average = if before == 0 { now } else { before / 8 * 7 + now / 8 };
        self.load.nanos_per_token.store(average, Ordering::Relaxed);
    }
}

impl SlotReservation {
    /// The slot of a turn of `tokens` tokens; `None` once all reserved slots are taken.
    pub(crate) fn slot(&mut self, tokens: usize) -> Option<QueueSlot> {
        let permit = self.permits.split(1)?;
        self.load.tokens.fetch_add(tokens, Ordering::Relaxed);
        Some(QueueSlot { _permit: permit, load: Arc::clone(&self.load), tokens })
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        self.load.tokens.fetch_sub(self.tokens, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn full_queue_estimates_its_remaining_time() {
        let queue = QueueSlots::new(2);
        queue.record_batch(100, Duration::from_millis(500));
        let mut both = queue.reserve(1, 2).await.unwrap();
        let slots = [both.slot(300), both.slot(500)];
        assert!(both.slot(1).is_none());
        // 800 tokens at 5 ms each.
        assert_eq!(queue.full_for(1), Some(Duration::from_secs(4)));
        // As many again wait.
        let mut two_more = Box::pin(queue.reserve(1, 2));
        assert!(two_more.as_mut().now_or_never().is_none());
        assert_eq!(queue.full_for(1), Some(Duration::from_secs(8)));
        assert_eq!(queue.depth(), 4);
        drop(two_more);
        drop(slots);
        drop(both);
        assert_eq!(queue.full_for(1), None);
        assert_eq!(queue.load.tokens.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn reservation_waits_for_free_slots_and_fails_beyond_the_queue_size() {
        let queue = QueueSlots::new(2);
        let one = queue.reserve(1, 1).await.unwrap();
        let mut wants_two = Box::pin(queue.reserve(1, 2));
        assert!(wants_two.as_mut().now_or_never().is_none(), "one slot is free, two are needed");
        drop(one);
        assert!(wants_two.await.is_some());
        assert!(queue.reserve(1, 3).await.is_none());
    }

    #[tokio::test]
    async fn small_client_is_admitted_while_a_large_one_fills_the_queue() {
        let queue = QueueSlots::new(4);
        let mut held: Vec<_> =
            (0..4).map(|_| queue.reserve(1, 1).now_or_never().unwrap()).collect();
        let mut greedy: Vec<_> = (0..8).map(|_| Box::pin(queue.reserve(1, 1))).collect();
        for waiting in &mut greedy {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        assert!(queue.full_for(1).is_some() && queue.full_for(2).is_none());
        let mut small = Box::pin(queue.reserve(2, 1));
        assert!(small.as_mut().now_or_never().is_none());
        // The next slot but one is the small client's, not the ninth.
        held.drain(..2);
        assert!(small.now_or_never().is_some());
    }
}
