//! Attention by chunks: the queries of a few nodes at a time, against all that their sequence holds.
//!
//! A packed graph whose attention runs over whole sequences computes it once for every sequence that a node belongs to:
//! eight samples of one prompt attend from the prompt eight times. Here each node asks once. Its sequence's own nodes,
//! which nobody before it in the packing has, are cut into chunks, each a row of attention. On a CPU, where
//! attention over rows costs more than all linear layers, it is what sharing gains; a GPU's fused kernels want whole rows.
//!
//! Beside `token_ids`, `position_ids` and `last_idx` (see `packed.rs`) the graph takes, with N chunks, all int64:
//!
//! | input | shape | what |
//! |---|---|---|
//! | `query_idx` | `[N, C]` | the nodes that ask; 0 in the padding |
//! | `key_idx` | `[N, S]` | the nodes of the sequence that the chunk is of; 0 in the padding |
//! | `starts` | `[N]` | the place in its sequence of a chunk's first query: the query `starts + j` sees the keys up to its own place |
//! | `scatter_idx` | `[U]` | for each node its place (chunk · C + column) in `query_idx` |

use crate::packed::Packing;

/// The least queries of a row of attention. Fewer gather more keys for each; more are mostly padding at the end of a reply.
const LEAST: usize = 64;

/// A sequence has at most so many chunks, since each of them gathers the keys and values of the whole sequence.
const MOST_CHUNKS: usize = 8;

/// A packing's nodes, cut into chunks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chunks {
    /// C, the queries of a chunk. No score depends on it.
    pub(crate) width: usize,
    pub(crate) query_idx: Vec<i64>,
    pub(crate) key_idx: Vec<i64>,
    pub(crate) starts: Vec<i64>,
    pub(crate) scatter_idx: Vec<i64>,
}

impl Chunks {
    /// The chunks of a packing of sequences that share beginnings. `None` if a number does not fit the graph's types.
    pub(crate) fn of(packing: &Packing) -> Option<Self> {
        let longest = usize::try_from(packing.total_len).ok()?;
        let width = longest.div_ceil(MOST_CHUNKS).max(LEAST);
        let mut chunks = Self { width, scatter_idx: vec![0; packing.token_ids.len()], ..Self::default() };
        for (row, own) in packing.own.iter().enumerate() {
            let sequence = packing.gather_idx.get(row * longest..(row + 1) * longest)?;
            for start in own.clone().step_by(width) {
                let nodes = sequence.get(start..own.end.min(start + width))?;
                for (column, node) in nodes.iter().enumerate() {
                    let place = i64::try_from(chunks.starts.len() * width + column).ok()?;
                    *chunks.scatter_idx.get_mut(usize::try_from(*node).ok()?)? = place;
                }
                chunks.query_idx.extend(nodes);
                chunks.query_idx.resize((chunks.starts.len() + 1) * width, 0);
                chunks.key_idx.extend(sequence);
                chunks.starts.push(i64::try_from(start).ok()?);
            }
        }
        Some(chunks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::sharing::Sharing;
    use crate::tokens::Tokens;

    proptest! {
        #[test]
        fn every_node_asks_once_from_its_place_in_a_sequence_that_holds_it(
            batch in vec(vec(0u32..2, 1..900), 1..6),
        ) {
            let batch: Vec<Tokens> = batch.into_iter().map(Tokens::unmarked).collect();
            let packing = Packing::of(&batch.iter().collect::<Vec<_>>(), Sharing::Beginnings).unwrap();
            let chunks = Chunks::of(&packing).unwrap();
            let at = |index: i64| usize::try_from(index).unwrap();
            let (longest, rows, width) = (at(packing.total_len.into()), chunks.starts.len(), chunks.width);
            prop_assert_eq!((chunks.query_idx.len(), chunks.key_idx.len()), (rows * width, rows * longest));
            for (node, place) in chunks.scatter_idx.iter().enumerate() {
                let (row, column) = (at(*place) / width, at(*place) % width);
                prop_assert_eq!(at(chunks.query_idx[at(*place)]), node);
                // What it sees up to its own place ends with itself, at the position it was given.
                let own_place = at(chunks.starts[row]) + column;
                prop_assert_eq!(at(chunks.key_idx[row * longest + own_place]), node);
                prop_assert_eq!(at(packing.position_ids[node]), own_place);
            }
            // No more rows than the nodes fill, but one at each sequence's end; and few gather a long sequence.
            prop_assert!(longest.div_ceil(width) <= MOST_CHUNKS);
            prop_assert!(rows <= packing.token_ids.len() / width + batch.len());
        }
    }
}
