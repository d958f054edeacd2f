//! `guerdon ledger query`: a table of rollouts.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use guerdon_ledger::{ReadRollouts, RolloutFilter, StoredRollout};

use super::row;
use crate::output::outln;

/// The longest name that is printed, in characters.
const MAX_NAME: usize = 24;

pub(super) fn run(
    reader: &dyn ReadRollouts,
    filter: &RolloutFilter,
    limit: usize,
    json: bool,
) -> anyhow::Result<()> {
    let found = reader.rollouts(filter, limit)?;
    if json {
        for stored in &found {
            outln!("{}", row::line(stored)?)?;
        }
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header([
        "number", "recorded", "run", "step", "group", "rollout", "profile", "reward", "error",
    ]);
    for place in [0, 3, 7] {
        if let Some(column) = table.column_mut(place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for stored in &found {
        table.add_row(cells(stored));
    }
    outln!("{table}")?;
    Ok(())
}

fn cells(stored: &StoredRollout) -> [String; 9] {
    let name = |text: Option<&str>| {
        text.map_or_else(
            || "-".to_owned(),
            |text| guerdon_text::cut(text, MAX_NAME).escape_debug().to_string(),
        )
    };
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
    let error = stored.result.error.as_ref().map(|problem| problem.code.as_str());
    [
        stored.id.to_string(),
        time(stored.recorded_ms),
        name(stored.labels.run.as_deref()),
        stored.labels.step.map_or_else(|| "-".to_owned(), |step| step.to_string()),
        name(stored.group.as_deref()),
        name(Some(stored.result.id.as_str())),
        name(Some(stored.versions.profile.as_str())),
        number(stored.result.reward.map(Into::into)),
        name(error),
    ]
}

/// A time in UTC, to the second.
fn time(ms: i64) -> String {
    let since = std::time::Duration::from_millis(u64::try_from(ms).unwrap_or_default());
    match std::time::SystemTime::UNIX_EPOCH.checked_add(since) {
        Some(time) => humantime::format_rfc3339_seconds(time).to_string(),
        None => "-".to_owned(),
    }
}
