//! `guerdon ledger export`: rollouts as lines of JSON, or as rows of Parquet.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;
use guerdon_ledger::{ReadRollouts, RolloutFilter, StoredRollout};
use guerdon_parquet::{Column, RowWriter};
use serde_json::{Map, Value, json};

use super::row;
use super::select::for_each;
use crate::commands::score::{columns_of, is_parquet, turn_columns};
use crate::output::{errln, standard_output};

pub(super) fn run(
    reader: &dyn ReadRollouts,
    filter: &RolloutFilter,
    out: Option<&Path>,
) -> anyhow::Result<()> {
    let create = |out: &Path| {
        File::create_new(out).with_context(|| format!("cannot make {}", out.display()))
    };
    let count = match out {
        Some(out) if is_parquet(out) => parquet(reader, filter, create(out)?)?,
        Some(out) => lines(reader, filter, BufWriter::new(create(out)?))?,
        None => lines(reader, filter, BufWriter::new(standard_output()))?,
    };
    errln!("{count} rollouts written");
    Ok(())
}

fn lines(
    reader: &dyn ReadRollouts,
    filter: &RolloutFilter,
    mut out: impl Write,
) -> anyhow::Result<usize> {
    let mut count = 0;
    for_each(reader, filter, |stored| {
        count += 1;
        Ok(writeln!(out, "{}", row::line(&stored)?)?)
    })?;
    out.flush()?;
    Ok(count)
}

fn parquet(reader: &dyn ReadRollouts, filter: &RolloutFilter, out: File) -> anyhow::Result<usize> {
    let mut rows = RowWriter::new(BufWriter::new(out), columns())?;
    let mut count = 0;
    for_each(reader, filter, |stored| {
        count += 1;
        Ok(rows.write(&parquet_row(&stored)?)?)
    })?;
    rows.finish()?;
    Ok(count)
}

fn columns() -> Vec<Column> {
    let texts = |names: &[&str]| names.iter().map(|name| Column::text(*name)).collect::<Vec<_>>();
    let integers =
        ["number", "recorded_ms", "step", "attempt", "sample", "generation", "judge_calls"];
    let numbers = ["reward", "advantage", "cost", "scoring_ms"];
    let mut columns = texts(&["id", "run", "split", "group", "profile", "digest", "request_id"]);
    columns.extend(integers.map(Column::integer));
    columns.extend(numbers.map(Column::number));
    columns.extend(texts(&["error", "messages", "tools", "context"]));
    columns.push(Column::list("turns", turn_columns()));
    columns
}

/// A row: what is not a number, a name or a turn is a JSON text.
fn parquet_row(stored: &StoredRollout) -> anyhow::Result<Map<String, Value>> {
    let mut row = row::object(stored)?;
    for key in ["error", "messages", "tools", "context"] {
        if let Some(value) = row.get_mut(key).filter(|value| !value.is_null()) {
            *value = json!(value.to_string());
        }
    }
    if let Some(Value::Array(turns)) = row.get_mut("turns") {
        turns.iter_mut().for_each(|turn| *turn = columns_of(turn));
    }
    Ok(row)
}
