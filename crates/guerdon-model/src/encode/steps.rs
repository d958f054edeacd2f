//! Steps of a reply, for process reward models: a mark after each step holds the step's score.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::load::output::TokenRef;

/// The section `[input.steps]` of the manifest. The scored message is split into steps, and a mark
/// is written after each of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StepFormat {
    /// The text between two steps of a reply. Default: an empty line.
    #[serde(default = "empty_line")]
    pub split: String,
    /// The text that is written after each step. Its token holds the step's score.
    pub mark: String,
    /// The text that is written between a mark and the next step. Default: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub join: String,
    /// The token of `mark` at which the score is read. Default: `mark` without spaces around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenRef>,
}

fn empty_line() -> String {
    "\n\n".to_owned()
}

impl StepFormat {
    /// Checks the section. The error names the key and the fix.
    pub(crate) fn check(&self) -> Result<(), String> {
        let empty = |key: &str, text: &str| match text.is_empty() {
            true => {
                Err(format!("`input.steps.{key}` is empty; give it the text that it stands for"))
            }
            false => Ok(()),
        };
        empty("split", &self.split)?;
        empty("mark", self.mark.trim())
    }

    /// The token at which a step's score is read.
    pub(crate) fn token(&self) -> TokenRef {
        self.token.clone().unwrap_or_else(|| TokenRef::Text(self.mark.trim().to_owned()))
    }

    /// The reply with a mark after each step. Empty steps are left out.
    pub(crate) fn marked(&self, reply: &str) -> String {
        let steps = reply.split(self.split.as_str()).filter(|step| !step.trim().is_empty());
        let steps: Vec<String> = steps.map(|step| format!("{step}{}", self.mark)).collect();
        steps.join(&self.join)
    }
}

/// The last `count` places of `token` in `ids`: those of the scored message, which is the last one.
pub(crate) fn step_places(ids: &[u32], token: u32, count: usize) -> Arc<[u32]> {
    let mut places: Vec<u32> =
        (0u32..).zip(ids).filter(|(_, id)| **id == token).map(|(place, _)| place).collect();
    places.drain(..places.len().saturating_sub(count));
    places.into()
}
