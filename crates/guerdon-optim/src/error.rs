//! What can be wrong with a batch or a setting, said with the place and the law that was broken.

use thiserror::Error;

/// Why a computation was refused. Output slices hold unspecified numbers after an error.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum OptimError {
    /// A slice does not have the length that the row mask (or its sibling slice) implies.
    #[error("{what} has {got} elements, expected {expected}")]
    Shape {
        /// The argument's name.
        what: &'static str,
        /// Elements wanted.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// A row says it has more tokens than the batch is wide.
    #[error("row {row} has {len} tokens but rows are {width} wide")]
    RowLength {
        /// The row, from 0.
        row: usize,
        /// Its stated length in tokens.
        len: usize,
        /// The padded width of every row.
        width: usize,
    },
    /// A setting is outside its range.
    #[error("{field} is {value}, but must be {law}")]
    Config {
        /// The setting's name.
        field: &'static str,
        /// The value given.
        value: f64,
        /// The range, in words.
        law: &'static str,
    },
    /// A NaN or an infinity in a place that counts. Padded slots are never looked at.
    #[error("{what} is not finite at row {row}, token {token}")]
    NonFinite {
        /// The argument's name.
        what: &'static str,
        /// The row (or rollout), from 0.
        row: usize,
        /// The token within the row, from 0; 0 for arguments with one number a row.
        token: usize,
    },
    /// An optional argument that this configuration needs.
    #[error("{what} is needed: {why}")]
    Missing {
        /// The argument's name.
        what: &'static str,
        /// What needs it.
        why: &'static str,
    },
    /// Every input was finite, but the arithmetic left the range of the number type.
    #[error("{what} overflowed although every input is finite; scale the inputs down")]
    Overflow {
        /// The quantity that overflowed.
        what: &'static str,
    },
    /// A name that no variant of an enum has.
    #[error("unknown {kind} {name:?}; expected one of: {}", known.join(", "))]
    UnknownName {
        /// What was being named.
        kind: &'static str,
        /// The name given.
        name: String,
        /// The names there are.
        known: &'static [&'static str],
    },
}

impl OptimError {
    /// The same error, said of a batch in which `rows` stand before the part it was found in.
    pub(crate) fn after(self, rows: usize) -> Self {
        match self {
            Self::NonFinite { what, row, token } => {
                Self::NonFinite { what, row: rows + row, token }
            }
            other => other,
        }
    }
}

/// Refuses a setting unless `holds`.
pub(crate) fn require(
    holds: bool,
    field: &'static str,
    value: f64,
    law: &'static str,
) -> Result<(), OptimError> {
    if holds { Ok(()) } else { Err(OptimError::Config { field, value, law }) }
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
    fn an_error_says_what_where_and_what_to_change() {
        let error = OptimError::NonFinite { what: "values", row: 3, token: 7 };
        assert_eq!(error.to_string(), "values is not finite at row 3, token 7");
        let error = OptimError::Config { field: "gamma", value: 1.5, law: "within 0..=1" };
        assert_eq!(error.to_string(), "gamma is 1.5, but must be within 0..=1");
    }
}
