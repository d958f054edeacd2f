//! Reads rows.

use std::fmt;
use std::fs::File;
use std::ops::Range;

use parquet::basic::{Compression, ConvertedType};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, FileReader as _, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::record::reader::RowIter;
use serde_json::{Map, Value};

use crate::{Error, SparseFile};

/// The first bytes of a Parquet file.
pub const MAGIC: &[u8] = b"PAR1";

/// Rows of each column that are decoded at once.
const BATCH: usize = 64;

/// Iterator over the rows of a file, each as a JSON object. Holds some rows and pages in memory,
/// not the file. Bytes are read as base64, times and decimals as texts, and numbers that are not
/// finite as `null`.
pub struct RowReader {
    rows: RowIter<'static>,
    columns: Vec<String>,
    left: usize,
    has_failed: bool,
}

impl fmt::Debug for RowReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { columns, left, .. } = self;
        f.debug_struct("RowReader").field("columns", columns).field("left", left).finish()
    }
}

impl RowReader {
    /// Opens a file.
    ///
    /// # Errors
    /// It is not Parquet, or a column has a type that JSON has no value for.
    pub fn open(file: File) -> Result<Self, Error> {
        Self::of(SerializedFileReader::new(file)?)
    }

    /// Opens the row groups `groups` of a file of which their bytes and its end are there.
    ///
    /// # Errors
    /// As [`RowReader::open`].
    pub fn open_groups(file: SparseFile, groups: Range<usize>) -> Result<Self, Error> {
        let chosen = Box::new(move |_: &RowGroupMetaData, place| groups.contains(&place));
        let options = ReadOptionsBuilder::new().with_predicate(chosen).build();
        Self::of(SerializedFileReader::new_with_options(file, options)?)
    }

    fn of<R: ChunkReader + 'static>(reader: SerializedFileReader<R>) -> Result<Self, Error> {
        let metadata = reader.metadata().file_metadata();
        let schema = metadata.schema_descr();
        for column in schema.columns() {
            if column.converted_type() == ConvertedType::INTERVAL {
                let kind = column.converted_type().to_string();
                return Err(Error::Type { column: column.path().string(), kind });
            }
        }
        let groups = reader.metadata().row_groups().iter();
        if let Some(codec) = groups.flat_map(RowGroupMetaData::columns).find_map(foreign_codec) {
            return Err(Error::Codec { codec });
        }
        let fields = schema.root_schema().get_fields();
        let columns = fields.iter().map(|field| field.name().to_owned()).collect();
        let rows: i64 = reader.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).sum();
        let left = usize::try_from(rows).unwrap_or(0);
        let rows = RowIter::from_file_into(Box::new(reader)).with_batch_size(BATCH);
        Ok(Self { rows, columns, left, has_failed: false })
    }

    /// The names of the columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
}

/// The codec of a column's pages, if it is not built in.
fn foreign_codec(column: &ColumnChunkMetaData) -> Option<&'static str> {
    match column.compression() {
        Compression::BROTLI(_) => Some("brotli"),
        Compression::LZO => Some("LZO"),
        _ => None,
    }
}

impl Iterator for RowReader {
    type Item = Result<Map<String, Value>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed || self.left == 0 {
            return None;
        }
        self.left -= 1;
        let row = match self.rows.next()? {
            Ok(row) => row,
            Err(error) => {
                // The iterator does not advance behind an error.
                self.has_failed = true;
                return Some(Err(error.into()));
            }
        };
        match row.to_json_value() {
            Value::Object(row) => Some(Ok(row)),
            _ => None,
        }
    }
}
