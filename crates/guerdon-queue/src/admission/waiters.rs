//! The waiting requests of an [`Admission`](super::Admission), with their clients' shares of the
//! queue, and an index by the address that they avoid.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use super::demand::TokenEstimate;
use crate::fair::{FairQueue, FlowShares, QueuePosition};

/// A waiting request. `R` is the channel to its caller.
#[derive(Debug)]
pub(super) struct Waiter<R> {
    pub(super) client: u64,
    pub(super) tokens: u64,
    /// The estimate by which it is admitted.
    pub(super) estimate: Option<TokenEstimate>,
    pub(super) deadline: Option<Instant>,
    /// The address that it avoids.
    pub(super) avoid: Option<usize>,
    /// The failed probes through which it still waits.
    pub(super) probes: u32,
    /// True if it has seen a failed probe.
    pub(super) saw_failure: bool,
    pub(super) reply: R,
}

impl<R> Waiter<R> {
    /// The tokens that it needs, by the newest estimate.
    pub(super) fn current_tokens(&self) -> u64 {
        self.estimate.as_ref().map_or(self.tokens, TokenEstimate::current)
    }
}

/// The waiting requests.
#[derive(Debug)]
pub(super) struct Waiters<R> {
    /// By name and client.
    pub(super) queue: FairQueue<(Arc<str>, u64), Waiter<R>>,
    /// The shares of the clients.
    shares: FlowShares<u64>,
    /// The positions of the waiting requests by the address that they avoid, if any. No set is
    /// empty. Requests that avoid the same address are served in their order, so only the first of
    /// them is looked at.
    avoiding: HashMap<Option<usize>, BTreeSet<QueuePosition>>,
}

impl<R> Default for Waiters<R> {
    fn default() -> Self {
        Self {
            queue: FairQueue::default(),
            shares: FlowShares::default(),
            avoiding: HashMap::new(),
        }
    }
}

impl<R> Waiters<R> {
    /// Inserts a request. One that waits at the position is replaced.
    pub(super) fn insert(&mut self, position: QueuePosition, waiter: Waiter<R>) {
        self.remove(position);
        self.shares.add(waiter.client);
        self.avoiding.entry(waiter.avoid).or_default().insert(position);
        self.queue.insert(position, waiter.tokens, waiter);
    }

    /// Removes the request at a position.
    pub(super) fn remove(&mut self, position: QueuePosition) -> Option<Waiter<R>> {
        let waiter = self.queue.remove(position)?;
        self.shares.remove(&waiter.client);
        if let Some(positions) = self.avoiding.get_mut(&waiter.avoid) {
            positions.remove(&position);
            if positions.is_empty() {
                self.avoiding.remove(&waiter.avoid);
            }
        }
        Some(waiter)
    }

    /// The most urgent request that avoids none of the addresses in `passed`.
    pub(super) fn first_not_avoiding(
        &self,
        passed: &[usize],
    ) -> Option<(QueuePosition, &Waiter<R>)> {
        let skipped = |avoid: &Option<usize>| avoid.is_some_and(|avoid| passed.contains(&avoid));
        let heads = self.avoiding.iter().filter(|(avoid, _)| !skipped(avoid));
        let position = heads.filter_map(|(_, positions)| positions.first().copied()).min()?;
        Some((position, self.queue.get(position)?))
    }

    /// The number of requests beyond a queue of `size` if one more waits.
    pub(super) fn excess(&self, size: usize) -> usize {
        (self.queue.len() + 1).saturating_sub(size)
    }

    /// True if other clients wait, and `client` has less than its share of a queue of `size`. The
    /// queue serves clients in turn, so the requests of others must not shut it out.
    pub(super) fn is_within_share(&self, client: u64, size: usize) -> bool {
        self.shares.has_others(&client) && !self.shares.has_its_share(&client, size)
    }
}
