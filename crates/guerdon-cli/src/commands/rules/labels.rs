//! Labelled rollouts: the labels in a file of rollouts, and those in the CSV file next to it.
//!
//! `guerdon rules label` appends its labels to the CSV file, so that a crash loses none and the
//! rollouts stay as they are. Its columns are `rollout` (the id, or the index from 0), `turn` (the
//! index of the message), `rule` (`pack/rule`, `pack/*` or `*`) and `label` (`true` or `false`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use guerdon_rules::LabelledRollout;
use guerdon_types::Rollout;
use serde::{Deserialize, Serialize};

use crate::commands::setup::{read, without_mark};

/// A line of a file of labels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelRow {
    pub(super) rollout: String,
    pub(super) turn: usize,
    pub(super) rule: String,
    pub(super) label: bool,
}

/// The name of a rollout in a file of labels: its id, or its index.
pub(super) fn name_of(rollout: &Rollout, index: usize) -> String {
    rollout.id.as_ref().map_or_else(|| index.to_string(), ToString::to_string)
}

/// The file of labels that belongs to a file of rollouts: `x.labels.csv` for `x.jsonl`.
pub(super) fn file_for(rollouts: &Path) -> PathBuf {
    rollouts.with_extension("labels.csv")
}

/// Reads rollouts with the labels in their lines, and the labels of `csv` if it exists. A label of
/// the CSV file replaces one of a line.
pub(super) fn labelled(file: &Path, csv: &Path) -> anyhow::Result<Vec<LabelledRollout>> {
    let text = crate::commands::setup::input_text(file)?;
    let mut rollouts = Vec::new();
    for (number, line) in (1..).zip(without_mark(&text).lines()) {
        if !line.trim().is_empty() {
            let labelled = LabelledRollout::parse(line)
                .map_err(|error| anyhow::anyhow!("{} line {number}: {error}", file.display()))?;
            rollouts.push(labelled);
        }
    }
    if csv.exists() {
        add(&mut rollouts, csv)?;
    }
    Ok(rollouts)
}

fn add(rollouts: &mut [LabelledRollout], csv: &Path) -> anyhow::Result<()> {
    let text = read(csv)?;
    let mut named: HashMap<String, usize> = HashMap::new();
    for (index, labelled) in rollouts.iter().enumerate() {
        if named.insert(name_of(&labelled.rollout, index), index).is_some() {
            let name = name_of(&labelled.rollout, index);
            bail!("two rollouts are called `{name}`; labels need a distinct id for each rollout");
        }
    }
    let mut reader = csv::Reader::from_reader(without_mark(&text).as_bytes());
    for row in reader.deserialize::<LabelRow>() {
        let row = row.with_context(|| format!("{} is not a file of labels", csv.display()))?;
        let place = || format!("{}: rollout {}, turn {}", csv.display(), row.rollout, row.turn);
        let labelled = named.get(&row.rollout).and_then(|index| rollouts.get_mut(*index));
        let Some(labelled) = labelled else {
            bail!("{}: there is no such rollout", place());
        };
        let scored = labelled.rollout.turns_to_score().unwrap_or_default();
        if !scored.contains(&row.turn) {
            bail!("{}: the turn is not scored", place());
        }
        let labels = labelled.turns.entry(row.turn).or_default();
        labels.set(&row.rule, row.label).map_err(anyhow::Error::msg).with_context(place)?;
    }
    Ok(())
}
