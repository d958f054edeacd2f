//! Padded input: one row per sequence, as wide as the longest. Encoders and most exported decoders
//! take it.

use ort::value::TensorElementType;

use crate::encode::tokens::TokenSequence;

/// An input of a padded graph, `[batch, longest]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PaddedInput {
    pub(crate) name: String,
    pub(crate) fill: Fill,
    /// True for int32, false for int64.
    pub(crate) narrow: bool,
}

/// The content of an input of a padded graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Token ids, padded on the right.
    Ids,
    /// 1 for a token, 0 for padding.
    Mask,
    /// Segment ids: 0, except in the second text of a pair.
    Types,
    /// Positions from `PaddedRows::first_position`.
    Positions,
    /// 1 for a token of the scored message itself, 0 for earlier messages, special tokens and
    /// padding.
    Reply,
}

/// The shape and the constants of a batch's rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PaddedRows {
    /// Columns: the length of the longest sequence.
    pub(crate) longest: usize,
    /// The id in the columns after a shorter sequence.
    pub(crate) pad: i64,
    /// The position of the first column.
    pub(crate) first_position: i64,
}

const FILLS: [(&str, Fill); 5] = [
    ("input_ids", Fill::Ids),
    ("attention_mask", Fill::Mask),
    ("token_type_ids", Fill::Types),
    ("position_ids", Fill::Positions),
    ("reply_mask", Fill::Reply),
];

impl PaddedInput {
    /// The input of this name and type. The error lists the known inputs.
    pub(crate) fn of(name: &str, kind: Option<TensorElementType>) -> Result<Self, String> {
        let Some((_, fill)) = FILLS.iter().find(|(known, _)| *known == name) else {
            if name.starts_with("past_key_values") || name == "use_cache_branch" {
                return Err(format!(
                    "has an input `{name}`, the cache of a generating model; export it without a \
                     cache (`optimum-cli export onnx --task text-generation`, or `use_cache=False`)"
                ));
            }
            let known = FILLS.map(|(known, _)| known).join("`, `");
            return Err(format!(
                "has an input `{name}`, which guerdon cannot fill; it knows `{known}`"
            ));
        };
        let narrow = match kind {
            Some(TensorElementType::Int64) => false,
            Some(TensorElementType::Int32) => true,
            _ => {
                return Err(format!(
                    "takes something other than int64 or int32 as `{name}`; export it with int64 inputs"
                ));
            }
        };
        Ok(Self { name: name.to_owned(), fill: *fill, narrow })
    }
}

impl Fill {
    /// The values of the input, row by row.
    pub(crate) fn tensor(self, sequences: &[&TokenSequence], rows: PaddedRows) -> Vec<i64> {
        let PaddedRows { longest, pad, first_position } = rows;
        let mut data = Vec::with_capacity(sequences.len() * longest);
        for (row, tokens) in sequences.iter().enumerate() {
            match self {
                Self::Ids => data.extend(tokens.ids.iter().copied().map(i64::from)),
                Self::Mask => data.extend(std::iter::repeat_n(1, tokens.len())),
                Self::Types => data.extend(tokens.segments.iter().copied().map(i64::from)),
                Self::Positions => data.extend((first_position..).take(longest)),
                Self::Reply => {
                    data.extend(
                        (0..tokens.len()).map(|place| i64::from(tokens.reply.contains(&place))),
                    );
                }
            }
            data.resize((row + 1) * longest, if matches!(self, Self::Ids) { pad } else { 0 });
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_on_the_right_and_masked() {
        let [long, short] = [&[5, 6, 7][..], &[8]].map(TokenSequence::unmarked);
        let segments = [0, 1, 1].into();
        let sequences = [&TokenSequence { reply: 1..3, segments, ..long }, &short];
        let rows = PaddedRows { longest: 3, pad: 9, first_position: 0 };
        assert_eq!(Fill::Ids.tensor(&sequences, rows), [5, 6, 7, 8, 9, 9]);
        assert_eq!(Fill::Mask.tensor(&sequences, rows), [1, 1, 1, 1, 0, 0]);
        assert_eq!(Fill::Types.tensor(&sequences, rows), [0, 1, 1, 0, 0, 0]);
        assert_eq!(Fill::Positions.tensor(&sequences, rows), [0, 1, 2, 0, 1, 2]);
        assert_eq!(Fill::Reply.tensor(&sequences, rows), [0, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn positions_start_at_the_first_position_of_the_model_family() {
        let tokens = [&[5, 6, 7][..], &[8]].map(TokenSequence::unmarked);
        let rows = PaddedRows { longest: 3, pad: 1, first_position: 2 };
        assert_eq!(Fill::Positions.tensor(&tokens.each_ref(), rows), [2, 3, 4, 2, 3, 4]);
    }

    #[test]
    fn unknown_input_is_refused_with_the_known_inputs() {
        let refused = |name, kind| PaddedInput::of(name, Some(kind)).unwrap_err();
        assert!(refused("pixel_values", TensorElementType::Float32).contains("`input_ids`"));
        assert!(refused("input_ids", TensorElementType::Float32).contains("int64"));
        let cache = refused("past_key_values.0.key", TensorElementType::Float32);
        assert!(cache.contains("--task text-generation"), "{cache}");
        let narrow = PaddedInput::of("input_ids", Some(TensorElementType::Int32)).unwrap();
        assert!(narrow.narrow && narrow.fill == Fill::Ids);
    }
}
