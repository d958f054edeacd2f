//! Preview of the messages that a judge would receive, for authors of prompts. All criteria of a
//! rubric are in file order, and the tag is made without a secret.

use guerdon_types::Rollout;

use crate::ask::case::{Case, RenderedDialogue};
use crate::ask::expected;
use crate::ask::nonce::Nonce;
use crate::ask::render::{RenderError, RenderInput, add_instructions};
use crate::ask::schema::Schema;
use crate::rubric::prompts::Prompts;
use crate::rubric::{Criterion, Reasoning, Scoring};

/// One message that a judge would receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The id of the prompt.
    pub prompt: String,
    /// `system` or `user`.
    pub role: &'static str,
    /// The text.
    pub content: String,
}

/// A prompt cannot be rendered for this dialogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("prompt `{prompt}`: {detail}")]
pub struct PreviewError {
    prompt: String,
    detail: String,
}

impl Prompts {
    /// Renders the messages of every prompt about message `turn` of `rollout`. Nothing is sent.
    ///
    /// # Errors
    /// [`PreviewError`] if a prompt names a context value that the rollout lacks, or if `turn` is
    /// not a message.
    pub fn preview(&self, rollout: &Rollout, turn: usize) -> Result<Vec<Preview>, PreviewError> {
        let mut previews = Vec::new();
        let (dialogue, nonce) = (RenderedDialogue::new(&rollout.messages), Nonce::for_show());
        for rubric in self.rubrics() {
            let failed = |detail: String| PreviewError { prompt: rubric.id.clone(), detail };
            let Some(case) = Case::new(&dialogue, rollout, turn, &nonce) else {
                return Err(failed(format!("the dialogue has no message {turn}")));
            };
            let order: Vec<usize> = (0..rubric.criteria.len()).collect();
            let criteria: Vec<&Criterion> = rubric.criteria.iter().collect();
            let tag = nonce.tag(&case.turn);
            let input = RenderInput::new(rubric, &order, &case, &tag);
            let mut sent = input.messages().map_err(|error| match error {
                RenderError::MissingContext(keys) => {
                    failed(format!("the rollout's context lacks {keys}"))
                }
                RenderError::UnfitContext(needs) => failed(format!("needs {needs}")),
                RenderError::Failed(detail) => failed(detail),
            })?;
            let (form, closing) =
                match criteria.first().filter(|_| rubric.scoring == Scoring::Expected) {
                    Some(criterion) => (expected::form(criterion), expected::closing(&tag)),
                    None => {
                        let reasons = rubric.reasoning == Reasoning::Before;
                        let schema = Schema { criteria: &criteria, sealed: true, reasons };
                        (schema.form(), schema.closing(&tag))
                    }
                };
            add_instructions(&mut sent, &form, &closing);
            previews.extend(sent.into_iter().map(|message| Preview {
                prompt: rubric.id.clone(),
                role: message.role,
                content: message.content,
            }));
        }
        Ok(previews)
    }
}
