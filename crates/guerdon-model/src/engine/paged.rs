//! Packed input for attention over blocks of a cache, for decoders on CUDA.
//!
//! ONNX Runtime's `PagedAttention` keeps keys and values in a cache of blocks, each of a fixed
//! number of tokens. A table lists the blocks of each sequence of a batch, in order. The operator
//! writes the keys and values of the batch before it reads, so that one call may hold a prompt and
//! the replies to it: sequences with a common prefix use the same blocks, and only the first of
//! them computes these tokens. Nothing is padded, and each node's query runs once, as in attention
//! by chunks on a CPU (`chunks.rs`).
//!
//! Only whole blocks can be shared. Each sequence computes the tokens after the last whole shared
//! block itself, and always its last token, which is pooled.
//!
//! With U computed tokens, B sequences, and M blocks of the longest, the graph takes
//!
//! | input | shape | content |
//! |---|---|---|
//! | `token_ids` | `[U]` int64 | the computed tokens, sequence after sequence |
//! | `cu_seqlens` | `[B + 1]` int32 | the start of each sequence's computed tokens among them, and U |
//! | `past_seqlens` | `[B]` int32 | the number of earlier tokens, in blocks that another sequence fills |
//! | `block_table` | `[B, M]` int32 | the blocks, shared ones first; 0 in the padding |
//! | `attention_metadata` | `[2]` int32 | the largest number of tokens that a sequence computes, and the longest sequence |
//! | `last_idx` | `[B]` int64 | the computed token that ends each sequence, which is pooled |
//!
//! and for each layer the cache's keys and values, `[blocks, block, kv heads, head]`, which it
//! updates in place (`kv_cache.rs`).

use crate::encode::tokens::TokenSequence;
use crate::engine::sharing::Sharing;

/// The computed tokens of a batch and the blocks of its sequences, as the graph's inputs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pages {
    pub(crate) token_ids: Vec<i64>,
    pub(crate) cu_seqlens: Vec<i32>,
    pub(crate) past_seqlens: Vec<i32>,
    pub(crate) block_table: Vec<i32>,
    pub(crate) attention_metadata: Vec<i32>,
    pub(crate) last_idx: Vec<i64>,
    /// Number of blocks that the batch fills, which the cache must hold.
    pub(crate) blocks: usize,
}

impl Pages {
    /// The pages of `sequences`, in blocks of `block` tokens. The sequences may have any order but
    /// must not be empty. `None` if a number does not fit the graph's types.
    pub(crate) fn of(sequences: &[&TokenSequence], block: usize) -> Option<Self> {
        let sharing = Sharing::Blocks(block);
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_unstable_by(|&a, &b| sharing.order(sequences[a], sequences[b]));

        let int32 = |count: usize| i32::try_from(count).ok();
        let mut pages =
            Self { cu_seqlens: vec![0], last_idx: vec![0; sequences.len()], ..Self::default() };
        let (mut most_new, mut most) = (0, 0);
        let mut tables: Vec<Vec<i32>> = Vec::with_capacity(sequences.len());
        let mut before: Option<&TokenSequence> = None;
        for &row in &order {
            let tokens = sequences[row];
            let past = before.map_or(0, |before| sharing.shared(before, tokens));
            let new = tokens.ids.get(past..)?;
            let inherited = tables.last().map_or(&[][..], |table| &table[..past / block]);
            let filled = pages.blocks..pages.blocks + new.len().div_ceil(block);
            pages.blocks = filled.end;
            let table = inherited
                .iter()
                .copied()
                .map(Some)
                .chain(filled.map(int32))
                .collect::<Option<_>>()?;
            tables.push(table);

            pages.token_ids.extend(new.iter().copied().map(i64::from));
            pages.past_seqlens.push(int32(past)?);
            pages.cu_seqlens.push(int32(pages.token_ids.len())?);
            pages.last_idx[row] = i64::try_from(pages.token_ids.len().checked_sub(1)?).ok()?;
            (most_new, most) = (most_new.max(new.len()), most.max(tokens.len()));
            before = Some(tokens);
        }
        let widest = most.div_ceil(block);
        for mut table in tables {
            table.resize(widest, 0);
            pages.block_table.extend(table);
        }
        pages.attention_metadata = vec![int32(most_new)?, int32(most)?];
        Some(pages)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn common_prefixes_share_blocks() {
        let sequences = [&[7, 8, 9, 1, 5, 6][..], &[7, 8, 9, 1], &[7, 8, 9, 2, 2], &[4]]
            .map(TokenSequence::unmarked);
        let pages = Pages::of(&sequences.each_ref(), 2).unwrap();
        // In order: [4], [7 8 9 1], its continuation, [7 8 9 2 2]. A continuation computes the
        // tokens that the last whole block lacks.
        assert_eq!(pages.token_ids, [4, 7, 8, 9, 1, 5, 6, 9, 2, 2]);
        assert_eq!(pages.cu_seqlens, [0, 1, 5, 7, 10]);
        assert_eq!(pages.past_seqlens, [0, 0, 4, 2]);
        assert_eq!(pages.block_table, [[0, 0, 0], [1, 2, 0], [1, 2, 3], [1, 4, 5]].concat());
        assert_eq!((pages.attention_metadata, pages.blocks), (vec![4, 6], 6));
        assert_eq!(pages.last_idx, [6, 4, 9, 0]);
    }

    proptest! {
        /// Writes every computed token into its slot, as the operator does, and reads each sequence
        /// back through its table.
        #[test]
        fn block_tables_hold_each_sequence_and_no_slot_is_written_twice(
            batch in vec(vec(0u32..3, 1..14), 1..12), block in 1usize..6,
        ) {
            let batch: Vec<TokenSequence> = batch.into_iter().map(TokenSequence::unmarked).collect();
            let sequences: Vec<&TokenSequence> = batch.iter().collect();
            let pages = Pages::of(&sequences, block).unwrap();
            let at = |index: i32| usize::try_from(index).unwrap();
            let widest = pages.block_table.len() / batch.len();
            let slot = |row: usize, place: usize| at(pages.block_table[row * widest + place / block]) * block + place % block;
            let mut cache = vec![None; pages.blocks * block];
            for row in 0..batch.len() {
                let computed = at(pages.cu_seqlens[row])..at(pages.cu_seqlens[row + 1]);
                prop_assert!(computed.len() <= at(pages.attention_metadata[0]));
                for (place, id) in (at(pages.past_seqlens[row])..).zip(&pages.token_ids[computed]) {
                    prop_assert!(cache[slot(row, place)].replace(*id).is_none(), "slot written twice");
                }
            }
            // Rows are in the packing's order; a sequence's row is identified by its last token.
            for (tokens, last) in batch.iter().zip(&pages.last_idx) {
                let end = i32::try_from(*last).unwrap() + 1;
                let row = pages.cu_seqlens.iter().rposition(|cu| *cu == end).unwrap() - 1;
                let length = at(pages.past_seqlens[row]) + at(end - pages.cu_seqlens[row]);
                prop_assert_eq!(length, tokens.len());
                prop_assert!(length <= at(pages.attention_metadata[1]));
                let read: Vec<_> = (0..length).map(|place| cache[slot(row, place)]).collect();
                let wanted: Vec<_> = tokens.ids.iter().map(|id| Some(i64::from(*id))).collect();
                prop_assert_eq!(read, wanted);
            }
            prop_assert_eq!(Sharing::Blocks(block).nodes(&sequences), pages.token_ids.len());
        }
    }
}
