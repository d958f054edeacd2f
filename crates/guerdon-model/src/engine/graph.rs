//! Kinds of packed graphs, recognised by their inputs.

use ort::value::TensorElementType::{self, Int32, Int64};

use crate::engine::sharing::Sharing;

/// A kind of packed graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PackedGraph {
    /// Attention over whole sequences.
    Decoder,
    /// Attention by chunks (`chunks.rs`).
    ChunkedDecoder,
    /// Attention over blocks of a cache (`paged.rs`).
    PagedDecoder,
    /// Attention over whole sequences, in which the context does not attend to the reply.
    Encoder,
}

impl PackedGraph {
    /// The kind of packed graph with these inputs; `None` if it is not packed. The error is for a
    /// graph that lacks an input or has another type.
    pub(crate) fn of<'a>(
        inputs: &(impl Iterator<Item = (&'a str, Option<TensorElementType>)> + Clone),
    ) -> Result<Option<Self>, String> {
        let has = |wanted: &str| inputs.clone().any(|(name, _)| name == wanted);
        let (graph, sign) = match () {
            () if has("long_query_idx") => (Self::ChunkedDecoder, "long_query_idx"),
            () if has("block_table") => (Self::PagedDecoder, "block_table"),
            // An early form of attention by chunks in packed_decoder.py; it would be taken for a
            // padded graph with unknown inputs.
            () if has("query_idx") => {
                return Err("is a packed graph of an earlier version; export it again".to_owned());
            }
            () if !has("gather_idx") => return Ok(None),
            () if has("context_lens") => (Self::Encoder, "context_lens"),
            () => (Self::Decoder, "gather_idx"),
        };
        let known = graph.inputs();
        let caches = |name: &str| graph == Self::PagedDecoder && is_cache(name);
        for (name, kind) in inputs.clone().filter(|(name, _)| !caches(name)) {
            match known.iter().find(|(known, _)| *known == name) {
                None => {
                    return Err(format!(
                        "has an input `{name}`, which a packed graph does not have"
                    ));
                }
                Some((_, wanted)) if Some(*wanted) != kind => {
                    return Err(format!(
                        "takes `{name}` as {kind:?}; a packed graph takes it as {wanted:?}"
                    ));
                }
                Some(_) => {}
            }
        }
        match known.iter().find(|(wanted, _)| !has(wanted)) {
            Some((missing, _)) => {
                Err(format!("has the input `{sign}` of a packed graph, but lacks `{missing}`"))
            }
            None => Ok(Some(graph)),
        }
    }

    /// The tokens that its sequences share. For a paged graph they depend on its cache.
    pub(crate) const fn sharing(self) -> Option<Sharing> {
        match self {
            Self::Decoder | Self::ChunkedDecoder => Some(Sharing::Prefixes),
            Self::PagedDecoder => None,
            Self::Encoder => Some(Sharing::Contexts),
        }
    }

    /// The names and types of the inputs, without the caches of a paged graph.
    pub(crate) const fn inputs(self) -> &'static [(&'static str, TensorElementType)] {
        match self {
            Self::Decoder => &[
                ("token_ids", Int64),
                ("gather_idx", Int64),
                ("scatter_idx", Int64),
                ("seqlens_k", Int32),
                ("total_len", Int32),
                ("last_idx", Int64),
            ],
            Self::ChunkedDecoder => &[
                ("token_ids", Int64),
                ("position_ids", Int64),
                ("long_query_idx", Int64),
                ("long_key_idx", Int64),
                ("long_starts", Int64),
                ("short_query_idx", Int64),
                ("short_key_idx", Int64),
                ("short_starts", Int64),
                ("scatter_idx", Int64),
                ("last_idx", Int64),
            ],
            Self::PagedDecoder => &[
                ("token_ids", Int64),
                ("cu_seqlens", Int32),
                ("past_seqlens", Int32),
                ("block_table", Int32),
                ("attention_metadata", Int32),
                ("last_idx", Int64),
            ],
            Self::Encoder => &[
                ("token_ids", Int64),
                ("gather_idx", Int64),
                ("scatter_idx", Int64),
                ("position_ids", Int64),
                ("lengths", Int64),
                ("context_lens", Int64),
            ],
        }
    }
}

/// True for the inputs of a paged graph that hold the keys or the values of a layer's cache.
pub(crate) fn is_cache(input: &str) -> bool {
    input.ends_with("key_cache") || input.ends_with("value_cache")
}

#[cfg(test)]
mod tests {
    use ort::value::TensorElementType::Float16;

    use super::*;

    #[test]
    fn packed_graph_needs_all_inputs_and_names_a_wrong_one() {
        for graph in [
            PackedGraph::Decoder,
            PackedGraph::ChunkedDecoder,
            PackedGraph::PagedDecoder,
            PackedGraph::Encoder,
        ] {
            let all = || graph.inputs().iter().map(|(name, kind)| (*name, Some(*kind)));
            assert_eq!(PackedGraph::of(&all()), Ok(Some(graph)));
            let (last, _) = graph.inputs()[graph.inputs().len() - 1];
            let fewer = all().filter(|(name, _)| *name != last);
            match graph {
                // Without that input, it is recognised as another kind that lacks several inputs.
                PackedGraph::Encoder => assert!(PackedGraph::of(&fewer).is_err()),
                _ => assert!(
                    PackedGraph::of(&fewer).unwrap_err().contains(&format!("lacks `{last}`"))
                ),
            }
            let wrong = all().map(|(name, kind)| (name, kind.filter(|_| name != "token_ids")));
            assert!(PackedGraph::of(&wrong).unwrap_err().contains("`token_ids`"));
            let other = all().chain([("token_type_ids", Some(Int64))]);
            assert!(PackedGraph::of(&other).unwrap_err().contains("`token_type_ids`"));
            let cached = PackedGraph::of(&all().chain([("layer0.key_cache", Some(Float16))]));
            assert_eq!(cached.is_ok(), graph == PackedGraph::PagedDecoder);
        }
        assert_eq!(PackedGraph::of(&[("input_ids", Some(Int64))].into_iter()), Ok(None));
        let earlier =
            PackedGraph::of(&[("token_ids", Some(Int64)), ("query_idx", Some(Int64))].into_iter());
        assert!(earlier.unwrap_err().contains("export it again"));
    }
}
