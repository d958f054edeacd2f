//! Choice of the waiting sequences that run next. Pure functions: sequences in, indices out.
//!
//! Padding is the largest waste in scoring dialogues: batches in order of arrival do twice the work
//! or more. Sorting by length removes it, but serving the cheapest batch first could starve a
//! sequence. So the whole waiting set is sorted and cut into batches, and the batch with the oldest
//! sequence runs. The oldest sequence is always in the next batch, so a sequence never waits for
//! more batches than there are older sequences. The cuts start at the longest sequence, so that
//! removing one batch does not change the others. The plan is as good as sorting everything
//! offline.
//!
//! A packed graph has no padding to avoid but tokens to share. There, the order places sequences
//! with common tokens next to each other, and the cost of a batch is its number of distinct tokens.

use std::fmt;

use crate::encode::tokens::TokenSequence;
use crate::engine::sharing::Sharing;

/// The size limits of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    pub(crate) layout: Layout,
    /// Computed tokens: padding included if padded, each distinct token once if packed.
    pub(crate) token_budget: usize,
    /// Packed: the number of tokens up to which a sequence that shares most of its tokens with the
    /// previous one may exceed the budget.
    pub(crate) shared_budget: usize,
    /// Number of sequences.
    pub(crate) max_items: usize,
}

impl BatchLimits {
    pub(crate) fn new(layout: Layout, token_budget: usize, max_items: usize) -> Self {
        Self { layout, token_budget, shared_budget: token_budget.max(MIN_SHARED_BUDGET), max_items }
    }

    /// The same limits for a batch of at most `tokens` waiting tokens.
    pub(crate) fn at_most(self, tokens: usize) -> Self {
        let tokens = tokens.max(1);
        Self {
            token_budget: self.token_budget.min(tokens),
            shared_budget: self.shared_budget.min(tokens),
            ..self
        }
    }

    /// Tokens that the largest batch computes.
    pub(crate) const fn largest(&self) -> usize {
        match self.layout {
            Layout::Padded | Layout::EqualLengths => self.token_budget,
            Layout::Packed(_) => self.shared_budget,
        }
    }

    /// Tokens of the most urgent sequences among which a batch is chosen.
    pub(crate) const fn window(&self) -> usize {
        self.shared_budget.saturating_mul(WINDOW_BATCHES)
    }

    /// Packed: the rows of attention, padding included. They take memory but little arithmetic.
    fn rows(&self) -> usize {
        self.token_budget.saturating_mul(8).max(self.shared_budget.saturating_mul(4))
    }

    /// Packed, over blocks: the cache entries that a batch may take, including the empty ends of
    /// its last blocks.
    pub(crate) const fn cache_entries(&self) -> usize {
        self.largest().saturating_mul(2)
    }
}

impl fmt::Display for BatchLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batches of {} tokens and {} sequences, ", self.token_budget, self.max_items)?;
        match self.layout {
            Layout::Padded => f.write_str("padded"),
            Layout::EqualLengths => {
                f.write_str("of equal lengths, because the padding token is unknown")
            }
            Layout::Packed(Sharing::Prefixes) => f.write_str("prefixes shared"),
            Layout::Packed(Sharing::Contexts) => f.write_str("contexts shared"),
            Layout::Packed(Sharing::Blocks(block)) => {
                write!(f, "prefixes shared in blocks of {block} tokens")
            }
        }
    }
}

/// The layout of a batch in an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One row per sequence, as wide as the longest.
    Padded,
    /// One row per sequence, all of one length: for models whose padding token is unknown.
    EqualLengths,
    /// Every distinct token once; only attention works on padded rows.
    Packed(Sharing),
}

/// The smallest value of `BatchLimits::shared_budget`, before it is divided among threads. A CPU's
/// token budget is smaller than many prompts, and a cut between the samples of one prompt computes
/// the prompt twice.
const MIN_SHARED_BUDGET: usize = 2_048;

/// The number of batches for which the most urgent sequences are sorted at a time. More would
/// hardly improve a batch, and a queue may hold many thousands of sequences.
const WINDOW_BATCHES: usize = 32;

/// The indices in `waiting` (most urgent first) of the batch to run next, ascending.
///
/// The result is empty only if `waiting` is, and contains index 0. It keeps the limits, unless it
/// is a single sequence that exceeds them, or a few that share most of their tokens. The cost is
/// O(n log n), so it is called with a window and not the whole queue.
pub(crate) fn next_batch(waiting: &[&TokenSequence], limits: BatchLimits) -> Vec<usize> {
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

fn by_length(waiting: &[&TokenSequence]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_unstable_by_key(|&index| (std::cmp::Reverse(waiting[index].len()), index));
    order
}

fn cut_padded(waiting: &[&TokenSequence], order: &[usize], limits: BatchLimits) -> usize {
    limits.token_budget / waiting[order[0]].len().max(1)
}

fn cut_equal(waiting: &[&TokenSequence], order: &[usize], limits: BatchLimits) -> usize {
    let length = waiting[order[0]].len();
    let equal = order.iter().take_while(|&&index| waiting[index].len() == length).count();
    equal.min(cut_padded(waiting, order, limits))
}

fn by_sharing(waiting: &[&TokenSequence], sharing: Sharing) -> Vec<usize> {
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_unstable_by(|&a, &b| sharing.order(waiting[a], waiting[b]).then(a.cmp(&b)));
    order
}

fn cut_packed(
    waiting: &[&TokenSequence],
    order: &[usize],
    limits: BatchLimits,
    sharing: Sharing,
) -> usize {
    let (mut distinct, mut longest, mut entries) = (0, 0, 0);
    let mut before: Option<&TokenSequence> = None;
    for (items, &index) in order.iter().enumerate() {
        let tokens = waiting[index];
        let shared = before.map_or(0, |before| sharing.shared(before, tokens));
        distinct += tokens.len() - shared;
        entries += sharing.cache_entries(tokens.len() - shared);
        longest = longest.max(tokens.len());
        let rows = longest.saturating_mul(items + 1);
        let budget =
            if shared * 2 > tokens.len() { limits.shared_budget } else { limits.token_budget };
        if items > 0
            && (distinct > budget || rows > limits.rows() || entries > limits.cache_entries())
        {
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

    const PACKED: Layout = Layout::Packed(Sharing::Prefixes);

    fn padded_limits(token_budget: usize, max_items: usize) -> BatchLimits {
        BatchLimits::new(Layout::Padded, token_budget, max_items)
    }

    fn of_lengths(lengths: &[usize]) -> Vec<TokenSequence> {
        lengths.iter().map(|&length| TokenSequence::unmarked(vec![7; length])).collect()
    }

    fn unmarked(sequences: Vec<Vec<u32>>) -> Vec<TokenSequence> {
        sequences.into_iter().map(TokenSequence::unmarked).collect()
    }

    /// Runs everything and returns the batches as lists of indices in the original list.
    fn drain(sequences: &[TokenSequence], limits: BatchLimits) -> Vec<Vec<usize>> {
        let mut waiting: Vec<usize> = (0..sequences.len()).collect();
        let mut batches = Vec::new();
        while !waiting.is_empty() {
            let now: Vec<&TokenSequence> = waiting.iter().map(|&index| &sequences[index]).collect();
            let batch: Vec<usize> =
                next_batch(&now, limits).into_iter().map(|index| waiting[index]).collect();
            assert!(!batch.is_empty());
            waiting.retain(|index| !batch.contains(index));
            batches.push(batch);
        }
        batches
    }

    fn padded(batches: &[Vec<usize>], lengths: &[usize]) -> usize {
        batches.iter().map(|batch| padded_tokens(batch.iter().map(|&index| lengths[index]))).sum()
    }

    proptest! {
        #[test]
        fn every_batch_contains_the_oldest_and_every_sequence_runs_once(
            lengths in vec(0usize..300, 0..60), token_budget in 1usize..2_000, max_items in 1usize..20,
        ) {
            let mut seen = vec![false; lengths.len()];
            for batch in drain(&of_lengths(&lengths), padded_limits(token_budget, max_items)) {
                let oldest = seen.iter().position(|seen| !seen).unwrap();
                prop_assert!(batch.contains(&oldest));
                for index in batch {
                    prop_assert!(!std::mem::replace(&mut seen[index], true));
                }
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }

        #[test]
        fn padded_batches_keep_their_limits_except_single_sequences(
            lengths in vec(0usize..300, 0..60), token_budget in 1usize..2_000, max_items in 1usize..20,
        ) {
            for batch in drain(&of_lengths(&lengths), padded_limits(token_budget, max_items)) {
                let tokens = padded_tokens(batch.iter().map(|&index| lengths[index]));
                prop_assert!(batch.len() == 1 || tokens <= token_budget);
                prop_assert!(batch.len() <= max_items);
            }
        }

        #[test]
        fn packed_batches_contain_the_oldest_and_keep_their_limits(
            sequences in vec(vec(0u32..3, 0..12), 0..40), token_budget in 1usize..60, max_items in 1usize..20,
        ) {
            let sequences = unmarked(sequences);
            let mut seen = vec![false; sequences.len()];
            for batch in drain(&sequences, BatchLimits::new(PACKED, token_budget, max_items)) {
                let oldest = seen.iter().position(|seen| !seen).unwrap();
                prop_assert!(batch.contains(&oldest) && batch.len() <= max_items);
                let mut together: Vec<&TokenSequence> = batch.iter().map(|&index| &sequences[index]).collect();
                // A sequence beyond the budget shares most of its tokens with the previous one.
                together.sort_by(|a, b| Sharing::Prefixes.order(a, b));
                let mut nodes = together[0].len();
                for pair in together.windows(2) {
                    let shared = Sharing::Prefixes.shared(pair[0], pair[1]);
                    nodes += pair[1].len() - shared;
                    prop_assert!(nodes <= token_budget || shared * 2 > pair[1].len());
                }
                for index in batch {
                    prop_assert!(!std::mem::replace(&mut seen[index], true));
                }
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }

        #[test]
        fn oldest_batch_first_costs_no_more_than_sorting_offline(
            lengths in vec(1usize..300, 0..60), token_budget in 300usize..2_000,
        ) {
            let limits = padded_limits(token_budget, 16);
            let mut sorted: Vec<usize> = (0..lengths.len()).collect();
            sorted.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
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
    fn batches_without_a_padding_token_have_one_length() {
        let limits = BatchLimits::new(Layout::EqualLengths, 256, 64);
        let next = |lengths: &[usize], limits| {
            let sequences = of_lengths(lengths);
            next_batch(&sequences.iter().collect::<Vec<_>>(), limits)
        };
        assert_eq!(next(&[10, 250, 12, 10, 11, 10], limits), [0, 3, 5]);
        assert_eq!(
            next(&[10, 250, 12, 10, 11, 10], BatchLimits { max_items: 2, ..limits }),
            [0, 3]
        );
        assert_eq!(next(&[100, 100, 100, 100], limits), [0, 1]);
        assert_eq!(next(&[300, 300], limits), [0]);
    }

    #[test]
    fn short_sequences_are_not_padded_to_a_long_one() {
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
    fn paged_batch_fits_into_the_cache() {
        let short = unmarked((0..100).map(|id| vec![id; 10]).collect());
        let short: Vec<&TokenSequence> = short.iter().collect();
        let limits = |block| {
            BatchLimits::new(Layout::Packed(Sharing::Blocks(block)), MIN_SHARED_BUDGET, 1_000)
        };
        assert_eq!(next_batch(&short, limits(16)).len(), 100);
        // Each sequence leaves most of its block empty.
        assert_eq!(next_batch(&short, limits(128)).len(), 2 * MIN_SHARED_BUDGET / 128);
        assert_eq!(next_batch(&short, limits(1 << 20)), [0]);
    }

    #[test]
    fn packed_samples_of_one_prompt_run_in_one_batch() {
        let sample = |prompt: u32, reply: u32| [vec![prompt; 90], vec![reply; 10]].concat();
        let waiting =
            unmarked([(1, 5), (2, 5), (1, 6), (2, 6), (1, 7)].map(|(p, r)| sample(p, r)).to_vec());
        let waiting: Vec<&TokenSequence> = waiting.iter().collect();
        let limits = BatchLimits::new(PACKED, 120, 64);
        assert_eq!(next_batch(&waiting, limits), [0, 2, 4]);
        assert_eq!(next_batch(&waiting, BatchLimits { max_items: 2, ..limits }), [0, 2]);
        // The first sequence alone exceeds the budget. The others of its prompt add little; without
        // a common prompt it would run alone.
        assert_eq!(next_batch(&waiting, BatchLimits { token_budget: 50, ..limits }), [0, 2, 4]);
        let unrelated_texts = unmarked((0..3).map(|id| vec![id; 90]).collect());
        assert_eq!(
            next_batch(
                &unrelated_texts.iter().collect::<Vec<_>>(),
                BatchLimits { token_budget: 50, ..limits }
            ),
            [0]
        );
        // This does not apply where the batch is limited to a thread's share of the waiting tokens.
        assert_eq!(next_batch(&waiting, limits.at_most(100)), [0]);
        // The samples of a prompt stay together up to `shared_budget` tokens.
        let many =
            unmarked((0..400).map(|reply| [vec![1; 90], vec![reply + 2; 30]].concat()).collect());
        let limits = BatchLimits { max_items: 1_000, ..limits };
        let (items, rest) = ((MIN_SHARED_BUDGET - 90) / 30, 4 * MIN_SHARED_BUDGET / 120);
        assert!(items < rest);
        assert_eq!(next_batch(&many.iter().collect::<Vec<_>>(), limits).len(), items);
    }
}
