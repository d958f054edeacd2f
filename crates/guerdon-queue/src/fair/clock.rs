//! The virtual time of start-time fair queueing.
//!
//! Each item gets a tag: the later of the virtual time and the end of its flow's previous item. The
//! lowest tag is served next, and the virtual time is the highest tag that was served. A flow with
//! little demand is therefore served soon, even if another flow has queued a lot. Items of one flow
//! are served in their order, and an idle flow collects no credit.
//!
//! Source: Goyal, Vin and Cheng, "Start-time fair queueing: a scheduling algorithm for integrated
//! services packet switching networks", IEEE/ACM Transactions on Networking 5(5), 1997.

use std::collections::HashMap;
use std::hash::Hash;

/// Virtual time per unit of cost at weight 1, so that a unit divided by a weight still counts.
const TICKS: u64 = 1024;

/// Number of flows below which ended flows are not removed.
const FEW_FLOWS: usize = 64;

/// The virtual time, and the end of each flow's last item in it.
#[derive(Debug)]
pub struct FairClock<F> {
    now: u64,
    ends: HashMap<F, u64>,
    /// The number of flows at which ended ones are removed.
    prune_at: usize,
}

impl<F> Default for FairClock<F> {
    fn default() -> Self {
        Self { now: 0, ends: HashMap::new(), prune_at: FEW_FLOWS }
    }
}

impl<F: Eq + Hash> FairClock<F> {
    /// The tag of the next item of `flow`. `cost` is the item's use of the resource, such as
    /// tokens. A flow of weight 3 gets three times the share of a flow of weight 1; 0 counts as 1.
    pub fn tag(&mut self, flow: F, cost: u64, weight: u32) -> u64 {
        if self.ends.len() >= self.prune_at {
            let now = self.now;
            // A flow that ends before the virtual time is no different from a new one.
            self.ends.retain(|_, end| *end > now);
            self.prune_at = (2 * self.ends.len()).max(FEW_FLOWS);
        }
        let end = self.ends.entry(flow).or_default();
        let start = (*end).max(self.now);
        let ticks = cost.max(1).saturating_mul(TICKS) / u64::from(weight.max(1));
        *end = start.saturating_add(ticks.max(1));
        start
    }

    /// Advances the virtual time to `tag`, the tag of an item that is served now.
    pub fn serve(&mut self, tag: u64) {
        self.now = self.now.max(tag);
    }

    /// Forgets all flows and starts at 0. For the moment at which nothing waits and nothing is in
    /// service: earlier items then give no flow a better or worse position.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_flow_is_served_before_the_rest_of_a_large_one() {
        let mut clock = FairClock::default();
        let bulk: Vec<u64> = (0..100).map(|_| clock.tag(1, 10, 1)).collect();
        clock.serve(bulk[0]);
        clock.serve(bulk[1]);
        let single = clock.tag(2, 10, 1);
        assert!(single <= bulk[2], "{single} against {}", bulk[2]);
        // Having been idle is worth one item: the next one queues behind the bulk's next.
        assert!(clock.tag(2, 10, 1) > bulk[1]);
    }

    #[test]
    fn a_lone_flow_keeps_its_order_and_a_reset_forgets_it() {
        let mut clock = FairClock::default();
        let tags: Vec<u64> = [5, 500, 1].into_iter().map(|cost| clock.tag(7, cost, 1)).collect();
        assert_eq!(tags, [0, 5 * TICKS, 505 * TICKS]);
        clock.serve(505 * TICKS);
        assert_eq!(clock.tag(7, 1, 1), 506 * TICKS);
        clock.reset();
        assert_eq!(clock.tag(7, 1, 1), 0);
    }

    #[test]
    fn a_weight_divides_the_cost() {
        let mut clock = FairClock::default();
        clock.tag("heavy", 9, 3);
        clock.tag("light", 3, 1);
        assert_eq!(clock.tag("heavy", 1, 3), clock.tag("light", 1, 1));
        clock.tag("none", 1, 0);
        clock.tag("huge", u64::MAX, 1);
        assert!(clock.tag("huge", u64::MAX, 1) >= u64::MAX / 2, "saturates");
    }

    #[test]
    fn ended_flows_are_removed_and_open_ones_stay() {
        let mut clock = FairClock::default();
        clock.tag(u64::MAX, 1_000_000, 1);
        for client in 0..10_000 {
            let tag = clock.tag(client, 1, 1);
            clock.serve(tag + TICKS);
        }
        assert!(clock.ends.len() <= 2 * FEW_FLOWS, "{}", clock.ends.len());
        assert_eq!(clock.tag(u64::MAX, 1, 1), 1_000_000 * TICKS);
    }
}
