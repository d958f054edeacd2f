//! Writes rows.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use serde_json::{Map, Value};

use crate::columns::{ColumnKind, schema};
use crate::leaf::{Leaf, Levels};
use crate::{Column, Error};

/// Most rows of a row group, which is held in memory until it is whole.
const GROUP_ROWS: usize = 10_000;

/// Bytes of values at which a row group is whole.
const GROUP_BYTES: usize = 32 << 20;

/// Writes rows to a file, compressed with zstd.
pub struct RowWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Column>,
    leaves: Vec<Leaf>,
    rows: usize,
    bytes: usize,
}

impl<W: Write + Send> fmt::Debug for RowWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowWriter").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl<W: Write + Send> RowWriter<W> {
    /// Begins a file with `columns`.
    ///
    /// # Errors
    /// `out` cannot be written, or there are no columns.
    pub fn new(out: W, columns: Vec<Column>) -> Result<Self, Error> {
        let compression = Compression::ZSTD(ZstdLevel::default());
        let settings = WriterProperties::builder().set_compression(compression).build();
        let file = SerializedFileWriter::new(out, schema(&columns)?, Arc::new(settings))?;
        let mut kinds = Vec::new();
        columns.iter().for_each(|column| column.kinds(0, &mut kinds));
        let leaves = kinds.into_iter().map(|(kind, lists)| Leaf::new(kind, lists)).collect();
        Ok(Self { file, columns, leaves, rows: 0, bytes: 0 })
    }

    /// Adds a row. Columns that it does not have are null; what has no column is left out.
    ///
    /// # Errors
    /// A value does not fit its column, or the file cannot be written. The file is then unusable.
    pub fn write(&mut self, row: &Map<String, Value>) -> Result<(), Error> {
        self.bytes += shred_row(&self.columns, Some(row), Levels::default(), &mut self.leaves)?;
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Adds a text to the description at the end of the file.
    pub fn note(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.file.append_key_value_metadata(KeyValue::new(name.into(), text.into()));
    }

    /// Ends the row group, so that its rows can be read without others.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end_group(&mut self) -> Result<(), Error> {
        if self.rows > 0 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut group = self.file.next_row_group()?;
        for leaf in &mut self.leaves {
            leaf.flush(&mut group)?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    /// Writes what is left, and the end of the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<(), Error> {
        self.end_group()?;
        self.file.close()?;
        Ok(())
    }
}

/// Adds the values of an object to its columns' leaves. Returns their size in bytes.
fn shred_row(
    columns: &[Column],
    row: Option<&Map<String, Value>>,
    levels: Levels,
    mut leaves: &mut [Leaf],
) -> Result<usize, Error> {
    let mut bytes = 0;
    for column in columns {
        let Some((own, others)) = leaves.split_at_mut_checked(column.leaves()) else { break };
        let value = row.and_then(|row| row.get(&column.name)).filter(|value| !value.is_null());
        bytes += shred(column, value, levels, own)?;
        leaves = others;
    }
    Ok(bytes)
}

fn shred(
    column: &Column,
    value: Option<&Value>,
    levels: Levels,
    leaves: &mut [Leaf],
) -> Result<usize, Error> {
    let unfit = |found: &Value| Error::Value {
        column: column.name.clone(),
        expected: expected(&column.kind),
        found: kind_of(found),
    };
    match (&column.kind, value) {
        (_, None) => leaves.iter_mut().for_each(|leaf| leaf.push_absent(levels)),
        (ColumnKind::List(_), Some(Value::Array(items))) if items.is_empty() => {
            let empty = Levels { definition: levels.definition + 1, ..levels };
            leaves.iter_mut().for_each(|leaf| leaf.push_absent(empty));
        }
        (ColumnKind::List(columns), Some(Value::Array(items))) => {
            let mut bytes = 0;
            for (place, item) in items.iter().enumerate() {
                let item = item.as_object().ok_or_else(|| unfit(item))?;
                let lists = levels.lists + 1;
                let repetition = if place == 0 { levels.repetition } else { lists };
                let inner = Levels { definition: levels.definition + 2, repetition, lists };
                bytes += shred_row(columns, Some(item), inner, leaves)?;
            }
            return Ok(bytes);
        }
        (ColumnKind::List(_), Some(value)) => return Err(unfit(value)),
        (_, Some(value)) => {
            if let Some(leaf) = leaves.first_mut() {
                return leaf.push(value, levels).ok_or_else(|| unfit(value));
            }
        }
    }
    Ok(leaves.len())
}

const fn expected(kind: &ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text => "texts",
        ColumnKind::Integer => "integers",
        ColumnKind::Number => "numbers",
        ColumnKind::Boolean => "truth values",
        ColumnKind::List(_) => "lists of objects",
    }
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::RowReader;

    fn columns() -> Vec<Column> {
        let inner = vec![Column::text("word"), Column::boolean("right")];
        vec![
            Column::text("id"),
            Column::number("reward"),
            Column::list("turns", vec![Column::integer("index"), Column::list("hits", inner)]),
        ]
    }

    fn through(rows: &[Value]) -> Vec<Value> {
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = RowWriter::new(&mut file, columns()).unwrap();
        rows.iter().for_each(|row| writer.write(row.as_object().unwrap()).unwrap());
        writer.finish().unwrap();
        RowReader::open(file).unwrap().map(|row| Value::Object(row.unwrap())).collect()
    }

    fn any_row() -> impl Strategy<Value = Value> {
        let text = || prop::option::of("\\PC{0,6}");
        let hit = (text(), prop::option::of(any::<bool>()));
        let hits = prop::option::of(prop::collection::vec(hit, 0..4));
        let turn = (prop::option::of(any::<i64>()), hits);
        let turns = prop::option::of(prop::collection::vec(turn, 0..4));
        (text(), prop::option::of(-1e9..1e9), turns).prop_map(|(id, reward, turns)| {
            let hit = |(word, right)| json!({ "word": word, "right": right });
            let hits = |hits: Vec<_>| hits.into_iter().map(hit).collect::<Vec<_>>();
            let turn =
                |(index, found): (_, Option<_>)| json!({ "index": index, "hits": found.map(hits) });
            let turns = turns.map(|turns| turns.into_iter().map(turn).collect::<Vec<_>>());
            json!({ "id": id, "reward": reward, "turns": turns })
        })
    }

    proptest! {
        #[test]
        fn rows_are_read_as_they_were_written(rows in prop::collection::vec(any_row(), 0..12)) {
            prop_assert_eq!(through(&rows), rows);
        }
    }

    #[test]
    fn several_row_groups_are_read_in_order() {
        let row = |index: usize| json!({ "id": index.to_string(), "reward": 0.5, "turns": [] });
        let rows: Vec<_> = (0..GROUP_ROWS * 2 + 1).map(row).collect();
        assert!(through(&rows) == rows);
    }

    #[test]
    fn value_that_does_not_fit_is_named_with_its_column() {
        for (row, column) in [
            (json!({ "id": 3 }), "id"),
            (json!({ "turns": [{ "index": 0.5 }] }), "index"),
            (json!({ "turns": [3] }), "turns"),
            (json!({ "turns": {} }), "turns"),
        ] {
            let mut writer = RowWriter::new(Vec::new(), columns()).unwrap();
            let error = writer.write(row.as_object().unwrap()).unwrap_err();
            assert!(error.to_string().contains(&format!("`{column}`")), "{error}");
        }
    }

    #[test]
    fn other_content_is_refused() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"PAR1....").unwrap();
        assert!(matches!(RowReader::open(file), Err(Error::Format(_))));
    }
}
