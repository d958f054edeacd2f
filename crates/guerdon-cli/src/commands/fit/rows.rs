//! The lines of a reference set: rollouts, stored results, or plain numbers.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use guerdon_types::{Rollout, RolloutId, RolloutResult, TurnResult};
use serde::Deserialize;
use serde_json::Value;

use super::score::scored;
use crate::cli::FitArgs;
use crate::commands::setup::{input_text, without_mark};

/// One value of a reference set, or one scored turn.
#[derive(Debug)]
pub(super) enum ReferenceRow {
    Number(ReferenceNumber),
    Turn {
        turn: Box<TurnResult>,
        /// The length of the reply in Unicode scalar values, if the dialogue is known.
        length: Option<usize>,
    },
}

/// A number of the caller's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReferenceNumber {
    pub(super) value: f64,
    /// The length of the reply in Unicode scalar values.
    pub(super) length: Option<usize>,
}

/// Reads the reference set. Rollouts are scored in this process.
pub(super) fn read_rows(args: &FitArgs) -> anyhow::Result<Vec<ReferenceRow>> {
    let lines = lines(&args.on)?;
    let dialogues = args.rollouts.as_deref().map(dialogues).transpose()?.unwrap_or_default();
    let mut rows = Vec::new();
    let mut rollouts = Vec::new();
    for (place, line) in lines {
        let parsed: Value = serde_json::from_str(&line).with_context(|| place.clone())?;
        if parsed.get("value").is_some() {
            rows.push(ReferenceRow::Number(serde_json::from_value(parsed).with_context(|| place)?));
        } else if parsed.get("turns").is_some() {
            let result: RolloutResult = serde_json::from_value(parsed).with_context(|| place)?;
            let dialogue = dialogues.get(&result.id);
            rows.extend(turns(result, dialogue));
        } else if parsed.get("messages").is_some() {
            let rollout: Rollout = serde_json::from_value(parsed).with_context(|| place)?;
            rollouts.push(rollout);
        } else if parsed.get("versions").is_none() {
            bail!("{place}: this is no rollout, result or value; see --help");
        }
    }
    for (rollout, result) in scored(args, rollouts)? {
        rows.extend(turns(result, Some(&rollout)));
    }
    ensure!(!rows.is_empty(), "{} has no scored turn and no value", args.on.display());
    Ok(rows)
}

/// The turns of a result, with the lengths of the replies.
fn turns(result: RolloutResult, dialogue: Option<&Rollout>) -> Vec<ReferenceRow> {
    let length =
        |turn: &TurnResult| Some(dialogue?.messages.get(turn.index)?.content.chars().count());
    let row = |turn| ReferenceRow::Turn { length: length(&turn), turn: Box::new(turn) };
    result.turns.into_iter().map(row).collect()
}

/// The rollouts of a file by their ids, or by their indices.
fn dialogues(path: &Path) -> anyhow::Result<HashMap<RolloutId, Rollout>> {
    let rollouts = lines(path)?.into_iter().enumerate().map(|(index, (place, line))| {
        let rollout: Rollout = serde_json::from_str(&line).with_context(|| place)?;
        let id = rollout.id.clone().unwrap_or_else(|| RolloutId::from(index.to_string()));
        Ok((id, rollout))
    });
    rollouts.collect()
}

/// The lines that are not blank, each with its place.
fn lines(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let text = input_text(path)?;
    let numbered = without_mark(&text).lines().enumerate();
    let filled = numbered.filter(|(_, line)| !line.trim().is_empty());
    Ok(filled
        .map(|(number, line)| (format!("{}:{}", path.display(), number + 1), line.to_owned()))
        .collect())
}
