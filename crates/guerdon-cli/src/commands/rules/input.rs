//! Reads rollouts from a file, one JSON object per line; `-` is standard input.

use std::path::Path;

use anyhow::Context as _;
use guerdon_rules::LabelledRollout;
use guerdon_types::Rollout;

use crate::commands::setup::{input_text, without_mark};

pub(super) fn rollouts(file: &Path) -> anyhow::Result<Vec<Rollout>> {
    let text = input_text(file)?;
    let mut rollouts = Vec::new();
    for (number, line) in (1..).zip(without_mark(&text).lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let place = || format!("{} line {number} is not a rollout", file.display());
        // Labels may stand in any file of rollouts; only `eval` and `label` use them.
        let labelled =
            LabelledRollout::parse(line).map_err(anyhow::Error::msg).with_context(place)?;
        rollouts.push(labelled.rollout);
    }
    Ok(rollouts)
}
