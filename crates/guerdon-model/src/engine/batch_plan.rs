//! Which of the waiting sequences to run next. Pure: sequences in, places out.
//!
//! Padding is the largest waste there is in scoring dialogues (twice the work and more, at batches cut first come, first
//! served), and sorting by length ends it. But whoever serves the cheapest batch first lets somebody wait for ever. So the
//! whole waiting set is sorted and cut, and of these batches the one that holds the oldest sequence runs. The oldest
//! always leaves, hence nobody waits for more batches than there were sequences before him; and because the cuts start at
//! the longest, taking one batch away does not move the others, so the plan stays as good as sorting everything offline.
//!
//! A packed graph has no padding to save but what is shared to find, so there the order is one that puts it side by side,
//! and the cost of a batch is its distinct tokens.

use std::fmt;

use crate::encode::tokens::Tokens;
use crate::engine::sharing::Sharing;

/// How large a batch may be, and what it costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) layout: Layout,
    /// Tokens that are computed: padding included if padded, each distinct one once if packed.
    pub(crate) token_budget: usize,
    /// Packed: up to so many of them, a sequence that shares most of its own with the one before it may exceed the budget.
    pub(crate) together: usize,
    /// Sequences.
    pub(crate) max_items: usize,
}

impl Limits {
    pub(crate) fn new(layout: Layout, token_budget: usize, max_items: usize) -> Self {
        Self { layout, token_budget, together: token_budget.max(TOGETHER), max_items }
    }

    /// The same for a batch of at most so many of the tokens that wait.
    pub(crate) fn at_most(self, tokens: usize) -> Self {
        let tokens = tokens.max(1);
        Self {
            token_budget: self.token_budget.min(tokens),
            together: self.together.min(tokens),
            ..self
        }
    }

    /// Tokens that the largest batch computes.
    pub(crate) const fn largest(&self) -> usize {
        match self.layout {
            Layout::Padded | Layout::EqualLengths => self.token_budget,
            Layout::Packed(_) => self.together,
        }
    }

    /// Tokens of the oldest sequences among which batches are sought.
    pub(crate) const fn window(&self) -> usize {
        self.together.saturating_mul(WINDOW_BATCHES)
    }

    /// Packed: the rows that attention may see, padding included. They take memory, not arithmetic.
    fn rows(&self) -> usize {
        self.token_budget.saturating_mul(8).max(self.together.saturating_mul(4))
    }

    /// Packed, over blocks: the places of the cache that a batch may take, what its last blocks leave empty included.
    pub(crate) const fn places(&self) -> usize {
        self.largest().saturating_mul(2)
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batches of {} tokens and {} sequences, ", self.token_budget, self.max_items)?;
        match self.layout {
            Layout::Padded => f.write_str("padded"),
            Layout::EqualLengths => {
                f.write_str("of equal lengths, for the padding token is unknown")
            }
            Layout::Packed(Sharing::Beginnings) => f.write_str("beginnings shared"),
            Layout::Packed(Sharing::Contexts) => f.write_str("contexts shared"),
            Layout::Packed(Sharing::Blocks(block)) => {
                write!(f, "beginnings shared in blocks of {block} tokens")
            }
        }
    }
}

/// How an engine lays a batch out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One row a sequence, as wide as the longest.
    Padded,
    /// One row a sequence, all of one length: for models whose padding token is unknown.
    EqualLengths,
    /// Every distinct token once; only attention sees padded rows.
    Packed(Sharing),
}

/// The least that `Limits::together` is before it is shared among threads. Budgets of a CPU are smaller than many a prompt, and
/// whoever cuts between the samples of one pays for the prompt again.
const TOGETHER: usize = 2_048;

/// How many batches' worth of the oldest sequences are sorted at a time. More find no better company, and a queue may hold
/// many thousands.
const WINDOW_BATCHES: usize = 32;

/// The places in `waiting` (most urgent first) of the batch to run next, ascending.
///
/// It is not empty unless `waiting` is, and holds place 0. It keeps the limits, or it is one sequence that alone exceeds
/// them, or a few that share most of what they are. O(n log n), which is why it is given a window and not the whole queue.
pub(crate) fn next_batch(waiting: &[&Tokens], limits: Limits) -> Vec<usize> {
    let order = match limits.layout {
        Layout::Padded | Layout::EqualLengths => by_length(waiting),
        Layout::Packed(sharing) => by_sharing(waiting, sharing),
    };
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let items = match limits.layout {
            Layout::Padded => cut_padded(waiting, rest, limits),
            Layout::EqualLengths => cut_equal(waiting, rest, limits),
            Layout::Packed(sharing) => cut_packed(waiting, rest, limits, sharing),
        };
        let items = items.clamp(1, limits.max_items.max(1)).min(rest.len());
        let (batch, later) = rest.split_at(items);
        if batch.contains(&0) {
            let mut batch = batch.to_vec();
            batch.sort_unstable();
            return batch;
        }
        rest = later;
    }
    Vec::new()
}

fn by_length(waiting: &[&Tokens]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_unstable_by_key(|&place| (std::cmp::Reverse(waiting[place].len()), place));
    order
}

fn cut_padded(waiting: &[&Tokens], order: &[usize], limits: Limits) -> usize {
    limits.token_budget / waiting[order[0]].len().max(1)
}

fn cut_equal(waiting: &[&Tokens], order: &[usize], limits: Limits) -> usize {
    let length = waiting[order[0]].len();
    let equal = order.iter().take_while(|&&place| waiting[place].len() == length).count();
    equal.min(cut_padded(waiting, order, limits))
}

fn by_sharing(waiting: &[&Tokens], sharing: Sharing) -> Vec<usize> {
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_unstable_by(|&a, &b| sharing.order(waiting[a], waiting[b]).then(a.cmp(&b)));
    order
}

fn cut_packed(waiting: &[&Tokens], order: &[usize], limits: Limits, sharing: Sharing) -> usize {
    let (mut distinct, mut longest, mut places) = (0, 0, 0);
    let mut before: Option<&Tokens> = None;
    for (items, &place) in order.iter().enumerate() {
        let tokens = waiting[place];
        let shared = before.map_or(0, |before| sharing.shared(before, tokens));
        distinct += tokens.len() - shared;
        places += sharing.places(tokens.len() - shared);
        longest = longest.max(tokens.len());
        let rows = longest.saturating_mul(items + 1);
        let budget = if shared * 2 > tokens.len() { limits.together } else { limits.token_budget };
        if items > 0 && (distinct > budget || rows > limits.rows() || places > limits.places()) {
            return items;
        }
        before = Some(tokens);
    }
    order.len()
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

    const PACKED: Layout = Layout::Packed(Sharing::Beginnings);

    fn padded_limits(token_budget: usize, max_items: usize) -> Limits {
        Limits::new(Layout::Padded, token_budget, max_items)
    }

    fn of_lengths(lengths: &[usize]) -> Vec<Tokens> {
        lengths.iter().map(|&length| Tokens::unmarked(vec![7; length])).collect()
    }

    fn unmarked(sequences: Vec<Vec<u32>>) -> Vec<Tokens> {
        sequences.into_iter().map(Tokens::unmarked).collect()
    }

    /// Runs everything, returning the batches as lists of places in the original list.
    fn drain(sequences: &[Tokens], limits: Limits) -> Vec<Vec<usize>> {
        let mut waiting: Vec<usize> = (0..sequences.len()).collect();
        let mut batches = Vec::new();
        while !waiting.is_empty() {
            let now: Vec<&Tokens> = waiting.iter().map(|&place| &sequences[place]).collect();
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
            for batch in drain(&of_lengths(&lengths), padded_limits(token_budget, max_items)) {
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
            for batch in drain(&of_lengths(&lengths), padded_limits(token_budget, max_items)) {
                let tokens = padded_tokens(batch.iter().map(|&place| lengths[place]));
                prop_assert!(batch.len() == 1 || tokens <= token_budget);
                prop_assert!(batch.len() <= max_items);
            }
        }

        #[test]
        fn a_packed_batch_holds_the_oldest_and_keeps_its_limits_and_everything_leaves_once(
            sequences in vec(vec(0u32..3, 0..12), 0..40), token_budget in 1usize..60, max_items in 1usize..20,
        ) {
            let sequences = unmarked(sequences);
            let mut seen = vec![false; sequences.len()];
            for batch in drain(&sequences, Limits::new(PACKED, token_budget, max_items)) {
                let oldest = seen.iter().position(|seen| !seen).unwrap();
                prop_assert!(batch.contains(&oldest) && batch.len() <= max_items);
                let mut together: Vec<&Tokens> = batch.iter().map(|&place| &sequences[place]).collect();
                // Whoever is in it beyond the budget shares most of itself with the one before it.
                together.sort_by(|a, b| Sharing::Beginnings.order(a, b));
                let mut nodes = together[0].len();
                for pair in together.windows(2) {
                    let shared = Sharing::Beginnings.shared(pair[0], pair[1]);
                    nodes += pair[1].len() - shared;
                    prop_assert!(nodes <= token_budget || shared * 2 > pair[1].len());
                }
                for place in batch {
                    prop_assert!(!std::mem::replace(&mut seen[place], true));
                }
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }

        #[test]
        fn taking_the_oldest_batch_first_costs_no_more_than_sorting_offline(
            lengths in vec(1usize..300, 0..60), token_budget in 300usize..2_000,
        ) {
            let limits = padded_limits(token_budget, 16);
            let mut sorted: Vec<usize> = (0..lengths.len()).collect();
            sorted.sort_by_key(|&place| std::cmp::Reverse(lengths[place]));
            let mut offline = Vec::new();
            while !sorted.is_empty() {
                let room = (token_budget / lengths[sorted[0]]).clamp(1, 16).min(sorted.len());
                offline.push(sorted.drain(..room).collect::<Vec<_>>());
            }
            let online = drain(&of_lengths(&lengths), limits);
            prop_assert_eq!(padded(&online, &lengths), padded(&offline, &lengths));
            prop_assert_eq!(online.len(), offline.len());
        }
    }

    #[test]
    fn without_a_padding_token_a_batch_holds_one_length() {
        let limits = Limits::new(Layout::EqualLengths, 256, 64);
        let next = |lengths: &[usize], limits| {
            let sequences = of_lengths(lengths);
            next_batch(&sequences.iter().collect::<Vec<_>>(), limits)
        };
        assert_eq!(next(&[10, 250, 12, 10, 11, 10], limits), [0, 3, 5]);
        assert_eq!(next(&[10, 250, 12, 10, 11, 10], Limits { max_items: 2, ..limits }), [0, 3]);
        assert_eq!(next(&[100, 100, 100, 100], limits), [0, 1]);
        assert_eq!(next(&[300, 300], limits), [0]);
    }

    #[test]
    fn short_ones_are_not_padded_to_a_long_one() {
        let limits = padded_limits(256, 64);
        let next = |lengths: &[usize]| {
            let sequences = of_lengths(lengths);
            next_batch(&sequences.iter().collect::<Vec<_>>(), limits)
        };
        assert_eq!(next(&[10, 250, 12, 11]), [0, 2, 3]);
        assert_eq!(next(&[250, 10, 12, 11]), [0]);
        assert_eq!(next(&[]), Vec::<usize>::new());
    }

    #[test]
    fn a_batch_over_blocks_takes_no_more_of_the_cache_than_there_is() {
        let short = unmarked((0..100).map(|id| vec![id; 10]).collect());
        let short: Vec<&Tokens> = short.iter().collect();
        let limits = |block| Limits::new(Layout::Packed(Sharing::Blocks(block)), TOGETHER, 1_000);
        assert_eq!(next_batch(&short, limits(16)).len(), 100);
        // Each leaves most of its block empty.
        assert_eq!(next_batch(&short, limits(128)).len(), 2 * TOGETHER / 128);
        assert_eq!(next_batch(&short, limits(1 << 20)), [0]);
    }

    #[test]
    fn packed_samples_of_one_prompt_run_together_and_the_prompt_is_paid_for_once() {
        let sample = |prompt: u32, reply: u32| [vec![prompt; 90], vec![reply; 10]].concat();
        let waiting =
            unmarked([(1, 5), (2, 5), (1, 6), (2, 6), (1, 7)].map(|(p, r)| sample(p, r)).to_vec());
        let waiting: Vec<&Tokens> = waiting.iter().collect();
        let limits = Limits::new(PACKED, 120, 64);
        assert_eq!(next_batch(&waiting, limits), [0, 2, 4]);
        assert_eq!(next_batch(&waiting, Limits { max_items: 2, ..limits }), [0, 2]);
        // Not even the first fits. The others of its prompt cost little beside it; without a prompt it would run alone.
        assert_eq!(next_batch(&waiting, Limits { token_budget: 50, ..limits }), [0, 2, 4]);
        let strangers = unmarked((0..3).map(|id| vec![id; 90]).collect());
        assert_eq!(
            next_batch(
                &strangers.iter().collect::<Vec<_>>(),
                Limits { token_budget: 50, ..limits }
            ),
            [0]
        );
        // Not where the batch may be no larger than a thread's share of what waits.
        assert_eq!(next_batch(&waiting, limits.at_most(100)), [0]);
        // A prompt's samples go on up to `together` tokens.
        let many =
            unmarked((0..400).map(|reply| [vec![1; 90], vec![reply + 2; 30]].concat()).collect());
        let limits = Limits { max_items: 1_000, ..limits };
        let (items, rest) = ((TOGETHER - 90) / 30, 4 * TOGETHER / 120);
        assert!(items < rest);
        assert_eq!(next_batch(&many.iter().collect::<Vec<_>>(), limits).len(), items);
    }
}
