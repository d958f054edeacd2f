//! `guerdon rules diff`: the effect of an edit on the points of rollouts.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::{DiffFusion, DiffKind};
use crate::commands::setup::input_text;
use crate::output::{errln, outln};
use anyhow::Context as _;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use guerdon_rules::{Diff, GroupChange, HitChange, RecordedParts, TurnChange};
use guerdon_types::{FusionConfig, FusionMethod, Rollout, RolloutResult};

/// The parts of the other sources in a file of results.
pub(super) fn recorded(
    rollouts: &[Rollout],
    file: &Path,
    fusion: DiffFusion,
) -> anyhow::Result<RecordedParts> {
    let text = input_text(file)?;
    let mut results: Vec<RolloutResult> = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{} line {number} is not a result of `score`", file.display());
        results.push(serde_json::from_str(line).with_context(place)?);
    }
    let method = match fusion {
        DiffFusion::Gated => FusionMethod::Gated,
        DiffFusion::Repo => FusionMethod::Repo,
        DiffFusion::WeightedSum => FusionMethod::WeightedSum,
    };
    let fusion = FusionConfig { method, ..FusionConfig::default() };
    RecordedParts::of(rollouts, &results, fusion)
        .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
}

pub(super) fn print(
    diff: &Diff,
    rollouts: &[Rollout],
    examples: usize,
    json: bool,
    fail_on: &[DiffKind],
) -> anyhow::Result<ExitCode> {
    if json {
        outln!("{}", serde_json::to_string_pretty(diff)?)?;
    } else {
        text(diff, rollouts, examples)?;
    }
    let found: Vec<&str> =
        fail_on.iter().filter(|kind| kind.is_in(diff)).map(|kind| kind.name()).collect();
    if found.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    errln!("the edit changes: {}", found.join(", "));
    Ok(ExitCode::FAILURE)
}

impl DiffKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Points => "points",
            Self::Veto => "veto",
            Self::Shadow => "shadow",
            Self::Reward => "reward",
            Self::Rank => "rank",
            Self::Undecided => "undecided",
        }
    }

    /// Returns true if a diff has a change of this kind.
    fn is_in(self, diff: &Diff) -> bool {
        let pair = |of: [usize; 2]| of.iter().sum::<usize>() > 0;
        match self {
            Self::Points => {
                diff.rules.iter().any(|rule| rule.gained + rule.lost + rule.repriced > 0)
            }
            Self::Veto => diff.rules.iter().any(|rule| pair(rule.vetoed)),
            Self::Shadow => diff.rules.iter().any(|rule| pair(rule.shadow)),
            Self::Reward => diff.rewarded > 0,
            Self::Rank => !diff.groups.is_empty(),
            Self::Undecided => diff.rules.iter().any(|rule| pair(rule.undecided)),
        }
    }
}

fn text(diff: &Diff, rollouts: &[Rollout], examples: usize) -> std::io::Result<()> {
    outln!(
        "{} turns, {} with other points; {} points in all, {} before",
        diff.turns,
        diff.changed,
        diff.after,
        diff.before
    )?;
    let [before, after] = diff.vetoes;
    outln!(
        "{} turns with another reward; {after} turns with a veto, {before} before",
        diff.rewarded
    )?;
    if diff.rules.is_empty() {
        return outln!("no rule differs");
    }
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "rule",
        "gained",
        "lost",
        "other points",
        "veto",
        "shadow",
        "now undecided",
        "now decided",
        "before",
        "after",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for rule in &diff.rules {
        let counts = [rule.gained, rule.lost, rule.repriced].map(|count| count.to_string());
        let pairs = [rule.vetoed, rule.shadow].map(|[gained, lost]| format!("+{gained} -{lost}"));
        let undecided = rule.undecided.map(|count| count.to_string());
        let points = rule.points.map(|points| points.to_string());
        table.add_row(
            [rule.rule.clone()]
                .into_iter()
                .chain(counts)
                .chain(pairs)
                .chain(undecided)
                .chain(points),
        );
    }
    outln!("{table}")?;
    if !diff.groups.is_empty() {
        outln!("{} groups in another order", diff.groups.len())?;
        for group in diff.groups.iter().take(examples) {
            outln!("{}", reordered(group, rollouts))?;
        }
    }
    for change in diff.examples.iter().take(examples) {
        outln!("{}", described(change, rollouts))?;
    }
    Ok(())
}

/// The greatest number of rollouts that are listed for a group.
const MAX_RANKS: usize = 8;

fn reordered(group: &GroupChange, rollouts: &[Rollout]) -> String {
    let rank = |rank: Option<usize>| rank.map_or_else(|| "-".to_owned(), |rank| rank.to_string());
    let ranks: Vec<String> = group
        .ranks
        .iter()
        .take(MAX_RANKS)
        .map(|change| {
            let [before, after] = change.ranks.map(rank);
            format!("{} {before} -> {after}", name_of(rollouts, change.rollout))
        })
        .collect();
    let more = group.ranks.len().saturating_sub(MAX_RANKS);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}: {} pairs swapped; ranks {}{more}", group.group, group.pairs, ranks.join(", "))
}

fn name_of(rollouts: &[Rollout], index: usize) -> String {
    rollouts
        .get(index)
        .and_then(|rollout| rollout.id.as_ref())
        .map_or_else(|| index.to_string(), ToString::to_string)
}

fn described(change: &TurnChange, rollouts: &[Rollout]) -> String {
    let rollout = rollouts.get(change.rollout);
    let name = name_of(rollouts, change.rollout);
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
    let side = |points: Option<f64>, veto: bool, shadow: bool| {
        let veto = if veto { " veto" } else { "" };
        let shadow = if shadow { " (shadow)" } else { "" };
        format!("{}{veto}{shadow}", points.unwrap_or(0.0))
    };
    let before = side(change.before, change.veto[0], change.shadow[0]);
    let after = side(change.after, change.veto[1], change.shadow[1]);
    match (change.before, change.after) {
        (None, Some(_)) => format!("+ {} {after}", change.rule),
        (Some(_), None) => format!("- {} {before}", change.rule),
        _ => format!("{} {before} -> {after}", change.rule),
    }
}
