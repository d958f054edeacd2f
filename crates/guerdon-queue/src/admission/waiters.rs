//! The waiting requests of an [`Admission`](super::Admission), counted by client.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tokio::time::Instant;

use crate::fair::{FairQueue, QueuePosition};

/// A waiting request. `R` is the channel to its caller.
#[derive(Debug)]
pub(super) struct Waiter<R> {
    pub(super) client: u64,
    pub(super) tokens: u64,
    pub(super) deadline: Option<Instant>,
    /// The address that it avoids.
    pub(super) avoid: Option<usize>,
    /// The failed probes through which it still waits.
    pub(super) probes: u32,
    /// True if it has seen a failed probe.
    pub(super) saw_failure: bool,
    pub(super) reply: R,
}

/// The waiting requests.
#[derive(Debug)]
pub(super) struct Waiters<R> {
    /// By name and client.
    pub(super) queue: FairQueue<(Arc<str>, u64), Waiter<R>>,
    /// The number of waiting requests by client; no zeros.
    by_client: HashMap<u64, usize>,
}

impl<R> Default for Waiters<R> {
    fn default() -> Self {
        Self { queue: FairQueue::default(), by_client: HashMap::new() }
    }
}

impl<R> Waiters<R> {
    /// Inserts a request. One that waits at the position is replaced.
    pub(super) fn insert(&mut self, position: QueuePosition, waiter: Waiter<R>) {
        self.remove(position);
        *self.by_client.entry(waiter.client).or_default() += 1;
        self.queue.insert(position, waiter.tokens, waiter);
    }

    /// Removes the request at a position.
    pub(super) fn remove(&mut self, position: QueuePosition) -> Option<Waiter<R>> {
        let waiter = self.queue.remove(position)?;
        if let Entry::Occupied(mut waiting) = self.by_client.entry(waiter.client) {
            *waiting.get_mut() -= 1;
            if *waiting.get() == 0 {
                waiting.remove();
            }
        }
        Some(waiter)
    }

    /// The number of requests beyond a queue of `size` if one more waits.
    pub(super) fn excess(&self, size: usize) -> usize {
        (self.queue.len() + 1).saturating_sub(size)
    }

    /// True if other clients wait, and `client` has less than its share of a queue of `size`. The
    /// queue serves clients in turn, so the requests of others must not shut it out.
    pub(super) fn is_within_share(&self, client: u64, size: usize) -> bool {
        let own = self.by_client.get(&client).copied().unwrap_or_default();
        let clients = self.by_client.len() + usize::from(own == 0);
        let share = (size / clients).max(1);
        own < share && self.by_client.len() > usize::from(own > 0)
    }
}
