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

/// The end of a step, until the mark is written: a character that Unicode reserves for such uses.
/// The mark itself would be taken for a text of the reply, which must not hold special tokens.
pub(crate) const STEP: char = '\u{FDD0}';

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

    /// The reply with [`STEP`] after each step. Empty steps are left out.
    pub(crate) fn marked(&self, reply: &str) -> String {
        let reply = reply.replace(STEP, "\u{FFFD}");
        let steps = reply.split(self.split.as_str()).filter(|step| !step.trim().is_empty());
        let steps: Vec<String> = steps.map(|step| format!("{step}{STEP}")).collect();
        steps.join(&self.join)
    }
}

/// The places of `token` in `ids` for which `own` is true.
pub(crate) fn step_places(ids: &[u32], token: u32, own: impl Fn(usize) -> bool) -> Arc<[u32]> {
    let found = (0u32..).zip(ids).enumerate().filter(|(at, (_, id))| **id == token && own(*at));
    found.map(|(_, (place, _))| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str) -> StepFormat {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn every_step_is_followed_by_a_mark() {
        let qwen = format("mark = \"<extra_0>\"");
        let marked =
            |format: &StepFormat, reply: &str| format.marked(reply).replace(STEP, &format.mark);
        assert_eq!(marked(&qwen, "one\n\n \n\ntwo\nlines"), "one<extra_0>two\nlines<extra_0>");
        assert_eq!(marked(&qwen, " \n\n"), "");
        // A reply cannot write the end of a step itself.
        assert_eq!(marked(&qwen, "a\u{FDD0}b"), "a\u{FFFD}b<extra_0>");
        let shepherd = format("split = \"\\n\"\nmark = \" ки\"\njoin = \"\\n\"");
        assert_eq!(marked(&shepherd, "Step 1\nStep 2"), "Step 1 ки\nStep 2 ки");
        assert_eq!(shepherd.token(), TokenRef::Text("ки".to_owned()));
    }

    #[test]
    fn places_are_those_of_own_marks_and_empty_keys_are_refused() {
        assert_eq!(step_places(&[7, 1, 7, 2, 7, 3], 7, |place| place != 2)[..], [0, 4]);
        assert!(step_places(&[1, 2], 7, |_| true).is_empty());
        let refused = |text: &str| format(text).check().unwrap_err();
        assert!(refused("mark = \" \"").contains("`input.steps.mark` is empty"));
        assert!(refused("split = \"\"\nmark = \"m\"").contains("`input.steps.split` is empty"));
    }
}
