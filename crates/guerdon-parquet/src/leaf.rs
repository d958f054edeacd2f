//! The values of one column of a row group, with the levels that place them in their rows. The
//! encoding is that of Dremel (Melnik et al., 2010), as Parquet's format describes it.

use std::io::Write;

use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedRowGroupWriter;
use serde_json::Value;

use crate::columns::ColumnKind;

/// The place of a value: definition and repetition level, and the number of lists around it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Levels {
    pub(crate) definition: i16,
    pub(crate) repetition: i16,
    pub(crate) lists: i16,
}

/// One column of a row group.
#[derive(Debug)]
pub(crate) struct Leaf {
    values: LeafValues,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    is_repeated: bool,
}

#[derive(Debug)]
enum LeafValues {
    Text(Vec<ByteArray>),
    Integer(Vec<i64>),
    Number(Vec<f64>),
    Boolean(Vec<bool>),
}

impl Leaf {
    pub(crate) fn new(kind: &ColumnKind, lists: usize) -> Self {
        let values = match kind {
            ColumnKind::Integer => LeafValues::Integer(Vec::new()),
            ColumnKind::Number => LeafValues::Number(Vec::new()),
            ColumnKind::Boolean => LeafValues::Boolean(Vec::new()),
            ColumnKind::Text | ColumnKind::List(_) => LeafValues::Text(Vec::new()),
        };
        let is_repeated = lists > 0;
        Self { values, definitions: Vec::new(), repetitions: Vec::new(), is_repeated }
    }

    /// Adds a value that is null or is in a list that is null or empty.
    pub(crate) fn push_absent(&mut self, levels: Levels) {
        self.definitions.push(levels.definition);
        self.repetitions.push(levels.repetition);
    }

    /// Adds a value. Returns its size in bytes, or `None` if it does not fit the column.
    pub(crate) fn push(&mut self, value: &Value, levels: Levels) -> Option<usize> {
        let mut size = 8;
        match &mut self.values {
            LeafValues::Text(values) => {
                let text = value.as_str()?;
                size = text.len();
                values.push(ByteArray::from(text));
            }
            LeafValues::Integer(values) => values.push(value.as_i64()?),
            LeafValues::Number(values) => values.push(value.as_f64()?),
            LeafValues::Boolean(values) => values.push(value.as_bool()?),
        }
        self.push_absent(Levels { definition: levels.definition + 1, ..levels });
        Some(size)
    }

    /// Writes the column and empties it.
    pub(crate) fn flush<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        let levels = (&self.definitions, self.is_repeated.then_some(&self.repetitions));
        match &mut self.values {
            LeafValues::Text(values) => column::<ByteArrayType, W>(group, values, levels)?,
            LeafValues::Integer(values) => column::<Int64Type, W>(group, values, levels)?,
            LeafValues::Number(values) => column::<DoubleType, W>(group, values, levels)?,
            LeafValues::Boolean(values) => column::<BoolType, W>(group, values, levels)?,
        }
        self.definitions.clear();
        self.repetitions.clear();
        Ok(())
    }
}

fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &mut Vec<T::T>,
    (definitions, repetitions): (&Vec<i16>, Option<&Vec<i16>>),
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("the row group has too few columns".to_owned());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    let repetitions = repetitions.map(Vec::as_slice);
    column.typed::<T>().write_batch(values, Some(definitions), repetitions)?;
    column.close()?;
    values.clear();
    Ok(())
}
