//! Reads rollouts from a file, one JSON object per line; `-` is standard input.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use guerdon_types::Rollout;

use crate::commands::setup::{read, without_mark};

pub(super) fn rollouts(file: &Path) -> anyhow::Result<Vec<Rollout>> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        text
    } else {
        read(file)?
    };
    let mut rollouts = Vec::new();
    for (number, line) in (1..).zip(without_mark(&text).lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let place = || format!("{} line {number} is not a rollout", file.display());
        let rollout: Rollout = serde_json::from_str(line).with_context(place)?;
        rollout
            .turns_to_score()
            .map_err(|error| anyhow::anyhow!(error.detail))
            .with_context(place)?;
        rollouts.push(rollout);
    }
    Ok(rollouts)
}
