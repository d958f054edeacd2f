//! The queue between requests and the thread that writes: bounded by the bytes that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::RolloutRecord;

/// The unit of the room in a queue, in bytes.
const UNIT: u64 = 1_024;

/// The approximate size of a result without turns, and of a turn, in bytes.
const RESULT_BYTES: usize = 1_024;
const TURN_BYTES: usize = 512;

/// Counts of a ledger that is written to.
#[derive(Debug, Default)]
pub struct LedgerCounts {
    written: AtomicU64,
    full: AtomicU64,
    failed: AtomicU64,
    closed: AtomicU64,
    queued: AtomicU64,
}

impl LedgerCounts {
    /// Rollouts that were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Rollouts that were dropped because the queue was full.
    #[must_use]
    pub fn dropped_full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// Rollouts that were dropped because the database refused them.
    #[must_use]
    pub fn dropped_failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Rollouts that were dropped because the ledger was closed.
    #[must_use]
    pub fn dropped_closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    /// Rollouts that wait to be written.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    pub(crate) fn enter(&self, rollouts: usize) {
        self.queued.fetch_add(count(rollouts), Ordering::Relaxed);
    }

    pub(crate) fn leave(&self, rollouts: usize, is_written: bool) {
        self.queued.fetch_sub(count(rollouts), Ordering::Relaxed);
        let counter = if is_written { &self.written } else { &self.failed };
        counter.fetch_add(count(rollouts), Ordering::Relaxed);
    }

    pub(crate) fn drop_full(&self, rollouts: usize) {
        self.full.fetch_add(count(rollouts), Ordering::Relaxed);
    }

    pub(crate) fn drop_closed(&self, rollouts: usize) {
        self.closed.fetch_add(count(rollouts), Ordering::Relaxed);
    }
}

fn count(rollouts: usize) -> u64 {
    u64::try_from(rollouts).unwrap_or(u64::MAX)
}

/// The room of a queue.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    semaphore: Arc<Semaphore>,
    units: u32,
}

/// The reason why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Full,
    Closed,
}

impl Room {
    pub(crate) fn new(bytes: u64) -> Self {
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let units = u32::try_from(bytes / UNIT).unwrap_or(most).clamp(1, most);
        let permits = usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS);
        Self { semaphore: Arc::new(Semaphore::new(permits)), units }
    }

    /// Takes room for `records`, if there is enough. More than the queue holds at all takes all of
    /// it.
    pub(crate) fn try_take(
        &self,
        records: &[RolloutRecord],
    ) -> Result<OwnedSemaphorePermit, NoRoom> {
        let taken = Arc::clone(&self.semaphore).try_acquire_many_owned(self.units(records));
        taken.map_err(|error| match error {
            tokio::sync::TryAcquireError::NoPermits => NoRoom::Full,
            tokio::sync::TryAcquireError::Closed => NoRoom::Closed,
        })
    }

    /// As [`Self::try_take`], and waits for the room.
    pub(crate) async fn take(
        &self,
        records: &[RolloutRecord],
    ) -> Result<OwnedSemaphorePermit, NoRoom> {
        let taken = Arc::clone(&self.semaphore).acquire_many_owned(self.units(records)).await;
        taken.map_err(|_| NoRoom::Closed)
    }

    /// Ends every wait for room.
    pub(crate) fn close(&self) {
        self.semaphore.close();
    }

    fn units(&self, records: &[RolloutRecord]) -> u32 {
        let bytes: usize = records.iter().map(weight).fold(0, usize::saturating_add);
        let units = u64::try_from(bytes).unwrap_or(u64::MAX).div_ceil(UNIT);
        u32::try_from(units).unwrap_or(self.units).clamp(1, self.units)
    }
}

/// The approximate size of a record in memory, in bytes.
fn weight(record: &RolloutRecord) -> usize {
    let dialogue = record.rollout.get().map_or(0, |rollout| rollout.weight(rollout.messages.len()));
    dialogue + RESULT_BYTES + TURN_BYTES * record.result.turns.len()
}
