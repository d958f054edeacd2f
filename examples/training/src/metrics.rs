//! The figures of a run: one JSON line per update.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The figures of one update. A figure that could not be measured is left out and never 0.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MetricsRow {
    /// The number of the update, from 1; 0 is before the first.
    pub update: usize,
    /// Figures by `stage/figure`.
    #[serde(flatten)]
    pub figures: BTreeMap<String, f64>,
}

impl MetricsRow {
    /// A row of `update` without figures.
    #[must_use]
    pub fn new(update: usize) -> Self {
        Self { update, figures: BTreeMap::new() }
    }

    /// Adds a figure.
    pub fn set(&mut self, name: impl Into<String>, figure: f64) {
        if figure.is_finite() {
            self.figures.insert(name.into(), figure);
        }
    }

    /// Adds the mean of some numbers, if there are any.
    pub fn mean(&mut self, name: impl Into<String>, of: impl IntoIterator<Item = f64>) {
        if let Some(mean) = mean(of) {
            self.set(name, mean);
        }
    }

    /// The figure `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }
}

/// The mean of some numbers; `None` if the list is empty.
pub fn mean(of: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = of.into_iter().fold((0.0, 0.0), |(sum, count), x| (sum + x, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// Reads `metrics.jsonl`; a missing file counts as empty.
///
/// # Errors
/// A line that is not a row.
pub fn load(file: &Path) -> anyhow::Result<Vec<MetricsRow>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = crate::files::read(file)?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line)
            .with_context(|| format!("{}:{} is not a row of figures", file.display(), number + 1))
    };
    text.lines().enumerate().map(parse).collect()
}

/// Writes `metrics.jsonl`, replacing its contents.
///
/// # Errors
/// A file that cannot be written.
pub fn save(file: &Path, rows: &[MetricsRow]) -> anyhow::Result<()> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row)?);
        text.push('\n');
    }
    crate::files::write(file, text.as_bytes())
}
