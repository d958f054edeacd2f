//! A waiting set in the order of fair queueing.

use std::collections::BTreeMap;
use std::hash::Hash;

use super::clock::FairClock;

/// A position in a [`FairQueue`]: by fair tag, and by arrival among equal tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueuePosition {
    tag: u64,
    arrival: u64,
}

/// Items of several flows that wait for one resource, the most urgent first.
///
/// Serving an item takes two steps, because a position can also be served without waiting:
/// [`FairQueue::remove`] takes the item out, [`FairQueue::serve`] advances the virtual time.
#[derive(Debug)]
pub struct FairQueue<F, T> {
    clock: FairClock<F>,
    waiting: BTreeMap<QueuePosition, Waiting<T>>,
    arrivals: u64,
    cost: u64,
    /// The number of items that were looked at: the work of a caller that searches the queue.
    #[cfg(test)]
    looks: std::cell::Cell<usize>,
}

#[derive(Debug)]
struct Waiting<T> {
    cost: u64,
    item: T,
}

impl<F, T> Default for FairQueue<F, T> {
    fn default() -> Self {
        Self {
            clock: FairClock::default(),
            waiting: BTreeMap::new(),
            arrivals: 0,
            cost: 0,
            #[cfg(test)]
            looks: std::cell::Cell::default(),
        }
    }
}

impl<F: Eq + Hash, T> FairQueue<F, T> {
    /// A position for the next item of `flow`, behind its earlier ones. See [`FairClock::tag`] for
    /// `cost` and `weight`.
    pub fn next_position(&mut self, flow: F, cost: u64, weight: u32) -> QueuePosition {
        self.arrivals += 1;
        QueuePosition { tag: self.clock.tag(flow, cost, weight), arrival: self.arrivals }
    }

    /// Inserts an item at a position, which is new or the item's earlier position. Replaces an item
    /// that waits there.
    pub fn insert(&mut self, position: QueuePosition, cost: u64, item: T) {
        self.remove(position);
        self.cost = self.cost.saturating_add(cost);
        self.waiting.insert(position, Waiting { cost, item });
    }

    /// Inserts an item at the end of its flow.
    pub fn push(&mut self, flow: F, cost: u64, weight: u32, item: T) -> QueuePosition {
        let position = self.next_position(flow, cost, weight);
        self.insert(position, cost, item);
        position
    }

    /// Removes an item.
    pub fn remove(&mut self, position: QueuePosition) -> Option<T> {
        let Waiting { cost, item } = self.waiting.remove(&position)?;
        self.cost = self.cost.saturating_sub(cost);
        Some(item)
    }

    /// Advances the virtual time to an item that is served now.
    pub fn serve(&mut self, position: QueuePosition) {
        self.clock.serve(position.tag);
    }

    /// Forgets the history of all flows. For the moment at which nothing waits and nothing is in
    /// service; waiting items would lose their order relative to new ones.
    pub fn reset_clock(&mut self) {
        self.clock.reset();
    }

    /// The most urgent item.
    #[must_use]
    pub fn first(&self) -> Option<(QueuePosition, &T)> {
        self.iter().next()
    }

    /// The item at a position.
    #[must_use]
    pub fn get(&self, position: QueuePosition) -> Option<&T> {
        self.count_look();
        self.waiting.get(&position).map(|waiting| &waiting.item)
    }

    /// The item at a position.
    pub fn get_mut(&mut self, position: QueuePosition) -> Option<&mut T> {
        self.waiting.get_mut(&position).map(|waiting| &mut waiting.item)
    }

    /// All items.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        #[cfg(test)]
        self.looks.set(self.looks.get() + self.waiting.len());
        self.waiting.values_mut().map(|waiting| &mut waiting.item)
    }

    /// All items, the most urgent first.
    pub fn iter(&self) -> impl Iterator<Item = (QueuePosition, &T)> {
        self.waiting.iter().map(|(position, waiting)| {
            self.count_look();
            (*position, &waiting.item)
        })
    }

    #[cfg(test)]
    fn count_look(&self) {
        self.looks.set(self.looks.get() + 1);
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests count")]
    const fn count_look(&self) {}

    /// The number of items that were looked at so far.
    #[cfg(test)]
    pub(crate) const fn looks(&self) -> usize {
        self.looks.get()
    }

    /// The number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True if no item waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The cost of all waiting items together.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn served<T>(queue: &mut FairQueue<u8, T>) -> Vec<T> {
        let mut items = Vec::new();
        while let Some((position, _)) = queue.first() {
            queue.serve(position);
            items.extend(queue.remove(position));
        }
        items
    }

    #[test]
    fn flows_take_turns_and_each_keeps_its_order() {
        let mut queue = FairQueue::default();
        for item in ["a1", "a2", "a3"] {
            queue.push(1, 10, 1, item);
        }
        for item in ["b1", "b2"] {
            queue.push(2, 10, 1, item);
        }
        assert_eq!((queue.len(), queue.cost()), (5, 50));
        assert_eq!(served(&mut queue), ["a1", "b1", "a2", "b2", "a3"]);
        assert!(queue.is_empty() && queue.cost() == 0);
    }

    #[test]
    fn an_item_can_return_to_its_position() {
        let mut queue = FairQueue::default();
        let first = queue.push(1, 10, 1, "first");
        queue.push(1, 10, 1, "second");
        queue.serve(first);
        assert_eq!(queue.remove(first), Some("first"));
        queue.insert(first, 10, "first again");
        assert_eq!(served(&mut queue), ["first again", "second"]);
    }

    proptest! {
        /// However much other flows have queued, a new flow's first item waits for at most one item
        /// of each of them.
        #[test]
        fn a_new_flow_waits_for_one_item_of_each_other_flow(
            queued in proptest::collection::vec((0u8..4, 1u64..50), 1..80),
            taken in 0usize..40,
        ) {
            let mut queue = FairQueue::default();
            for (flow, cost) in &queued {
                queue.push(*flow, *cost, 1, *flow);
            }
            for _ in 0..taken {
                let Some((position, _)) = queue.first() else { break };
                queue.serve(position);
                queue.remove(position);
            }
            queue.push(99, 1, 1, 99);
            let order = served(&mut queue);
            let before: Vec<u8> = order.into_iter().take_while(|flow| *flow != 99).collect();
            for flow in 0..4 {
                prop_assert!(before.iter().filter(|other| **other == flow).count() <= 1);
            }
        }
    }
}
