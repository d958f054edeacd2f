//! The errors of rollouts, summed up on standard error.

use guerdon_types::{Problem, RolloutResult};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::output::errln;

/// Most errors that are printed.
const SHOWN: usize = 3;

/// Longest text of a printed error, in characters.
const SHOWN_CHARS: usize = 300;

/// The number of rollouts without a reward, and their first errors. Errors with the same code and
/// the same pointer count as one kind, of which the first is shown.
#[derive(Debug, Default)]
pub(super) struct ErrorReport {
    pub(super) unscored: usize,
    kinds: Vec<Problem>,
    /// Set if there are more kinds than are shown.
    has_more: bool,
}

#[derive(Deserialize)]
struct ScoredLine {
    reward: Option<IgnoredAny>,
    #[serde(default)]
    error: Option<Problem>,
}

impl ErrorReport {
    /// The report of a run that had finished before: only the number is known.
    pub(super) fn of_finished(unscored: usize) -> Self {
        Self { unscored, ..Self::default() }
    }

    pub(super) fn note(&mut self, result: &RolloutResult) {
        if result.reward.is_none() {
            self.add(result.error.as_ref());
        }
    }

    /// As [`ErrorReport::note`], for the JSON text of a result.
    pub(super) fn note_json(&mut self, result: &[u8]) -> serde_json::Result<()> {
        let outcome: ScoredLine = serde_json::from_slice(result)?;
        if outcome.reward.is_none() {
            self.add(outcome.error.as_ref());
        }
        Ok(())
    }

    fn add(&mut self, error: Option<&Problem>) {
        self.unscored += 1;
        let Some(error) = error else { return };
        let is_known = |one: &Problem| one.code == error.code && one.pointer == error.pointer;
        if self.kinds.iter().any(is_known) {
            return;
        }
        if self.kinds.len() < SHOWN {
            self.kinds.push(error.clone());
        } else {
            self.has_more = true;
        }
    }

    /// Prints the report, if a rollout has no reward.
    pub(super) fn print(&self, total: usize) {
        for Problem { detail, pointer, hint, .. } in &self.kinds {
            let at = pointer.as_deref().filter(|pointer| !pointer.is_empty());
            let at = at.map(|pointer| format!(" (at `{pointer}`)")).unwrap_or_default();
            errln!("{}{at}", one_line(detail));
            if let Some(hint) = hint {
                errln!("  help: {}", one_line(hint));
            }
        }
        if self.has_more {
            errln!("...");
        }
        if self.unscored > 0 {
            errln!("{} of {total} rollouts have no reward; see their `error`", self.unscored);
        }
    }
}

/// The beginning of a text without control characters, which could change the terminal's state.
pub(super) fn one_line(text: &str) -> String {
    let shown = guerdon_text::cut(text, SHOWN_CHARS);
    shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
