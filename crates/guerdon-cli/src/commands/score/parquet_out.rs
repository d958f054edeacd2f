//! Results as a Parquet file: one row a rollout.

use std::io::Write;
use std::path::Path;

use guerdon_parquet::{Column, RowWriter};
use serde_json::{Map, Value, json};

/// True if a file of this name is written as Parquet.
pub(crate) fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
}

/// Writes results.
pub(super) struct ParquetOutput<'a> {
    rows: RowWriter<&'a mut (dyn Write + Send)>,
    /// Leaves out what depends on the calls, and not on the rollout and the configuration.
    is_part: bool,
}

impl<'a> ParquetOutput<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send), is_part: bool) -> anyhow::Result<Self> {
        let columns = vec![
            Column::text("id"),
            Column::number("reward"),
            Column::number("advantage"),
            Column::text("error"),
            Column::list("turns", turn_columns()),
        ];
        Ok(Self { rows: RowWriter::new(out, columns)?, is_part })
    }

    /// Adds the JSON text of a result.
    pub(super) fn write(&mut self, result: &[u8]) -> anyhow::Result<()> {
        let mut result: Map<String, Value> = serde_json::from_slice(result)?;
        let text = |value: Value| Value::String(value.to_string());
        if let Some(error) = result.get_mut("error").filter(|error| !error.is_null()) {
            *error = text(error.take());
        }
        if let Some(Value::Array(turns)) = result.get_mut("turns") {
            for turn in turns {
                if self.is_part
                    && let Some(Value::Object(judge)) = turn.get_mut("judge")
                {
                    judge.remove("cached");
                }
                *turn = columns_of(turn);
            }
        }
        Ok(self.rows.write(&result)?)
    }

    /// Adds a text at the end of the file.
    pub(super) fn note(&mut self, name: &str, text: &str) {
        self.rows.note(name, text);
    }

    pub(super) fn finish(self) -> anyhow::Result<()> {
        Ok(self.rows.finish()?)
    }
}

/// The columns of a turn.
pub(crate) fn turn_columns() -> Vec<Column> {
    vec![
        Column::integer("index"),
        Column::number("reward"),
        Column::number("enhancement"),
        Column::number("rm_score"),
        Column::number("judge_points"),
        Column::number("rules_points"),
        Column::text("json"),
    ]
}

/// The values of the columns of a turn. `json` has all of it, with the evidence.
pub(crate) fn columns_of(turn: &Value) -> Value {
    let number = |pointer: &str| turn.pointer(pointer).cloned().unwrap_or_default();
    json!({
        "index": number("/index"),
        "reward": number("/reward"),
        "enhancement": number("/enhancement"),
        "rm_score": number("/rm/score"),
        "judge_points": number("/judge/points"),
        "rules_points": number("/rules/points"),
        "json": turn.to_string(),
    })
}
