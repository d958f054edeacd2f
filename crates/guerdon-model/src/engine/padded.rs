//! Padded input: one row per sequence, as wide as the longest. Encoders and most exported decoders
//! take it.

use ort::value::TensorElementType;

use crate::encode::tokens::TokenSequence;

/// The content of an input of a padded graph; `[batch, longest]` of int64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Token ids, padded on the right.
    Ids,
    /// 1 for a token, 0 for padding.
    Mask,
    /// Segment ids: all 0, since a dialogue is one segment.
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

impl Fill {
    /// The content of an input of this name and type. The error lists the known inputs.
    pub(crate) fn of(name: &str, kind: Option<TensorElementType>) -> Result<Self, String> {
        let Some((_, fill)) = FILLS.iter().find(|(known, _)| *known == name) else {
            let known = FILLS.map(|(known, _)| known).join("`, `");
            return Err(format!(
                "has an input `{name}`, which guerdon cannot fill; it knows `{known}`"
            ));
        };
        match kind {
            Some(TensorElementType::Int64) => Ok(*fill),
            _ => Err(format!(
                "takes something other than int64 as `{name}`; export it with int64 inputs"
            )),
        }
    }

    /// The values of the input, row by row.
    pub(crate) fn tensor(self, sequences: &[&TokenSequence], rows: PaddedRows) -> Vec<i64> {
        let PaddedRows { longest, pad, first_position } = rows;
        let mut data = Vec::with_capacity(sequences.len() * longest);
        for (row, tokens) in sequences.iter().enumerate() {
            match self {
                Self::Ids => data.extend(tokens.ids.iter().copied().map(i64::from)),
                Self::Mask => data.extend(std::iter::repeat_n(1, tokens.len())),
                Self::Types => {}
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
        let sequences = [&TokenSequence { reply: 1..3, ..long }, &short];
        let rows = PaddedRows { longest: 3, pad: 9, first_position: 0 };
        assert_eq!(Fill::Ids.tensor(&sequences, rows), [5, 6, 7, 8, 9, 9]);
        assert_eq!(Fill::Mask.tensor(&sequences, rows), [1, 1, 1, 1, 0, 0]);
        assert_eq!(Fill::Types.tensor(&sequences, rows), [0; 6]);
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
        let refused = |name, kind| Fill::of(name, Some(kind)).unwrap_err();
        assert!(refused("pixel_values", TensorElementType::Float32).contains("`input_ids`"));
        assert!(refused("input_ids", TensorElementType::Int32).contains("int64"));
    }
}
