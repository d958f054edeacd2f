//! The fair share of a flow in a resource that several flows use: the size of the resource, divided
//! by the number of these flows.

use std::collections::HashMap;
use std::hash::Hash;

/// The share of each of `flows` flows in `size` units, at least one: a flow that uses nothing yet
/// always has less than its share.
pub(crate) fn fair_share(size: u64, flows: usize) -> u64 {
    let flows = u64::try_from(flows).unwrap_or(u64::MAX);
    (size / flows.max(1)).max(1)
}

/// The units that each flow uses.
#[derive(Debug)]
pub(crate) struct FlowShares<F> {
    /// The units of each flow. A flow without units has no entry.
    used: HashMap<F, u64>,
}

impl<F> Default for FlowShares<F> {
    fn default() -> Self {
        Self { used: HashMap::new() }
    }
}

impl<F: Eq + Hash> FlowShares<F> {
    /// Counts a unit of `flow`.
    pub(crate) fn add(&mut self, flow: F) {
        *self.used.entry(flow).or_default() += 1;
    }

    /// Removes a unit of `flow`.
    pub(crate) fn remove(&mut self, flow: &F) {
        if let Some(used) = self.used.get_mut(flow) {
            *used = used.saturating_sub(1);
            if *used == 0 {
                self.used.remove(flow);
            }
        }
    }

    /// Forgets all flows.
    pub(crate) fn clear(&mut self) {
        self.used.clear();
    }

    /// True if `flow` uses its fair share of `size` units, or more.
    pub(crate) fn has_its_share(&self, flow: &F, size: usize) -> bool {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let own = self.used.get(flow).copied().unwrap_or_default();
        own >= fair_share(size, self.used.len() + usize::from(own == 0))
    }

    /// True if a flow other than `flow` uses anything.
    pub(crate) fn has_others(&self, flow: &F) -> bool {
        self.used.len() > usize::from(self.used.contains_key(flow))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The shares of all flows fit into the size unless there are more flows than units, and a
        /// flow without any never has its share.
        #[test]
        fn shares_fit_and_a_new_flow_has_none(
            size in 0usize..100, flows in proptest::collection::vec(0u8..9, 0..60),
        ) {
            let mut shares = FlowShares::default();
            for flow in &flows {
                if !shares.has_its_share(flow, size) {
                    shares.add(*flow);
                }
            }
            prop_assert!(!shares.has_its_share(&99, size));
            prop_assert!(!shares.has_others(&99) || !flows.is_empty());
            for flow in &flows {
                while shares.used.contains_key(flow) {
                    shares.remove(flow);
                }
            }
            prop_assert!(shares.used.is_empty());
        }
    }

    #[test]
    fn a_lone_flow_may_use_everything_and_two_share_it() {
        let mut shares = FlowShares::default();
        for _ in 0..4 {
            assert!(!shares.has_its_share(&"a", 4) && !shares.has_others(&"a"));
            shares.add("a");
        }
        assert!(shares.has_its_share(&"a", 4) && shares.has_others(&"b"));
        assert!(!shares.has_its_share(&"b", 4));
        shares.add("b");
        assert!(!shares.has_its_share(&"b", 4), "one of a share of two");
        shares.add("b");
        assert!(shares.has_its_share(&"b", 4) && shares.has_its_share(&"a", 4));
        assert_eq!((fair_share(0, 0), fair_share(10, 3), fair_share(2, 9)), (1, 3, 1));
    }
}
