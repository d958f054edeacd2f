//! Labelled rollouts: the labels in a file of rollouts, and those in the CSV file next to it.
//!
//! `guerdon rules label` appends its labels to the CSV file, so that a crash loses none and the
//! rollouts stay as they are. Its columns are `rollout` (the id, or the index from 0), `turn` (the
//! index of the message), `rule` (`pack/rule`, `pack/*` or `*`) and `label` (`true` or `false`).

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use guerdon_rules::{LabelledRollout, RulePacks};
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
    #[serde(deserialize_with = "truth")]
    pub(super) label: bool,
}

/// A truth value in any case, as spreadsheets write it.
fn truth<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(serde::de::Error::custom(format!("the label `{text}` is not true or false"))),
    }
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
    let mut lines = LabelledLines::default();
    for (number, line) in (1..).zip(without_mark(&text).lines()) {
        if !line.trim().is_empty() {
            let labelled = LabelledRollout::parse(line)
                .map_err(|error| anyhow::anyhow!("{} line {number}: {error}", file.display()))?;
            lines.add(number, &labelled).with_context(|| file.display().to_string())?;
            rollouts.push(labelled);
        }
    }
    if csv.exists() {
        add(&mut rollouts, csv)?;
    }
    Ok(rollouts)
}

/// The labels of earlier lines of a file.
#[derive(Debug, Default)]
struct LabelledLines {
    /// The number of each rollout, by its id and by its messages and context.
    rollouts: HashMap<String, usize>,
    /// The line and the label of each rule and turn of a rollout.
    labels: HashMap<(usize, usize, String), (usize, bool)>,
}

impl LabelledLines {
    /// Adds a line.
    ///
    /// # Errors
    /// The line contradicts an earlier one about the same rollout.
    fn add(&mut self, line: usize, labelled: &LabelledRollout) -> anyhow::Result<()> {
        let LabelledRollout { rollout, turns, .. } = labelled;
        if turns.is_empty() {
            return Ok(());
        }
        let content = serde_json::to_string(&(&rollout.messages, &rollout.context))?;
        let id = rollout.id.as_ref().map(|id| format!("id {id}"));
        for name in id.into_iter().chain([guerdon_text::sha256_hex(&content)]) {
            let next = self.rollouts.len();
            let index = *self.rollouts.entry(name).or_insert(next);
            for (turn, labels) in turns {
                for (rule, label) in labels.iter() {
                    let place = (index, *turn, rule.to_owned());
                    let (first, other) = *self.labels.entry(place).or_insert((line, label));
                    if other != label {
                        bail!(
                            "turn {turn} of one rollout: `{rule}` is {other} in line {first} and \
                             {label} in line {line}; remove one of them"
                        );
                    }
                }
            }
        }
        Ok(())
    }
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
    // The lines of the labels, to find two that contradict each other.
    let mut given: HashMap<(usize, usize, String), (usize, bool)> = HashMap::new();
    let mut reader = csv::Reader::from_reader(without_mark(&text).as_bytes());
    for (line, row) in (2..).zip(reader.deserialize::<LabelRow>()) {
        let row = row.with_context(|| format!("{} is not a file of labels", csv.display()))?;
        let place = || format!("{}: rollout {}, turn {}", csv.display(), row.rollout, row.turn);
        let index = named.get(&row.rollout).copied();
        let labelled = index.and_then(|index| Some((index, rollouts.get_mut(index)?)));
        let Some((index, labelled)) = labelled else {
            bail!("{}: there is no such rollout", place());
        };
        let scored = labelled.rollout.turns_to_score().unwrap_or_default();
        if !scored.contains(&row.turn) {
            bail!("{}: the turn is not scored", place());
        }
        let before = given.insert((index, row.turn, row.rule.clone()), (line, row.label));
        if let Some((first, label)) = before.filter(|(_, label)| *label != row.label) {
            bail!(
                "{}: `{}` is {label} in line {first} and {} in line {line}; remove one of them",
                place(),
                row.rule,
                row.label
            );
        }
        let labels = labelled.turns.entry(row.turn).or_default();
        labels.set(&row.rule, row.label).map_err(anyhow::Error::msg).with_context(place)?;
    }
    Ok(())
}

/// Checks that every label is about a rule of `packs`.
///
/// # Errors
/// The first label of another rule, with the nearest rule.
pub(super) fn check_rules(rollouts: &[LabelledRollout], packs: &RulePacks) -> anyhow::Result<()> {
    let summaries = packs.summaries();
    let mut known: BTreeSet<String> = BTreeSet::from(["*".to_owned()]);
    for pack in &summaries {
        known.insert(format!("{}/*", pack.id));
        known.extend(pack.rules.iter().map(|rule| format!("{}/{}", pack.id, rule.id)));
    }
    for (index, LabelledRollout { rollout, turns, .. }) in rollouts.iter().enumerate() {
        for (turn, labels) in turns {
            if let Some(rule) = labels.keys().find(|rule| !known.contains(*rule)) {
                let near = guerdon_text::did_you_mean(rule, known.iter().map(String::as_str));
                let near = near.map_or_else(String::new, |near| format!("; {near}"));
                let name = name_of(rollout, index);
                bail!("rollout {name}, turn {turn}: the packs have no rule `{rule}`{near}");
            }
        }
    }
    Ok(())
}
