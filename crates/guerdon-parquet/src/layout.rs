//! The row groups of a file, and a file of which only some bytes are there. With both, a reader of
//! remote files fetches the end of a file and the row groups that it reads.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Cursor, Read};
use std::ops::Range;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};

use crate::Error;

/// A row group: its rows, and its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGroup {
    /// The number of rows.
    pub rows: u64,
    /// The bytes of its columns.
    pub bytes: Range<u64>,
}

/// The description at the end of a file.
#[derive(Debug, Default)]
pub struct FileLayout {
    /// The row groups, in order.
    pub groups: Vec<RowGroup>,
    /// The texts that the writer added, by their names.
    pub notes: BTreeMap<String, String>,
}

/// The end of a file as far as it was fetched.
#[derive(Debug)]
pub enum FileEnd {
    /// All of the description.
    Layout(FileLayout),
    /// The description begins earlier: the number of bytes at the end of the file
    /// that has all of it.
    Needs(usize),
}

/// Reads the description in `tail`, the last bytes of a file of `size` bytes.
///
/// # Errors
/// The content is not Parquet, or is damaged.
pub fn read_layout(tail: &Bytes, size: u64) -> Result<FileEnd, Error> {
    let mut reader = ParquetMetaDataReader::new();
    match reader.try_parse_sized(tail, size) {
        Ok(()) => {}
        Err(ParquetError::NeedMoreData(needed)) => return Ok(FileEnd::Needs(needed)),
        Err(error) => return Err(error.into()),
    }
    let metadata = reader.finish()?;
    let groups = metadata.row_groups().iter().map(|group| row_group(group, size));
    let notes = metadata.file_metadata().key_value_metadata();
    let notes = notes.into_iter().flatten().cloned();
    let notes = notes.filter_map(|note| Some((note.key, note.value?))).collect();
    Ok(FileEnd::Layout(FileLayout { groups: groups.collect::<Result<_, _>>()?, notes }))
}

fn row_group(group: &RowGroupMetaData, size: u64) -> Result<RowGroup, Error> {
    let damaged = |what: &str| {
        Error::Format(ParquetError::General(format!("a row group has a wrong {what}")))
    };
    let rows = u64::try_from(group.num_rows()).map_err(|_| damaged("number of rows"))?;
    let (mut start, mut end) = (u64::MAX, 0);
    for column in group.columns() {
        let offset = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let offset = u64::try_from(offset.min(column.data_page_offset()));
        let offset = offset.map_err(|_| damaged("offset"))?;
        let length = u64::try_from(column.compressed_size()).map_err(|_| damaged("size"))?;
        start = start.min(offset);
        end = end.max(offset.saturating_add(length));
    }
    if end > size || start > end {
        return Err(damaged("place"));
    }
    Ok(RowGroup { rows, bytes: start..end })
}

/// A file of which some bytes are in memory.
#[derive(Clone)]
pub struct SparseFile {
    size: u64,
    /// Pieces of the file, each with its offset.
    pieces: Vec<(u64, Bytes)>,
}

impl fmt::Debug for SparseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SparseFile").field("size", &self.size).finish_non_exhaustive()
    }
}

impl SparseFile {
    /// A file of `size` bytes with these pieces, each with its offset.
    #[must_use]
    pub const fn new(size: u64, pieces: Vec<(u64, Bytes)>) -> Self {
        Self { size, pieces }
    }

    /// The bytes from `start` to the end of their piece.
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let found = self.pieces.iter().find_map(|(offset, bytes)| {
            let at = usize::try_from(start.checked_sub(*offset)?).ok()?;
            (at < bytes.len()).then(|| bytes.slice(at..))
        });
        found.ok_or_else(|| {
            ParquetError::General(format!("byte {start} of the file was not fetched"))
        })
    }
}

impl Length for SparseFile {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for SparseFile {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(Box::new(Cursor::new(self.from(start)?)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            let detail = format!("bytes from {start} of the file were fetched in part");
            return Err(ParquetError::General(detail));
        }
        Ok(bytes.slice(..length))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::{Column, RowReader, RowWriter};

    fn row(n: u64) -> Map<String, Value> {
        json!({ "id": format!("r{n}") }).as_object().unwrap().clone()
    }

    fn file(rows: u64) -> Bytes {
        let mut bytes = Vec::new();
        let mut writer = RowWriter::new(&mut bytes, vec![Column::text("id")]).unwrap();
        for n in 0..rows {
            writer.write(&row(n)).unwrap();
        }
        writer.note("made by", "a test");
        writer.finish().unwrap();
        Bytes::from(bytes)
    }

    #[test]
    fn row_groups_are_read_one_by_one_from_their_own_bytes() {
        let file = file(25_000);
        let size = file.len() as u64;
        let mut tail = 8;
        let FileLayout { groups, notes } = loop {
            match read_layout(&file.slice(file.len() - tail..), size).unwrap() {
                FileEnd::Layout(layout) => break layout,
                FileEnd::Needs(needed) => {
                    assert!(needed > tail);
                    tail = needed;
                }
            }
        };
        assert_eq!(notes["made by"], "a test");
        let counts: Vec<u64> = groups.iter().map(|group| group.rows).collect();
        assert_eq!(counts, [10_000, 10_000, 5_000]);
        let end = file.slice(file.len() - tail..);
        let mut first = 0;
        for (place, group) in groups.iter().enumerate() {
            let bytes = usize::try_from(group.bytes.start).unwrap()
                ..usize::try_from(group.bytes.end).unwrap();
            let pieces =
                vec![(size - tail as u64, end.clone()), (group.bytes.start, file.slice(bytes))];
            let rows =
                RowReader::open_groups(SparseFile::new(size, pieces), place..place + 1).unwrap();
            let rows: Vec<_> = rows.collect::<Result<_, _>>().unwrap();
            assert_eq!(rows.len() as u64, group.rows);
            assert_eq!(
                (&rows[0], &rows[rows.len() - 1]),
                (&row(first), &row(first + group.rows - 1))
            );
            first += group.rows;
        }
        // Bytes that were not fetched are an error, not other rows.
        let pieces = vec![(size - tail as u64, end)];
        let mut rows = RowReader::open_groups(SparseFile::new(size, pieces), 0..1).unwrap();
        assert!(rows.next().unwrap().is_err());
    }

    #[test]
    fn other_content_is_refused() {
        let text = Bytes::from_static(b"{\"messages\": []}\n{\"messages\": []}\n");
        assert!(read_layout(&text, text.len() as u64).is_err());
        assert!(read_layout(&Bytes::new(), 0).is_err());
    }
}
