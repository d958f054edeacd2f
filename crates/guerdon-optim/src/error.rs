//! [`OptimError`]: errors in a batch or a setting, with their position and the allowed range.

use thiserror::Error;

/// The reason for refusing a computation. After an error, output slices hold unspecified numbers.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum OptimError {
    /// A slice whose length differs from that implied by the row mask or by another slice.
    #[error("{what} has {got} elements, expected {expected}")]
    Shape {
        /// The argument's name.
        what: &'static str,
        /// Elements expected.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// A row with more tokens than the width of the batch.
    #[error("row {row} has {len} tokens but rows are {width} wide")]
    RowLength {
        /// The row, from 0.
        row: usize,
        /// The given length in tokens.
        len: usize,
        /// The padded width of every row.
        width: usize,
    },
    /// A setting outside its range.
    #[error("{field} is {value}, but must be {range}")]
    Config {
        /// The setting's name.
        field: &'static str,
        /// The value given.
        value: f64,
        /// The allowed range, in words.
        range: &'static str,
    },
    /// A NaN or an infinity in a valid slot. Padded slots are not checked.
    #[error("{what} is not finite at row {row}, token {token}")]
    NonFinite {
        /// The argument's name.
        what: &'static str,
        /// The row (or rollout), from 0.
        row: usize,
        /// The token within the row, from 0; 0 for arguments with one number per row.
        token: usize,
    },
    /// A missing optional argument that this configuration needs.
    #[error("{what} is needed: {why}")]
    Missing {
        /// The argument's name.
        what: &'static str,
        /// The reason why it is needed.
        why: &'static str,
    },
    /// Arithmetic that left the range of the number type although every input is finite.
    #[error("{what} overflowed although every input is finite; scale the inputs down")]
    Overflow {
        /// The quantity that overflowed.
        what: &'static str,
    },
    /// A name that no variant of an enum has.
    #[error("unknown {kind} {name:?}; expected one of: {}", known.join(", "))]
    UnknownName {
        /// The kind of thing named, such as `estimator`.
        kind: &'static str,
        /// The name given.
        name: String,
        /// All valid names.
        known: &'static [&'static str],
    },
}

impl OptimError {
    /// Converts an error about a part of a batch to one about the batch, in which the part starts
    /// at row `rows`.
    pub(crate) fn offset_rows(self, rows: usize) -> Self {
        match self {
            Self::NonFinite { what, row, token } => {
                Self::NonFinite { what, row: rows + row, token }
            }
            other => other,
        }
    }
}

/// Refuses a setting unless `condition`.
pub(crate) fn require(
    condition: bool,
    field: &'static str,
    value: f64,
    range: &'static str,
) -> Result<(), OptimError> {
    if condition { Ok(()) } else { Err(OptimError::Config { field, value, range }) }
}

/// Refuses a slice whose length is not `expected`.
pub(crate) fn require_len(
    what: &'static str,
    got: usize,
    expected: usize,
) -> Result<(), OptimError> {
    if got == expected { Ok(()) } else { Err(OptimError::Shape { what, expected, got }) }
}

#[cfg(test)]
mod tests {
    use super::OptimError;

    #[test]
    fn messages_name_the_argument_its_position_and_its_range() {
        let error = OptimError::NonFinite { what: "values", row: 3, token: 7 };
        assert_eq!(error.to_string(), "values is not finite at row 3, token 7");
        let error = OptimError::Config { field: "gamma", value: 1.5, range: "within 0..=1" };
        assert_eq!(error.to_string(), "gamma is 1.5, but must be within 0..=1");
    }
}
