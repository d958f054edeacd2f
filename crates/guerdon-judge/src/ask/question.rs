//! A question to a judge: which criteria of which rubric, about which case; and the same in words. Words are found only
//! when there is somebody to be asked: most questions of a training run are known.

use std::sync::Arc;

use guerdon_types::AbstainWhy;

use crate::ask::answer::Failure;
use crate::ask::case::Case;
use crate::ask::render::{self, ChatMessage, RenderError};
use crate::rubric::{Criterion, Rubric, Scoring};

/// One question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) rubric: &'a Arc<Rubric>,
    /// Which of the rubric's criteria are asked, in their order.
    pub(crate) order: &'a [usize],
    /// Tells repeated samples of one question apart; 0 while there is one.
    pub(crate) sample: u32,
    pub(crate) case: &'a Case<'a>,
}

/// The question in words.
#[derive(Debug, Clone)]
pub(crate) struct Worded {
    pub(crate) rubric: Arc<Rubric>,
    pub(crate) order: Vec<usize>,
    pub(crate) sample: u32,
    pub(crate) messages: Vec<ChatMessage>,
    /// The name of the judged turn's block.
    pub(crate) tag: String,
}

impl Question<'_> {
    pub(crate) fn worded(&self) -> Result<Worded, Failure> {
        let Self { rubric, order, sample, case } = *self;
        let tag = case.nonce.tag(&case.turn);
        let messages = render::messages(rubric, &asked(rubric, order), case, &tag).map_err(
            |error| match error {
                RenderError::MissingContext(keys) => {
                    Failure::new(AbstainWhy::MissingContext, format!("needs {keys}"))
                }
                RenderError::Failed(detail) => Failure::new(AbstainWhy::Internal, detail),
            },
        )?;
        Ok(Worded { rubric: Arc::clone(rubric), order: order.to_vec(), sample, messages, tag })
    }
}

impl Worded {
    /// The criteria that are asked, in their order.
    pub(crate) fn criteria(&self) -> Vec<&Criterion> {
        asked(&self.rubric, &self.order)
    }

    /// How many tokens the answer may have at first.
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
