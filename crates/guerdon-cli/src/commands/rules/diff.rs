//! `guerdon rules diff`: the effect of an edit on the points of rollouts.

use std::process::ExitCode;

use crate::output::outln;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use guerdon_rules::{Diff, HitChange, TurnChange};
use guerdon_types::Rollout;

pub(super) fn print(
    diff: &Diff,
    rollouts: &[Rollout],
    examples: usize,
    json: bool,
) -> anyhow::Result<ExitCode> {
    if json {
        outln!("{}", serde_json::to_string_pretty(diff)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    outln!(
        "{} turns, {} with other points; {} points in all, {} before",
        diff.turns,
        diff.changed,
        diff.after,
        diff.before
    )?;
    if diff.rules.is_empty() {
        outln!("no rule differs")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "rule",
        "gained",
        "lost",
        "other points",
        "now undecided",
        "now decided",
        "before",
        "after",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for rule in &diff.rules {
        let counts = [rule.gained, rule.lost, rule.repriced, rule.undecided[0], rule.undecided[1]];
        let points = rule.points.map(|points| points.to_string());
        table.add_row(
            [rule.rule.clone()]
                .into_iter()
                .chain(counts.map(|count| count.to_string()))
                .chain(points),
        );
    }
    outln!("{table}")?;
    for change in diff.examples.iter().take(examples) {
        outln!("{}", described(change, rollouts))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn described(change: &TurnChange, rollouts: &[Rollout]) -> String {
    let rollout = rollouts.get(change.rollout);
    let name = rollout
        .and_then(|r| r.id.as_ref())
        .map_or_else(|| change.rollout.to_string(), ToString::to_string);
    let content = rollout
        .and_then(|r| r.messages.get(change.turn))
        .map(|m| m.content.as_str())
        .unwrap_or_default();
    let shown: String = content.chars().take(100).collect();
    let rules: Vec<String> = change.rules.iter().map(rule).collect();
    let [before, after] = change.points;
    format!(
        "{name} turn {}: {before} -> {after}   {}\n    {}",
        change.turn,
        rules.join(", "),
        shown.escape_debug()
    )
}

fn rule(change: &HitChange) -> String {
    match (change.before, change.after) {
        (None, Some(after)) => format!("+ {} {after}", change.rule),
        (Some(before), None) => format!("- {} {before}", change.rule),
        (before, after) => {
            format!("{} {} -> {}", change.rule, before.unwrap_or(0.0), after.unwrap_or(0.0))
        }
    }
}
