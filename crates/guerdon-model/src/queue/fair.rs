//! Fair order between clients: start-time fair queueing, in tokens.
//!
//! Each sequence gets a tag: the later of the virtual time and the end of its client's previous
//! sequence. The lowest tag runs next, and the virtual time is the tag that ran last. A client with
//! little work is therefore served soon, however much work another client has queued. The sequences
//! of one client keep their order, and an idle client saves up no credit. (Goyal, Vin and Cheng,
//! "Start-time Fair Queuing", SIGCOMM 1996, with all weights equal.)

use std::collections::HashMap;

/// The virtual time and the end of each client's last sequence, in tokens.
#[derive(Debug, Default)]
pub(crate) struct FairClock {
    now: u64,
    ends: HashMap<u64, u64>,
}

impl FairClock {
    /// The tag of the next sequence of `client`, which is `tokens` long.
    pub(crate) fn tag(&mut self, client: u64, tokens: usize) -> u64 {
        let end = self.ends.entry(client).or_default();
        let start = (*end).max(self.now);
        *end = start.saturating_add(u64::try_from(tokens).unwrap_or(u64::MAX));
        start
    }

    /// Records that the sequence with this tag runs. Forgets the clients without later work.
    pub(crate) fn served(&mut self, tag: u64) {
        if tag > self.now {
            self.now = tag;
            self.ends.retain(|_, end| *end > tag);
        }
    }

    /// Forgets all clients. Called when the queue is empty, so that past work changes no later
    /// order.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_client_is_served_before_the_rest_of_a_bulk_client() {
        let mut clock = FairClock::default();
        let bulk: Vec<u64> = (0..100).map(|_| clock.tag(1, 10)).collect();
        clock.served(bulk[0]);
        clock.served(bulk[1]);
        let single = clock.tag(2, 10);
        assert!(single <= bulk[2], "{single} against {}", bulk[2]);
        // An idle time is worth one sequence only: the next one queues behind the bulk client's
        // next.
        assert!(clock.tag(2, 10) > bulk[1]);
    }

    #[test]
    fn one_client_keeps_its_order_and_reset_forgets_it() {
        let mut clock = FairClock::default();
        let tags: Vec<u64> = [5, 500, 1].into_iter().map(|tokens| clock.tag(7, tokens)).collect();
        assert_eq!(tags, [0, 5, 505]);
        clock.served(505);
        assert_eq!(clock.tag(7, 1), 506);
        clock.reset();
        assert_eq!(clock.tag(7, 1), 0);
    }
}
