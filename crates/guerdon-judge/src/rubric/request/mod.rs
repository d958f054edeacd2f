//! Rubrics that come with rollouts. Their criteria are put into a built-in prompt, so that they are
//! asked as those of prompt files are: sealed, with levels and evidence, from the same cache and
//! within the same budgets.
//!
//! The texts of the criteria come from the trainer. They stand in the system message, escaped and on
//! one line each, so that a criterion that quotes a dialogue opens no block and no other criterion.

mod build;
mod prompt;
#[cfg(test)]
mod tests;
mod weigh;

use std::sync::Arc;

use guerdon_types::{CheckedRubric, Finite, Invalid, RubricCriterion};
use serde::{Deserialize, Serialize};

use self::prompt::RequestPrompt;
use crate::rubric::Rubric;
use crate::rubric::dropout::Dropout;

/// The relation of a rollout's rubric to the prompts of its profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RubricMode {
    /// Both are asked, and their points are added.
    #[default]
    Beside,
    /// The rubric is asked in place of the prompts. A rollout without one is judged by the prompts.
    Instead,
}

/// The way in which a judge source asks the rubrics of rollouts.
#[derive(Debug, Clone)]
pub struct RequestRubrics {
    pub(crate) mode: RubricMode,
    /// Points of a rubric with weights that is met in full.
    pub(crate) points: Finite,
    /// Hash of the file that has rubrics by prompt.
    file: Option<String>,
    /// `None` if the built-in prompt does not compile, which a test excludes.
    prompt: Option<Arc<RequestPrompt>>,
}

/// A rollout's rubric, ready to be asked.
#[derive(Debug)]
pub(crate) struct RequestRubric {
    pub(crate) rubric: Arc<Rubric>,
    checked: CheckedRubric,
    /// Points of the rubric if it is met in full; unused with levels.
    points: Finite,
}

impl RequestRubrics {
    /// Rubrics in this relation to the prompts. A rubric with weights that is met in full is worth
    /// `points`.
    #[must_use]
    pub fn new(mode: RubricMode, points: Finite) -> Self {
        Self { mode, points, file: None, prompt: RequestPrompt::compile().map(Arc::new) }
    }

    /// Notes the hash of the file that has rubrics by prompt, which is a part of the source's
    /// identity.
    #[must_use]
    pub fn of_file(self, file: Option<String>) -> Self {
        Self { file, ..self }
    }

    /// The hash of the built-in prompt (`sha256:…`).
    pub(crate) fn version() -> String {
        prompt::version()
    }

    /// Everything of them that shapes points.
    pub(crate) fn identity(&self) -> serde_json::Value {
        let Self { mode, points, file, prompt: _ } = self;
        let prompt = prompt::version();
        serde_json::json!({ "prompt": prompt, "mode": mode, "points": points, "file": file })
    }

    /// The rubric of these criteria.
    ///
    /// # Errors
    /// The law that does not hold.
    pub(crate) fn build(
        &self,
        criteria: &[RubricCriterion],
        dropout: Option<Dropout>,
    ) -> Result<RequestRubric, String> {
        let fault = |invalid: Invalid| format!("{}: {}", invalid.pointer, invalid.detail);
        let mut checked = CheckedRubric::new(criteria).map_err(fault)?;
        if let Some(kept) = dropout.map(|dropout| dropout.kept_of_rollout(&checked)) {
            let named = criteria
                .iter()
                .enumerate()
                .map(|(place, one)| RubricCriterion { id: Some(one.name(place)), ..one.clone() });
            let kept = named.zip(kept).filter_map(|(one, is_kept)| is_kept.then_some(one));
            checked = CheckedRubric::new(&kept.collect::<Vec<_>>()).map_err(fault)?;
        }
        let prompt = self.prompt.as_ref();
        let prompt = prompt.ok_or("the built-in prompt does not compile")?;
        let rubric = Arc::new(prompt.with(&checked));
        Ok(RequestRubric { rubric, checked, points: self.points })
    }
}
