//! Packed input: every distinct token of a batch once.
//!
//! A packed graph computes its linear layers once per node of a batch: per distinct token, without
//! padding. Only attention works on whole sequences, gathered from the nodes. Decoders may
//! attend in other ways: by chunks on a CPU (`chunks.rs`) and over blocks of a cache on CUDA
//! (`paged.rs`). `sharing.rs` describes the tokens that may be shared.
//!
//! The graph takes the following inputs, with U nodes, B sequences, and S the longest; all int64
//! unless stated otherwise:
//!
//! | input | shape | content |
//! |---|---|---|
//! | `token_ids` | `[U]` | the nodes' token ids |
//! | `gather_idx` | `[B, S]` | the node at each position of each sequence; 0 in the padding |
//! | `scatter_idx` | `[U]` | for each node one position (row · S + column) that holds it |
//! | *decoder* (`examples/reward-model/packed_decoder.py`) | | |
//! | `seqlens_k` | `[B]` int32 | each length less 1, as `GroupQueryAttention` expects it |
//! | `total_len` | scalar int32 | S |
//! | `last_idx` | `[B]` | the node that ends each sequence, which is pooled |
//! | *encoder* (`examples/reward-model/onnx_encoder.py`) | | |
//! | `position_ids` | `[U]` | each node's position in its sequence |
//! | `lengths` | `[B]` | each length |
//! | `context_lens` | `[B]` | the number of tokens before the reply |

use std::ops::Range;

use crate::encode::tokens::TokenSequence;
use crate::engine::sharing::Sharing;

/// The nodes of a batch, as the inputs of a graph. Each kind of graph takes some of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Packing {
    pub(crate) token_ids: Vec<i64>,
    pub(crate) position_ids: Vec<i64>,
    pub(crate) gather_idx: Vec<i64>,
    pub(crate) scatter_idx: Vec<i64>,
    pub(crate) lengths: Vec<i64>,
    pub(crate) context_lens: Vec<i64>,
    pub(crate) seqlens_k: Vec<i32>,
    pub(crate) total_len: i32,
    pub(crate) last_idx: Vec<i64>,
    /// The positions of each sequence whose nodes no earlier sequence in the packing has.
    pub(crate) own: Vec<Range<usize>>,
}

impl Packing {
    /// Packs `sequences`, which may have any order but must not be empty. `None` if a number does
    /// not fit the graph's types.
    pub(crate) fn of(sequences: &[&TokenSequence], sharing: Sharing) -> Option<Self> {
        let longest = sequences.iter().map(|tokens| tokens.len()).max().unwrap_or(0);
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_unstable_by(|&a, &b| sharing.order(sequences[a], sequences[b]));

        let rows = sequences.len();
        let int64 = |count: usize| i64::try_from(count).ok();
        let mut packing = Self {
            gather_idx: vec![0; rows * longest],
            lengths: sequences.iter().map(|tokens| int64(tokens.len())).collect::<Option<_>>()?,
            context_lens: sequences
                .iter()
                .map(|tokens| int64(tokens.context().len()))
                .collect::<Option<_>>()?,
            seqlens_k: vec![0; rows],
            total_len: i32::try_from(longest).ok()?,
            last_idx: vec![0; rows],
            own: vec![0..0; rows],
            ..Self::default()
        };
        let mut before: Option<usize> = None;
        for row in order {
            let tokens = sequences[row];
            let shared = before.map_or(0, |before| sharing.shared(sequences[before], tokens));
            let start = row * longest;
            if let Some(before) = before {
                packing.gather_idx.copy_within(before * longest..before * longest + shared, start);
            }
            for (column, id) in tokens.ids.iter().enumerate().skip(shared) {
                packing.gather_idx[start + column] = int64(packing.token_ids.len())?;
                packing.token_ids.push(i64::from(*id));
                packing.position_ids.push(int64(column)?);
                packing.scatter_idx.push(int64(start + column)?);
            }
            packing.own[row] = shared..tokens.len();
            packing.seqlens_k[row] = i32::try_from(tokens.len().checked_sub(1)?).ok()?;
            packing.last_idx[row] = packing.gather_idx[start + tokens.len() - 1];
            before = Some(row);
        }
        Some(packing)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shared_tokens_are_packed_once_and_each_sequence_gathers_its_own() {
        let sequences = [&[7, 8, 9, 1][..], &[7, 8, 5], &[7, 8], &[4]].map(TokenSequence::unmarked);
        let packing = Packing::of(&sequences.each_ref(), Sharing::Prefixes).unwrap();
        assert_eq!(packing.token_ids, [4, 7, 8, 5, 9, 1]);
        assert_eq!(
            packing.gather_idx,
            [[1, 2, 4, 5], [1, 2, 3, 0], [1, 2, 0, 0], [0, 0, 0, 0]].concat()
        );
        assert_eq!(packing.scatter_idx, [12, 8, 9, 6, 2, 3]);
        assert_eq!((packing.seqlens_k, packing.total_len), (vec![3, 2, 1, 0], 4));
        assert_eq!(packing.last_idx, [5, 3, 2, 0]);
    }

    #[test]
    fn encoder_contexts_are_shared_whole_or_not_at_all() {
        let marked = |ids: &[u32], context| TokenSequence {
            reply: context..ids.len(),
            ..TokenSequence::unmarked(ids)
        };
        // The third begins like the first two, but its context is longer: a bidirectional context
        // differs from it.
        let sequences = [marked(&[7, 8, 1], 2), marked(&[7, 8, 2, 3], 2), marked(&[7, 8, 1, 4], 3)];
        let sequences = sequences.each_ref();
        let packing = Packing::of(&sequences, Sharing::Contexts).unwrap();
        assert_eq!(packing.token_ids, [7, 8, 1, 4, 7, 8, 2, 3, 1]);
        assert_eq!(packing.position_ids, [0, 1, 2, 3, 0, 1, 2, 3, 2]);
        assert_eq!(packing.gather_idx, [[4, 5, 8, 0], [4, 5, 6, 7], [0, 1, 2, 3]].concat());
        assert_eq!(packing.scatter_idx, [8, 9, 10, 11, 4, 5, 6, 7, 2]);
        assert_eq!((packing.lengths, packing.context_lens), (vec![3, 4, 4], vec![2, 2, 3]));
        assert_eq!(Sharing::Contexts.nodes(&sequences), 9);
    }

    proptest! {
        #[test]
        fn packing_reads_back_as_the_batch_without_duplicate_nodes(
            batch in vec((vec(0u32..3, 1..9), 0usize..9), 1..12), decoder: bool,
        ) {
            let sharing = if decoder { Sharing::Prefixes } else { Sharing::Contexts };
            let mark = |(ids, start): (Vec<u32>, usize)| {
                let reply = if start < ids.len() { start..ids.len() } else { 0..0 };
                TokenSequence { reply, ..TokenSequence::unmarked(ids) }
            };
            let batch: Vec<TokenSequence> = batch.into_iter().map(mark).collect();
            let packing = Packing::of(&batch.iter().collect::<Vec<_>>(), sharing).unwrap();
            let width = usize::try_from(packing.total_len).unwrap();
            let node = |index: i64| usize::try_from(index).unwrap();
            // The identity of a node: the ids up to and including its own; in an encoder, the whole
            // context, or one sequence's own tokens.
            let mut distinct = HashSet::new();
            for (row, tokens) in batch.iter().enumerate() {
                let places = &packing.gather_idx[row * width..row * width + tokens.len()];
                for (column, (&place, &id)) in places.iter().zip(&*tokens.ids).enumerate() {
                    prop_assert_eq!(packing.token_ids[node(place)], i64::from(id));
                    prop_assert_eq!(node(packing.position_ids[node(place)]), column);
                    let context = tokens.context();
                    distinct.insert(match sharing {
                        Sharing::Prefixes | Sharing::Blocks(_) => (tokens.ids[..=column].to_vec(), column, None),
                        Sharing::Contexts if column < context.len() => (context.to_vec(), column, None),
                        Sharing::Contexts => (Vec::new(), column, Some(row)),
                    });
                }
                prop_assert_eq!(packing.last_idx[row], places[tokens.len() - 1]);
                prop_assert_eq!(node(packing.lengths[row]), tokens.len());
                prop_assert_eq!(usize::try_from(packing.seqlens_k[row]).unwrap(), tokens.len() - 1);
                prop_assert_eq!(node(packing.context_lens[row]), tokens.context().len());
            }
            prop_assert_eq!(packing.token_ids.len(), distinct.len());
            prop_assert_eq!(sharing.nodes(&batch.iter().collect::<Vec<_>>()), distinct.len());
            // Each node's position holds that node.
            for (number, place) in packing.scatter_idx.iter().enumerate() {
                prop_assert_eq!(node(packing.gather_idx[node(*place)]), number);
            }
        }
    }
}
