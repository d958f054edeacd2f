//! Which of the waiting sequences to run next. Pure: lengths in, places out.
//!
//! Padding is the largest waste there is in scoring dialogues (twice the work and more, at batches cut first come, first
//! served), and sorting by length ends it. But whoever serves the cheapest batch first lets somebody wait for ever. So the
//! whole waiting set is sorted and cut, and of these batches the one that holds the oldest sequence runs. The oldest
//! always leaves, hence nobody waits for more batches than there were sequences before him; and because the cuts start at
//! the longest, taking one batch away does not move the others, so the plan stays as good as sorting everything offline.

/// How large a batch may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Tokens, padding included.
    pub(crate) token_budget: usize,
    /// Sequences.
    pub(crate) max_items: usize,
}

/// The places in `lengths` (tokens of each waiting sequence, oldest first) of the batch to run next, ascending.
///
/// It is not empty unless `lengths` is, and holds place 0. Longest times number is within the budget, or it is one
/// sequence that alone exceeds it. O(n log n); for the 16,384 turns of the default queue that is well under a
/// millisecond, against tens of milliseconds for the batch.
pub(crate) fn next_batch(lengths: &[usize], limits: Limits) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_unstable_by_key(|&place| (std::cmp::Reverse(lengths[place]), place));
    let mut rest = order.as_slice();
    while let Some(&longest) = rest.first() {
        let room = limits.token_budget / lengths[longest].max(1);
        let (batch, later) = rest.split_at(room.clamp(1, limits.max_items.max(1)).min(rest.len()));
        if batch.contains(&0) {
            let mut batch = batch.to_vec();
            batch.sort_unstable();
            return batch;
        }
        rest = later;
    }
    Vec::new()
}

/// Tokens of a batch of sequences of these lengths, padding included.
pub(crate) fn padded_tokens(lengths: impl ExactSizeIterator<Item = usize>) -> usize {
    let items = lengths.len();
    lengths.max().unwrap_or(0) * items
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Runs everything, returning the batches as lists of places in the original list.
    fn drain(lengths: &[usize], limits: Limits) -> Vec<Vec<usize>> {
        let mut waiting: Vec<usize> = (0..lengths.len()).collect();
        let mut batches = Vec::new();
        while !waiting.is_empty() {
            let now: Vec<usize> = waiting.iter().map(|&place| lengths[place]).collect();
            let batch: Vec<usize> =
                next_batch(&now, limits).into_iter().map(|place| waiting[place]).collect();
            assert!(!batch.is_empty());
            waiting.retain(|place| !batch.contains(place));
            batches.push(batch);
        }
        batches
    }

    fn padded(batches: &[Vec<usize>], lengths: &[usize]) -> usize {
        batches.iter().map(|batch| padded_tokens(batch.iter().map(|&place| lengths[place]))).sum()
    }

    proptest! {
        #[test]
        fn the_oldest_always_leaves_and_everything_leaves_once(
            lengths in vec(0usize..300, 0..60), token_budget in 1usize..2_000, max_items in 1usize..20,
        ) {
            let mut seen = vec![false; lengths.len()];
            for batch in drain(&lengths, Limits { token_budget, max_items }) {
                let oldest = seen.iter().position(|seen| !seen).unwrap();
                prop_assert!(batch.contains(&oldest));
                for place in batch {
                    prop_assert!(!std::mem::replace(&mut seen[place], true));
                }
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }

        #[test]
        fn no_batch_exceeds_its_limits_unless_it_is_a_single_sequence(
            lengths in vec(0usize..300, 0..60), token_budget in 1usize..2_000, max_items in 1usize..20,
        ) {
            for batch in drain(&lengths, Limits { token_budget, max_items }) {
                let tokens = padded_tokens(batch.iter().map(|&place| lengths[place]));
                prop_assert!(batch.len() == 1 || tokens <= token_budget);
                prop_assert!(batch.len() <= max_items);
            }
        }

        #[test]
        fn taking_the_oldest_batch_first_costs_no_more_than_sorting_offline(
            lengths in vec(1usize..300, 0..60), token_budget in 300usize..2_000,
        ) {
            let limits = Limits { token_budget, max_items: 16 };
            let mut sorted: Vec<usize> = (0..lengths.len()).collect();
            sorted.sort_by_key(|&place| std::cmp::Reverse(lengths[place]));
            let mut offline = Vec::new();
            while !sorted.is_empty() {
                let room = (token_budget / lengths[sorted[0]]).clamp(1, 16).min(sorted.len());
                offline.push(sorted.drain(..room).collect::<Vec<_>>());
            }
            let online = drain(&lengths, limits);
            prop_assert_eq!(padded(&online, &lengths), padded(&offline, &lengths));
            prop_assert_eq!(online.len(), offline.len());
        }
    }

    #[test]
    fn short_ones_are_not_padded_to_a_long_one() {
        let limits = Limits { token_budget: 256, max_items: 64 };
        assert_eq!(next_batch(&[10, 250, 12, 11], limits), [0, 2, 3]);
        assert_eq!(next_batch(&[250, 10, 12, 11], limits), [0]);
        assert_eq!(next_batch(&[], limits), Vec::<usize>::new());
    }
}
