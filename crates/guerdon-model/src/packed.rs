//! Packed input for decoders: every distinct token once, whoever shares it.
//!
//! In a causal model a token's state depends on what stands before it and on nothing after it, so sequences that begin
//! alike share the states of their common beginning. The samples of one prompt share the prompt, the turns of one
//! dialogue share everything before, dialogues with one system message share that. A packed graph computes its linear
//! layers once per node of the batch's prefix tree, without padding; only attention sees whole sequences, which it
//! gathers from the nodes. Nothing is approximated: each state is computed from the same numbers as it would be alone.
//!
//! The graph (`examples/reward-model/packed_decoder.py` writes one) takes, with U nodes, B sequences, S the longest:
//!
//! | input | shape, type | what |
//! |---|---|---|
//! | `token_ids` | `[U]` int64 | the nodes' token ids |
//! | `gather_idx` | `[B, S]` int64 | the node at each place of each sequence; 0 in the padding |
//! | `scatter_idx` | `[U]` int64 | for each node one place (row · S + column) that holds it |
//! | `seqlens_k` | `[B]` int32 | each length less 1, as `GroupQueryAttention` wants it |
//! | `total_len` | scalar int32 | S |
//! | `last_idx` | `[B]` int64 | the node that ends each sequence: what is pooled |

use ort::value::TensorElementType;

use crate::tokens::Tokens;

/// The inputs of a packed graph and their types.
const INPUTS: [(&str, TensorElementType); 6] = [
    ("token_ids", TensorElementType::Int64),
    ("gather_idx", TensorElementType::Int64),
    ("scatter_idx", TensorElementType::Int64),
    ("seqlens_k", TensorElementType::Int32),
    ("total_len", TensorElementType::Int32),
    ("last_idx", TensorElementType::Int64),
];

/// Whether a graph with these inputs is packed: all of the inputs above and no other. The error is for one that nearly is.
pub(crate) fn is_packed<'a>(
    inputs: &(impl Iterator<Item = (&'a str, Option<TensorElementType>)> + Clone),
) -> Result<bool, String> {
    if !inputs.clone().any(|(name, _)| name == "gather_idx") {
        return Ok(false);
    }
    for (name, kind) in inputs.clone() {
        match INPUTS.iter().find(|(known, _)| *known == name) {
            None => return Err(format!("has an input `{name}`, which is none of a packed graph's")),
            Some((_, wanted)) if Some(*wanted) != kind => {
                return Err(format!("takes `{name}` as {kind:?}; a packed graph takes it as {wanted:?}"));
            }
            Some(_) => {}
        }
    }
    match INPUTS.iter().find(|(wanted, _)| inputs.clone().all(|(name, _)| name != *wanted)) {
        Some((missing, _)) => Err(format!("is packed, for it has `gather_idx`, but lacks `{missing}`")),
        None => Ok(true),
    }
}

/// A batch's prefix tree, laid out as the graph's inputs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Packing {
    pub(crate) token_ids: Vec<i64>,
    pub(crate) gather_idx: Vec<i64>,
    pub(crate) scatter_idx: Vec<i64>,
    pub(crate) seqlens_k: Vec<i32>,
    pub(crate) total_len: i32,
    pub(crate) last_idx: Vec<i64>,
}

impl Packing {
    /// Packs `sequences`, none of them empty, in any order. `None` if a number does not fit the graph's types.
    ///
    /// In lexicographic order each sequence shares with the one before it all that it shares with any before it, so one
    /// comparison a sequence finds the tree.
    pub(crate) fn of(sequences: &[&Tokens]) -> Option<Self> {
        let longest = sequences.iter().map(|tokens| tokens.len()).max().unwrap_or(0);
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_unstable_by(|&a, &b| sequences[a].ids.cmp(&sequences[b].ids));

        let rows = sequences.len();
        let mut packing = Self {
            gather_idx: vec![0; rows * longest],
            seqlens_k: vec![0; rows],
            total_len: i32::try_from(longest).ok()?,
            last_idx: vec![0; rows],
            ..Self::default()
        };
        let mut before: Option<usize> = None;
        for row in order {
            let ids = &sequences[row].ids;
            let shared = before.map_or(0, |before| common_prefix(&sequences[before].ids, ids));
            let start = row * longest;
            if let Some(before) = before {
                packing.gather_idx.copy_within(before * longest..before * longest + shared, start);
            }
            for (column, id) in ids.iter().enumerate().skip(shared) {
                packing.gather_idx[start + column] = i64::try_from(packing.token_ids.len()).ok()?;
                packing.token_ids.push(i64::from(*id));
                packing.scatter_idx.push(i64::try_from(start + column).ok()?);
            }
            packing.seqlens_k[row] = i32::try_from(ids.len().checked_sub(1)?).ok()?;
            packing.last_idx[row] = packing.gather_idx[start + ids.len() - 1];
            before = Some(row);
        }
        Some(packing)
    }
}

/// How many nodes the prefix tree of `sequences` has: the tokens that a packed graph computes.
pub(crate) fn distinct_tokens(sequences: &[&Tokens]) -> usize {
    let mut sorted: Vec<&[u32]> = sequences.iter().map(|tokens| &*tokens.ids).collect();
    sorted.sort_unstable();
    let all: usize = sorted.iter().map(|ids| ids.len()).sum();
    all - sorted.windows(2).map(|pair| common_prefix(pair[0], pair[1])).sum::<usize>()
}

/// How many ids two sequences share from the start.
pub(crate) fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_shared_is_computed_once_and_every_sequence_reads_its_own_tokens() {
        let sequences = [&[7, 8, 9, 1][..], &[7, 8, 5], &[7, 8], &[4]].map(Tokens::unmarked);
        let packing = Packing::of(&sequences.each_ref()).unwrap();
        assert_eq!(packing.token_ids, [4, 7, 8, 5, 9, 1]);
        assert_eq!(packing.gather_idx, [[1, 2, 4, 5], [1, 2, 3, 0], [1, 2, 0, 0], [0, 0, 0, 0]].concat());
        assert_eq!(packing.scatter_idx, [12, 8, 9, 6, 2, 3]);
        assert_eq!((packing.seqlens_k, packing.total_len), (vec![3, 2, 1, 0], 4));
        assert_eq!(packing.last_idx, [5, 3, 2, 0]);
    }

    proptest! {
        #[test]
        fn the_packing_of_any_batch_reads_back_as_the_batch_with_no_prefix_twice(
            batch in vec(vec(0u32..3, 1..9), 1..12),
        ) {
            let batch: Vec<Tokens> = batch.into_iter().map(Tokens::unmarked).collect();
            let packing = Packing::of(&batch.iter().collect::<Vec<_>>()).unwrap();
            let width = usize::try_from(packing.total_len).unwrap();
            let at = |index: &i64| packing.token_ids[usize::try_from(*index).unwrap()];
            let mut prefixes = HashSet::new();
            for (row, tokens) in batch.iter().enumerate() {
                let places = &packing.gather_idx[row * width..row * width + tokens.len()];
                let read: Vec<i64> = places.iter().map(at).collect();
                prop_assert_eq!(&read, &tokens.ids.iter().copied().map(i64::from).collect::<Vec<_>>());
                prop_assert_eq!(packing.last_idx[row], places[tokens.len() - 1]);
                prop_assert_eq!(usize::try_from(packing.seqlens_k[row]).unwrap(), tokens.len() - 1);
                prefixes.extend((1..=tokens.len()).map(|end| tokens.ids[..end].to_vec()));
            }
            prop_assert_eq!(packing.token_ids.len(), prefixes.len());
            prop_assert_eq!(distinct_tokens(&batch.iter().collect::<Vec<_>>()), prefixes.len());
            // Each node's place holds that node.
            for (node, place) in packing.scatter_idx.iter().enumerate() {
                let held = packing.gather_idx[usize::try_from(*place).unwrap()];
                prop_assert_eq!(usize::try_from(held).unwrap(), node);
            }
        }
    }

    #[test]
    fn a_graph_is_packed_with_all_six_inputs_or_refused_by_the_one_that_is_wrong() {
        let all = INPUTS.map(|(name, kind)| (name, Some(kind)));
        assert_eq!(is_packed(&all.into_iter()), Ok(true));
        assert_eq!(is_packed(&[("input_ids", Some(TensorElementType::Int64))].into_iter()), Ok(false));
        assert!(is_packed(&all.into_iter().take(4)).unwrap_err().contains("lacks `total_len`"));
        let wrong = all.map(|(name, kind)| (name, kind.filter(|_| name != "last_idx")));
        assert!(is_packed(&wrong.into_iter()).unwrap_err().contains("`last_idx`"));
        let other = all.into_iter().chain([("position_ids", Some(TensorElementType::Int64))]);
        assert!(is_packed(&other).unwrap_err().contains("`position_ids`"));
    }
}
