//! Who is next when several clients wait: start-time fair queueing, in tokens.
//!
//! Each sequence gets a tag: the later of the virtual time and the end of its client's last one. The lowest tag is next,
//! and the virtual time is the tag that was served last. So a client that asks for little is served soon, however much
//! another has queued; a client alone is served in the order in which it asked; and nobody saves up while idle.
//! (Goyal, Vin and Cheng, "Start-time Fair Queuing", SIGCOMM 1996, with all weights equal.)

use std::collections::HashMap;

/// The virtual time, and where each client's last sequence ends in it; in tokens.
#[derive(Debug, Default)]
pub(crate) struct FairClock {
    now: u64,
    ends: HashMap<u64, u64>,
}

impl FairClock {
    /// The tag of the next sequence of `client`, `tokens` long.
    pub(crate) fn tag(&mut self, client: u64, tokens: usize) -> u64 {
        let end = self.ends.entry(client).or_default();
        let start = (*end).max(self.now);
        *end = start.saturating_add(u64::try_from(tokens).unwrap_or(u64::MAX));
        start
    }

    /// The sequence tagged `tag` is served. Forgets the clients that have nothing ahead of it.
    pub(crate) fn served(&mut self, tag: u64) {
        if tag > self.now {
            self.now = tag;
            self.ends.retain(|_, end| *end > tag);
        }
    }

    /// Nobody waits any more: what was asked before gives nobody a better or worse place.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_little_goes_before_the_rest_of_who_asked_for_much() {
        let mut clock = FairClock::default();
        let bulk: Vec<u64> = (0..100).map(|_| clock.tag(1, 10)).collect();
        clock.served(bulk[0]);
        clock.served(bulk[1]);
        let single = clock.tag(2, 10);
        assert!(single <= bulk[2], "{single} against {}", bulk[2]);
        // And having been idle is worth no more than one turn: the next one queues behind the bulk's next.
        assert!(clock.tag(2, 10) > bulk[1]);
    }

    #[test]
    fn a_client_alone_is_served_in_its_own_order_and_a_reset_forgets_it() {
        let mut clock = FairClock::default();
        let tags: Vec<u64> = [5, 500, 1].into_iter().map(|tokens| clock.tag(7, tokens)).collect();
        assert_eq!(tags, [0, 5, 505]);
        clock.served(505);
        assert_eq!(clock.tag(7, 1), 506);
        clock.reset();
        assert_eq!(clock.tag(7, 1), 0);
    }
}
