//! The errors of rollouts, summed up on standard error.

use guerdon_types::{Finite, Problem, RolloutResult};
use serde::Deserialize;

use super::pairs::PairTally;
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
    /// The number of results that were noted.
    noted: usize,
    pairs: PairTally,
    kinds: Vec<Problem>,
    /// Set if there are more kinds than are shown.
    has_more: bool,
}

#[derive(Deserialize)]
struct ScoredLine {
    reward: Option<f64>,
    #[serde(default)]
    error: Option<Problem>,
}

impl ErrorReport {
    /// An empty report of a run over preference pairs.
    pub(super) fn new(pairs: PairTally) -> Self {
        Self { pairs, ..Self::default() }
    }

    /// The report of a run that had finished before: only the number is known.
    pub(super) fn of_finished(unscored: usize) -> Self {
        Self { unscored, ..Self::default() }
    }

    pub(super) fn note(&mut self, result: &RolloutResult) {
        self.add(result.reward.map(Finite::get), result.error.as_ref());
    }

    /// As [`ErrorReport::note`], for the JSON text of a result.
    pub(super) fn note_json(&mut self, result: &[u8]) -> serde_json::Result<()> {
        let outcome: ScoredLine = serde_json::from_slice(result)?;
        self.add(outcome.reward, outcome.error.as_ref());
        Ok(())
    }

    fn add(&mut self, reward: Option<f64>, error: Option<&Problem>) {
        self.pairs.note(self.noted, reward);
        self.noted += 1;
        if reward.is_some() {
            return;
        }
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
        self.pairs.print();
    }
}

/// The beginning of a text without control characters, which could change the terminal's state.
pub(super) fn one_line(text: &str) -> String {
    let shown = guerdon_text::cut(text, SHOWN_CHARS);
    shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
