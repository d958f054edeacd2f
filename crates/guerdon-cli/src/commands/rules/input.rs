//! Reads rollouts from a file, one JSON object per line; `-` is standard input.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use guerdon_rules::LabelledRollout;
use guerdon_types::Rollout;

use crate::commands::setup::{read, without_mark};

/// The text of a file, or of standard input.
pub(super) fn text(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        Ok(text)
    } else {
        read(file)
    }
}

pub(super) fn rollouts(file: &Path) -> anyhow::Result<Vec<Rollout>> {
    let text = text(file)?;
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
