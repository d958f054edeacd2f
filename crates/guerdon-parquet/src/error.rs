//! Errors.

/// A file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The content is not Parquet, is damaged, or uses a codec that is not built in.
    #[error("the Parquet content cannot be read or written: {0}")]
    Format(#[from] parquet::errors::ParquetError),
    /// The pages are compressed with a codec that is not built in.
    #[error(
        "the Parquet content is compressed with {codec}, which cannot be read: write it with \
         snappy, zstd, gzip or lz4"
    )]
    Codec {
        /// The name of the codec.
        codec: &'static str,
    },
    /// A column has a type that JSON has no value for.
    #[error("column `{column}` has the type {kind}, which cannot be read as JSON")]
    Type {
        /// The path of the column.
        column: String,
        /// Its type.
        kind: String,
    },
    /// A value does not fit the column that it is written to.
    #[error("column `{column}` has {expected}, and a row has {found}")]
    Value {
        /// The name of the column.
        column: String,
        /// The values of the column, in words.
        expected: &'static str,
        /// The kind of the value.
        found: &'static str,
    },
}
