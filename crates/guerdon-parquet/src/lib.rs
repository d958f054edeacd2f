//! Rows of Parquet files as JSON objects, read and written row by row.
//!
//! ```
//! use guerdon_parquet::{Column, RowReader, RowWriter};
//! use serde_json::json;
//!
//! let columns = vec![
//!     Column::text("id"),
//!     Column::number("reward"),
//!     Column::list("turns", vec![Column::integer("index")]),
//! ];
//! let row = json!({ "id": "a", "reward": null, "turns": [{ "index": 1 }, { "index": 3 }] });
//! let mut file = tempfile::tempfile()?;
//! let mut writer = RowWriter::new(&mut file, columns)?;
//! writer.write(row.as_object().unwrap())?;
//! writer.finish()?;
//! let rows: Vec<_> = RowReader::open(file)?.collect::<Result<_, _>>()?;
//! assert_eq!(rows, [row.as_object().unwrap().clone()]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | file | content |
//! |---|---|
//! | `columns.rs` | the columns of a file to write |
//! | `reader.rs` | reads rows |
//! | `layout.rs` | the row groups of a file, and files of which only some bytes are there |
//! | `writer.rs` | writes rows |
//! | `leaf.rs` | the values and levels of one column of a row group |
//! | `error.rs` | errors |

mod columns;
mod error;
mod layout;
mod leaf;
mod reader;
mod writer;

pub use self::columns::Column;
pub use self::error::Error;
pub use self::layout::{FileEnd, FileLayout, RowGroup, SparseFile, read_layout};
pub use self::reader::{MAGIC, RowReader};
pub use self::writer::RowWriter;
