//! A question to a judge: some criteria of a rubric, about a case. It is rendered only if the judge
//! must be called, because most questions of a training run are cached.

use std::sync::Arc;

use guerdon_types::AbstainWhy;

use crate::ask::answer::Failure;
use crate::ask::case::{Case, TurnText};
use crate::ask::render::{ChatMessage, RenderError, RenderInput};
use crate::ask::reply::CriterionFinding;
use crate::ask::schema::Schema;
use crate::ask::verdict;
use crate::rubric::{Criterion, Reasoning, Rubric, Scoring};

/// One question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JudgeQuestion<'a> {
    pub(crate) rubric: &'a Arc<Rubric>,
    /// Indices of the rubric's criteria that are asked, in the order of asking.
    pub(crate) order: &'a [usize],
    /// Number that distinguishes repeated samples of one question; 0 if there is only one.
    pub(crate) sample: u32,
    pub(crate) case: &'a Case<'a>,
}

/// A question rendered to messages.
#[derive(Debug, Clone)]
pub(crate) struct RenderedQuestion {
    pub(crate) rubric: Arc<Rubric>,
    pub(crate) order: Vec<usize>,
    pub(crate) sample: u32,
    pub(crate) messages: Vec<ChatMessage>,
    /// The name of the judged turn's block.
    pub(crate) tag: String,
    /// The judged turn, to check quotes.
    pub(crate) turn: TurnText<'static>,
}

/// A question that owns its texts, to be rendered on any thread.
#[derive(Debug, Clone)]
pub(crate) struct UnrenderedQuestion {
    rubric: Arc<Rubric>,
    order: Vec<usize>,
    sample: u32,
    input: RenderInput,
    tag: String,
    turn: TurnText<'static>,
}

impl JudgeQuestion<'_> {
    /// The same question with texts of its own.
    pub(crate) fn unrendered(&self) -> UnrenderedQuestion {
        let Self { rubric, order, sample, case } = *self;
        let tag = case.nonce.tag(&case.turn);
        UnrenderedQuestion {
            rubric: Arc::clone(rubric),
            order: order.to_vec(),
            sample,
            input: RenderInput::new(rubric, order, case, &tag),
            tag,
            turn: case.turn.to_owned_text(),
        }
    }
}

impl UnrenderedQuestion {
    /// Renders the messages, away from the async threads if their number of steps depends on the
    /// dialogue or the context.
    pub(crate) async fn rendered(self) -> Result<RenderedQuestion, Failure> {
        if self.input.is_fixed_work() {
            return self.rendered_here();
        }
        let rendered = tokio::task::spawn_blocking(|| self.rendered_here()).await;
        rendered.unwrap_or_else(|_| {
            Err(Failure::new(AbstainWhy::Internal, "rendering the prompt did not end"))
        })
    }

    /// Renders the messages on this thread.
    pub(crate) fn rendered_here(self) -> Result<RenderedQuestion, Failure> {
        let Self { rubric, order, sample, input, tag, turn } = self;
        let messages = input.messages().map_err(|error| match error {
            RenderError::MissingContext(needs) | RenderError::UnfitContext(needs) => {
                Failure::new(AbstainWhy::MissingContext, format!("needs {needs}"))
            }
            RenderError::Failed(detail) => Failure::new(AbstainWhy::Internal, detail),
        })?;
        Ok(RenderedQuestion { rubric, order, sample, messages, tag, turn })
    }
}

impl RenderedQuestion {
    /// The criteria that are asked, in their order.
    pub(crate) fn criteria(&self) -> Vec<&Criterion> {
        asked(&self.rubric, &self.order)
    }

    /// The schema of the answer about `criteria`, which are this question's own.
    pub(crate) fn schema<'a>(&self, criteria: &'a [&'a Criterion], sealed: bool) -> Schema<'a> {
        Schema { criteria, sealed, reasons: self.rubric.reasoning == Reasoning::Before }
    }

    /// The reason why the level of `finding` does not count; `None` if it counts.
    pub(crate) fn struck(&self, finding: &CriterionFinding) -> Option<&'static str> {
        let criterion = self.rubric.criteria.iter().find(|criterion| criterion.id == finding.id)?;
        verdict::struck(criterion, finding, &self.turn)
    }

    /// Limit on the tokens of the first attempt's answer.
    pub(crate) fn room(&self) -> u32 {
        // White space may come before the letter.
        if self.letter().is_some() { 4 } else { self.rubric.max_tokens }
    }

    /// The criterion that is to be answered with a letter, if that is how the rubric is scored.
    pub(crate) fn letter(&self) -> Option<&Criterion> {
        let first = self.order.first().filter(|_| self.rubric.scoring == Scoring::Expected)?;
        self.rubric.criteria.get(*first)
    }
}

fn asked<'a>(rubric: &'a Rubric, order: &[usize]) -> Vec<&'a Criterion> {
    order.iter().filter_map(|index| rubric.criteria.get(*index)).collect()
}
