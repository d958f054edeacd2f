//! Preview of the messages that a judge would receive, for authors of prompts. All criteria of a
//! rubric are in file order, and the tag is made without a secret.

use std::sync::Arc;

use guerdon_types::{Message, Rollout};

use crate::ask::case::{Case, RenderedDialogue};
use crate::ask::digest::PartsHasher;
use crate::ask::listing::ListedReply;
use crate::ask::nonce::Nonce;
use crate::ask::question::JudgeQuestion;
use crate::ask::render::add_instructions;
use crate::rubric::Rubric;
use crate::rubric::prompts::Prompts;
use crate::source::group::shared::SharedPrompt;
use crate::source::group::split::split;

/// One message that a judge would receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The id of the prompt.
    pub prompt: String,
    /// `system`, `user`, or a role of the prompt's own.
    pub role: String,
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
    /// [`PreviewError`] if a prompt names a context value that the rollout lacks, if `turn` is not a
    /// message, or if a prompt compares replies.
    pub fn preview(&self, rollout: &Rollout, turn: usize) -> Result<Vec<Preview>, PreviewError> {
        let mut previews = Vec::new();
        let (dialogue, nonce) = (RenderedDialogue::new(&rollout.messages), Nonce::for_show());
        for rubric in self.rubrics() {
            if rubric.compares() {
                let detail = "it compares the samples of a group; give at least two of one prompt";
                return Err(failed(rubric, detail.to_owned()));
            }
            let Some(case) = Case::new(&dialogue, rollout, turn, &nonce) else {
                return Err(failed(rubric, format!("the dialogue has no message {turn}")));
            };
            previews.extend(shown(rubric, &case)?);
        }
        Ok(previews)
    }

    /// Renders the messages of every prompt that compares replies, about the first list or pair of the
    /// group that `rollouts` are. Nothing is sent.
    ///
    /// # Errors
    /// [`PreviewError`] if the rollouts are not samples of one prompt, if fewer than two of their
    /// replies are distinct, or as for [`Self::preview`].
    pub fn preview_group(&self, rollouts: &[Rollout]) -> Result<Vec<Preview>, PreviewError> {
        let mut previews = Vec::new();
        let nonce = Nonce::for_show();
        let dialogues: Vec<Vec<Message>> = rollouts.iter().map(judged_dialogue).collect();
        let context = rollouts.first().map(|first| first.context.clone()).unwrap_or_default();
        for rubric in self.rubrics().iter().filter(|rubric| rubric.compares()) {
            let shared = SharedPrompt::of(&dialogues).map_err(|detail| failed(rubric, detail))?;
            let places = match rubric.listwise {
                Some(listwise) => split(shared.replies.len(), listwise).into_iter().next(),
                None => Some((0..shared.replies.len().min(2)).collect()),
            };
            let places: Vec<usize> = places.unwrap_or_default();
            if places.len() < 2 {
                let detail = "it compares replies, and fewer than two of them are distinct";
                return Err(failed(rubric, detail.to_owned()));
            }
            let listed: Vec<&ListedReply> =
                places.iter().filter_map(|place| shared.replies.get(*place)).collect();
            let mut set = PartsHasher::default();
            set.add(shared.before.as_bytes());
            listed.iter().for_each(|reply| set.add(&reply.digest));
            let case = Case {
                before: &shared.before,
                dialogue: &shared.dialogue,
                turn: Default::default(),
                listed,
                facts: &context,
                nonce: &nonce,
                digest: set.finish(),
            };
            previews.extend(shown(rubric, &case)?);
        }
        Ok(previews)
    }
}

fn failed(rubric: &Rubric, detail: String) -> PreviewError {
    PreviewError { prompt: rubric.id.clone(), detail }
}

/// The messages of the dialogue up to the last asked turn.
fn judged_dialogue(rollout: &Rollout) -> Vec<Message> {
    let last = rollout.turns_to_score().ok().and_then(|turns| turns.last().copied());
    let last = last.unwrap_or_else(|| rollout.messages.len().saturating_sub(1));
    rollout.messages.get(..=last).unwrap_or_default().to_vec()
}

/// The messages of the first question of `rubric` about `case`.
fn shown(rubric: &Arc<Rubric>, case: &Case<'_>) -> Result<Vec<Preview>, PreviewError> {
    let order: Vec<usize> = (0..rubric.criteria.len()).collect();
    // All criteria at once where the form allows it.
    let asks_one = !rubric.answer.is_schema();
    let order = if asks_one { order.get(..1).unwrap_or_default() } else { &order };
    let question = JudgeQuestion { rubric, order, sample: 0, case }.unrendered();
    let rendered = question.rendered_here().map_err(|failure| failed(rubric, failure.detail))?;
    let mut messages = rendered.messages.clone();
    if let Some((form, closing)) = rendered.instructions(true) {
        add_instructions(&mut messages, &form, &closing);
    }
    let preview = |message: crate::ask::render::ChatMessage| Preview {
        prompt: rubric.id.clone(),
        role: message.role.into_owned(),
        content: message.content,
    };
    Ok(messages.into_iter().map(preview).collect())
}
