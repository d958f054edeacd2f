//! The settings of a run, in its folder. The first worker writes them, and every other one compares
//! its own with them, so that no folder mixes the parts of two runs.

use anyhow::{Context as _, bail};
use guerdon_types::ScoreRequest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::place::{Creation, Place};
use super::plan::Plan;
use crate::commands::score::file_out::different_keys;
use crate::commands::score::rows::RowOptions;

const NAME: &str = "_run.json";

/// The settings that all workers share.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RunRecord {
    /// The hash of the names of all parts.
    input: String,
    parts: usize,
    /// The settings of the requests and of the reading of rows.
    settings: Value,
    /// The versions that make the rewards, if the server reports them.
    pub(super) versions: Option<Value>,
}

impl RunRecord {
    pub(super) fn new(
        plan: &Plan,
        template: &ScoreRequest,
        options: &RowOptions,
        versions: Option<Value>,
    ) -> anyhow::Result<Self> {
        let mut settings = serde_json::to_value(template)?;
        if let Value::Object(settings) = &mut settings {
            settings.extend(options.settings());
        }
        Ok(Self { input: plan.hash(), parts: plan.ranges.len(), settings, versions })
    }

    /// The digest of the configuration.
    pub(super) fn digest(&self) -> Option<&str> {
        self.versions.as_ref()?.get("digest")?.as_str()
    }

    /// Writes the record, or compares it with the one that is there.
    ///
    /// # Errors
    /// The folder has the record of another run.
    pub(super) fn agree(&self, output: &Place) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        if output.create(NAME, &text)? == Creation::New {
            return Ok(());
        }
        let there = output.content(NAME)?;
        let there: Self = serde_json::from_slice(&there)
            .with_context(|| format!("{}/{NAME} is not the record of a run", output.name()))?;
        let differences = self.differences(&there);
        if differences.is_empty() {
            return Ok(());
        }
        bail!(
            "{} has the parts of another run: {}\n  help: name another folder for the parts",
            output.name(),
            differences.join("; ")
        )
    }

    /// The differences to the record that is there, in words.
    fn differences(&self, there: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if (&self.input, self.parts) != (&there.input, there.parts) {
            found.push(format!(
                "the input is another one ({} parts, {} there)",
                self.parts, there.parts
            ));
        }
        for key in different_keys(Some(&self.settings), Some(&there.settings)) {
            let shown = |settings: &Value| match settings.get(&key) {
                Some(value) => guerdon_text::cut(&value.to_string(), 80).into_owned(),
                None => "not set".to_owned(),
            };
            let (own, other) = (shown(&self.settings), shown(&there.settings));
            found.push(format!("`{key}` is {own}, and {other} there"));
        }
        if self.versions != there.versions {
            let keys = different_keys(self.versions.as_ref(), there.versions.as_ref());
            found.push(format!("the versions that score are others ({})", keys.join(", ")));
        }
        found
    }
}
