//! The columns of a file to write.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};

/// A column. Every value may be null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub(crate) name: String,
    pub(crate) kind: ColumnKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    Text,
    Integer,
    Number,
    Boolean,
    /// Objects with columns of their own.
    List(Vec<Column>),
}

impl Column {
    /// A column of texts.
    pub fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnKind::Text }
    }

    /// A column of integers of 64 bits.
    pub fn integer(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnKind::Integer }
    }

    /// A column of floating-point numbers of 64 bits.
    pub fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnKind::Number }
    }

    /// A column of truth values.
    pub fn boolean(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnKind::Boolean }
    }

    /// A column of lists. Each element is an object with the columns `columns`, at least one.
    pub fn list(name: impl Into<String>, columns: Vec<Self>) -> Self {
        Self { name: name.into(), kind: ColumnKind::List(columns) }
    }

    /// The number of columns without columns of their own, in this column.
    pub(crate) fn leaves(&self) -> usize {
        match &self.kind {
            ColumnKind::List(columns) => columns.iter().map(Self::leaves).sum(),
            _ => 1,
        }
    }

    /// The kinds of the leaves, in the order of the file, with the number of lists around each.
    pub(crate) fn kinds<'a>(&'a self, lists: usize, kinds: &mut Vec<(&'a ColumnKind, usize)>) {
        match &self.kind {
            ColumnKind::List(columns) => {
                columns.iter().for_each(|column| column.kinds(lists + 1, kinds));
            }
            kind => kinds.push((kind, lists)),
        }
    }

    fn schema(&self) -> Result<Type, ParquetError> {
        let leaf = |kind, logical| {
            Type::primitive_type_builder(&self.name, kind)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(logical)
                .build()
        };
        match &self.kind {
            ColumnKind::Text => leaf(PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            ColumnKind::Integer => leaf(PhysicalType::INT64, None),
            ColumnKind::Number => leaf(PhysicalType::DOUBLE, None),
            ColumnKind::Boolean => leaf(PhysicalType::BOOLEAN, None),
            ColumnKind::List(columns) => {
                let element = group("element", Repetition::REQUIRED, fields(columns)?)?;
                let list = group("list", Repetition::REPEATED, vec![Arc::new(element)])?;
                Type::group_type_builder(&self.name)
                    .with_repetition(Repetition::OPTIONAL)
                    .with_logical_type(Some(LogicalType::List))
                    .with_fields(vec![Arc::new(list)])
                    .build()
            }
        }
    }
}

fn group(name: &str, repetition: Repetition, fields: Vec<TypePtr>) -> Result<Type, ParquetError> {
    Type::group_type_builder(name).with_repetition(repetition).with_fields(fields).build()
}

fn fields(columns: &[Column]) -> Result<Vec<TypePtr>, ParquetError> {
    columns.iter().map(|column| column.schema().map(Arc::new)).collect()
}

/// The schema of a file with these columns.
pub(crate) fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let schema = Type::group_type_builder("rows").with_fields(fields(columns)?).build()?;
    Ok(Arc::new(schema))
}
