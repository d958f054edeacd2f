//! Attention by chunks: the queries of a few nodes at a time, against all earlier nodes of their
//! sequence.
//!
//! A packed graph with attention over whole sequences computes attention once for every sequence
//! that a node belongs to: for eight samples of one prompt, the prompt's queries run eight times.
//! Here each node's query runs once. A sequence's own nodes, which no earlier sequence in the
//! packing has, are cut into chunks, each a row of attention. On a CPU, where attention over rows
//! costs more than all linear layers, this is the gain of sharing; the fused kernels of a GPU need
//! whole rows.
//!
//! There are two kinds of rows, each as wide as its widest chunk: long rows for prompts, and short
//! rows for the remaining ends, which often hold a whole reply. In addition to `token_ids`,
//! `position_ids` and `last_idx` (see `packed.rs`), the graph takes the following inputs, all
//! int64, for each kind with N chunks of C queries and S keys, at least one of each:
//!
//! | input | shape | content |
//! |---|---|---|
//! | `long_query_idx`, `short_query_idx` | `[N, C]` | the nodes of the queries; 0 in the padding |
//! | `long_key_idx`, `short_key_idx` | `[N, S]` | the nodes of the keys, from the start of their sequence; 0 in the padding |
//! | `long_starts`, `short_starts` | `[N]` | the position in its sequence of a chunk's first query: query `starts + j` sees the keys up to its own position |
//! | `scatter_idx` | `[U]` | for each node its place in the queries of the long chunks, followed by those of the short chunks |

use std::ops::Range;

use crate::engine::packed::Packing;

/// The smallest number of queries in a long row. Shorter rows gather more keys per query.
const MIN_LONG_WIDTH: usize = 64;

/// The largest number of long chunks of a sequence, since each gathers keys and values from the
/// sequence's start.
const MAX_LONG_CHUNKS: usize = 8;

/// The possible widths of short rows.
const SHORT_WIDTHS: [usize; 4] = [16, 32, 48, 64];

/// The fixed cost of a row in queries: measured with 350 keys and heads of 64 on a Xeon.
const ROW_COST: usize = 24;

/// The nodes of a packing, cut into chunks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chunks {
    pub(crate) long: Rows,
    pub(crate) short: Rows,
    pub(crate) scatter_idx: Vec<i64>,
}

/// Chunks of one kind. Scores do not depend on the capacity of a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rows {
    /// C, the queries of a chunk.
    pub(crate) width: usize,
    /// S, the keys of a chunk.
    pub(crate) keys: usize,
    pub(crate) query_idx: Vec<i64>,
    pub(crate) key_idx: Vec<i64>,
    pub(crate) starts: Vec<i64>,
}

/// A part of a sequence's own nodes: its row in the packing, and the positions in that row.
type Piece = (usize, Range<usize>);

impl Chunks {
    /// The chunks of a packing of sequences that share prefixes. `None` if a number does not fit
    /// the graph's types.
    pub(crate) fn of(packing: &Packing) -> Option<Self> {
        let longest = usize::try_from(packing.total_len).ok()?;
        let width = longest.div_ceil(MAX_LONG_CHUNKS).max(MIN_LONG_WIDTH);
        let (mut long, mut ends): (Vec<Piece>, Vec<Piece>) = (Vec::new(), Vec::new());
        for (row, own) in packing.own.iter().enumerate() {
            let full = own.end - own.len() % width;
            long.extend((own.start..full).step_by(width).map(|start| (row, start..start + width)));
            ends.extend((full < own.end).then_some((row, full..own.end)));
        }
        let short_width = best_short_width(&ends, width);
        let is_short =
            |(_, places): &Piece| cost(places.len(), short_width) < cost(places.len(), width);
        let (short, not_short): (Vec<Piece>, Vec<Piece>) = ends.into_iter().partition(is_short);
        long.extend(not_short);
        let cut = |(row, places): &Piece| {
            let (row, end) = (*row, places.end);
            places
                .clone()
                .step_by(short_width)
                .map(move |start| (row, start..end.min(start + short_width)))
        };
        let short: Vec<Piece> = short.iter().flat_map(cut).collect();

        let mut chunks = Self { scatter_idx: vec![0; packing.token_ids.len()], ..Self::default() };
        chunks.long = Rows::of(&long, width, packing, &mut chunks.scatter_idx, 0)?;
        let after = chunks.long.query_idx.len();
        chunks.short = Rows::of(&short, short_width, packing, &mut chunks.scatter_idx, after)?;
        Some(chunks)
    }
}

impl Rows {
    /// Rows of `width` queries. `scatter_idx` receives each query's place, after the `before`
    /// queries of other rows.
    fn of(
        pieces: &[Piece],
        width: usize,
        packing: &Packing,
        scatter_idx: &mut [i64],
        before: usize,
    ) -> Option<Self> {
        let longest = usize::try_from(packing.total_len).ok()?;
        let keys = pieces.iter().map(|(_, places)| places.end).max().unwrap_or(1);
        let mut rows = Self { width, keys, ..Self::default() };
        for (row, places) in pieces {
            let sequence = packing.gather_idx.get(row * longest..row * longest + places.end)?;
            let nodes = sequence.get(places.clone())?;
            for (column, node) in nodes.iter().enumerate() {
                let place = i64::try_from(before + rows.query_idx.len() + column).ok()?;
                *scatter_idx.get_mut(usize::try_from(*node).ok()?)? = place;
            }
            rows.starts.push(i64::try_from(places.start).ok()?);
            rows.query_idx.extend(nodes);
            rows.query_idx.resize(rows.starts.len() * width, 0);
            rows.key_idx.extend(sequence);
            rows.key_idx.resize(rows.starts.len() * keys, 0);
        }
        if pieces.is_empty() {
            // Attention needs at least one row. The result of this one is not used.
            rows =
                Self { width: 1, keys: 1, query_idx: vec![0], key_idx: vec![0], starts: vec![0] };
        }
        Some(rows)
    }
}

/// The cost of an end of `nodes` nodes in rows of `width` queries.
const fn cost(nodes: usize, width: usize) -> usize {
    nodes.div_ceil(width) * (ROW_COST + width)
}

/// The width of short rows at which `ends` cost least, where long rows are `width` wide.
fn best_short_width(ends: &[Piece], width: usize) -> usize {
    let all = |short: usize| {
        ends.iter()
            .map(|(_, places)| cost(places.len(), short).min(cost(places.len(), width)))
            .sum::<usize>()
    };
    SHORT_WIDTHS.into_iter().min_by_key(|short| all(*short)).unwrap_or(width)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::encode::tokens::TokenSequence;
    use crate::engine::sharing::Sharing;

    proptest! {
        #[test]
        fn every_node_has_one_query_at_its_position_in_a_sequence(
            batch in vec(vec(0u32..2, 1..900), 1..6),
        ) {
            let batch: Vec<TokenSequence> = batch.into_iter().map(TokenSequence::unmarked).collect();
            let packing = Packing::of(&batch.iter().collect::<Vec<_>>(), Sharing::Prefixes).unwrap();
            let Chunks { long, short, scatter_idx } = Chunks::of(&packing).unwrap();
            let at = |index: i64| usize::try_from(index).unwrap();
            for rows in [&long, &short] {
                let count = rows.starts.len();
                prop_assert!(count > 0);
                prop_assert_eq!((rows.query_idx.len(), rows.key_idx.len()), (count * rows.width, count * rows.keys));
            }
            let mut asked = vec![false; long.query_idx.len() + short.query_idx.len()];
            for (node, place) in scatter_idx.iter().enumerate() {
                prop_assert!(!std::mem::replace(&mut asked[at(*place)], true));
                let (rows, place) = match at(*place).checked_sub(long.query_idx.len()) {
                    None => (&long, at(*place)),
                    Some(place) => (&short, place),
                };
                let (row, column) = (place / rows.width, place % rows.width);
                prop_assert_eq!(at(rows.query_idx[place]), node);
                // The keys up to a query's own position end with the query's node, at its position.
                let own_place = at(rows.starts[row]) + column;
                prop_assert_eq!(at(rows.key_idx[row * rows.keys + own_place]), node);
                prop_assert_eq!(at(packing.position_ids[node]), own_place);
            }
            // Few long rows gather a sequence.
            let longest = at(packing.total_len.into());
            prop_assert!(longest.div_ceil(long.width) <= MAX_LONG_CHUNKS || long.width == 1);
            prop_assert!(long.starts.len() <= packing.token_ids.len() / MIN_LONG_WIDTH + batch.len());
        }
    }

    #[test]
    fn short_replies_get_short_rows() {
        let reply =
            |last: u32| (0..300).chain((0..20).map(|n| 1_000 * last + n)).collect::<Vec<u32>>();
        let batch: Vec<TokenSequence> =
            (1..9).map(|last| TokenSequence::unmarked(reply(last))).collect();
        let packing = Packing::of(&batch.iter().collect::<Vec<_>>(), Sharing::Prefixes).unwrap();
        let chunks = Chunks::of(&packing).unwrap();
        // The first sequence, prompt and reply, is five long rows; each other reply is one short
        // row.
        assert_eq!((chunks.long.width, chunks.long.starts.len()), (64, 5));
        assert_eq!(
            (chunks.short.width, chunks.short.starts.len(), chunks.short.keys),
            (32, 7, 320)
        );

        let alone = Packing::of(&[&TokenSequence::unmarked([7])], Sharing::Prefixes).unwrap();
        let Chunks { long, short, scatter_idx } = Chunks::of(&alone).unwrap();
        assert_eq!((long.width, long.keys, short.width, short.keys), (1, 1, 16, 1));
        assert_eq!(scatter_idx, [1]);
    }
}
