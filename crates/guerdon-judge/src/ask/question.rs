//! A question to a judge: some criteria of a rubric, about a case. It is rendered only if the judge
//! must be called, because most questions of a training run are cached.

use std::sync::Arc;

use guerdon_types::AbstainWhy;

use crate::ask::answer::Failure;
use crate::ask::case::Case;
use crate::ask::expected;
use crate::ask::forms;
use crate::ask::listing::{Listing, ListingSchema};
use crate::ask::pairing::PairSchema;
use crate::ask::render::{ChatMessage, RenderError, RenderInput};
use crate::ask::reply::CriterionFinding;
use crate::ask::schema::Schema;
use crate::ask::turn_text::TurnText;
use crate::ask::verdict;
use crate::rubric::answer::{AnswerSyntax, Instructions, MessageLayout};
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
    /// The replies, if several are judged together; there is no `turn` then.
    pub(crate) listing: Option<Listing>,
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
    listing: Option<Listing>,
}

impl JudgeQuestion<'_> {
    /// The same question with texts of its own.
    pub(crate) fn unrendered(&self) -> UnrenderedQuestion {
        let Self { rubric, order, sample, case } = *self;
        let tag = case.nonce.tag(&case.turn);
        let listing = (!case.listed.is_empty())
            .then(|| Listing::new(&case.listed, &case.digest, sample, case.nonce));
        let mut input = RenderInput::new(rubric, order, case, &tag);
        if let Some(listing) = &listing {
            let name = |place| rubric.reply_names.name(place);
            input = input.about_replies(if rubric.answer.is_schema() {
                listing.shown()
            } else {
                listing.shown_with(name)
            });
        }
        if rubric.instructions == Instructions::Own {
            let texts: Vec<&str> = match &listing {
                Some(listing) => listing.texts().collect(),
                None => vec![&case.turn],
            };
            let named = texts.into_iter().enumerate();
            let named = named.map(|(place, text)| (rubric.reply_names.name(place), text));
            input = match rubric.layout {
                MessageLayout::Sections => input.with_replies(named),
                MessageLayout::Roles => input.by_roles(case.dialogue, named),
            };
        }
        UnrenderedQuestion {
            rubric: Arc::clone(rubric),
            order: order.to_vec(),
            sample,
            input,
            tag,
            turn: case.turn.to_owned_text(),
            listing,
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
        let Self { rubric, order, sample, input, tag, turn, listing } = self;
        let messages = input.messages().map_err(|error| match error {
            RenderError::MissingContext(needs) | RenderError::UnfitContext(needs) => {
                Failure::new(AbstainWhy::MissingContext, format!("needs {needs}"))
            }
            RenderError::Failed(detail) => Failure::new(AbstainWhy::Internal, detail),
        })?;
        Ok(RenderedQuestion { rubric, order, sample, messages, tag, turn, listing })
    }
}

impl RenderedQuestion {
    /// The criteria that are asked, in their order.
    pub(crate) fn criteria(&self) -> Vec<&Criterion> {
        asked(&self.rubric, &self.order)
    }

    /// The schema of the answer about `criteria`, which are this question's own.
    pub(crate) fn schema<'a>(
        &'a self,
        criteria: &'a [&'a Criterion],
        sealed: bool,
    ) -> AnswerSchema<'a> {
        let reasons = self.rubric.reasoning == Reasoning::Before;
        match &self.listing {
            None => AnswerSchema::Reply(Schema { criteria, sealed, reasons }),
            Some(listing) if self.rubric.pairwise.is_some() => {
                AnswerSchema::Pair(PairSchema { listing, criteria, reasons })
            }
            Some(listing) => AnswerSchema::Replies(ListingSchema { listing, criteria, reasons }),
        }
    }

    /// The reason why the level of `finding` does not count; `None` if it counts.
    pub(crate) fn struck(&self, finding: &CriterionFinding) -> Option<&'static str> {
        if self.rubric.pairwise.is_some() {
            // A choice between replies has no level.
            return None;
        }
        let criterion = self.rubric.criteria.iter().find(|criterion| criterion.id == finding.id)?;
        let block = finding.reply.zip(self.listing.as_ref());
        let block = block.and_then(|(reply, listing)| listing.block_of(reply));
        verdict::struck(criterion, finding, block.map_or(&self.turn, |block| &block.spoken))
    }

    /// Limit on the tokens of the first attempt's answer.
    pub(crate) fn room(&self) -> u32 {
        if let Some(listing) = &self.listing {
            return self.rubric.max_tokens.saturating_add(self.listed_tokens(listing));
        }
        // White space may come before the letter.
        if self.letter().is_some() { 4 } else { self.rubric.max_tokens }
    }

    /// Tokens of the levels of all replies, which `max_tokens` of a rubric does not count: generous
    /// for a name, a criterion with its level, and a quotation.
    fn listed_tokens(&self, listing: &Listing) -> u32 {
        let tokens = |criterion: &&Criterion| if criterion.quote { 80 } else { 20 };
        let a_reply = self.criteria().iter().map(tokens).sum::<u32>().saturating_add(20);
        let replies = u32::try_from(listing.blocks().len()).unwrap_or(u32::MAX);
        a_reply.saturating_mul(replies)
    }

    /// The criterion that is to be answered with a letter, if that is how the rubric is scored.
    pub(crate) fn letter(&self) -> Option<&Criterion> {
        let is_lettered =
            self.rubric.scoring == Scoring::Expected && self.rubric.answer.is_schema();
        self.rubric.criteria.get(*self.order.first().filter(|_| is_lettered)?)
    }

    /// The criterion of an answer that is no JSON by a schema.
    pub(crate) fn formed(&self) -> Option<&Criterion> {
        let first = self.order.first().filter(|_| !self.rubric.answer.is_schema())?;
        self.rubric.criteria.get(*first)
    }

    /// True if the probabilities of letters are asked for.
    pub(crate) fn wants_probabilities(&self) -> bool {
        let is_letter = matches!(self.rubric.answer, AnswerSyntax::Letter | AnswerSyntax::Schema);
        self.rubric.scoring == Scoring::Expected && is_letter
    }

    /// The words of guerdon around the author's text: the form of the answer, and the closing.
    pub(crate) fn instructions(&self, sealed: bool) -> Option<(String, String)> {
        if self.rubric.instructions == Instructions::Own {
            return None;
        }
        if let Some(criterion) = self.formed() {
            let closing = forms::closing(&self.rubric, &self.tag);
            return Some((forms::form(&self.rubric, criterion), closing));
        }
        if let Some(criterion) = self.letter() {
            return Some((expected::form(criterion), expected::closing(&self.tag)));
        }
        let criteria = self.criteria();
        let schema = self.schema(&criteria, sealed);
        Some((schema.form(), schema.closing(&self.tag)))
    }
}

/// The schema of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AnswerSchema<'a> {
    /// About one reply.
    Reply(Schema<'a>),
    /// About several replies.
    Replies(ListingSchema<'a>),
    /// About two replies.
    Pair(PairSchema<'a>),
}

impl AnswerSchema<'_> {
    /// The form of the answer, which is the same for all questions of a rubric.
    pub(crate) fn form(&self) -> String {
        match self {
            Self::Reply(schema) => schema.form(),
            Self::Replies(schema) => schema.form(),
            Self::Pair(schema) => schema.form(),
        }
    }

    /// The instruction that follows the judged text, whose block is called `tag` if there is one.
    pub(crate) fn closing(&self, tag: &str) -> String {
        match self {
            Self::Reply(schema) => schema.closing(tag),
            Self::Replies(schema) => schema.closing(),
            Self::Pair(schema) => schema.closing(),
        }
    }
}

impl serde::Serialize for AnswerSchema<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Reply(schema) => schema.serialize(serializer),
            Self::Replies(schema) => schema.serialize(serializer),
            Self::Pair(schema) => schema.serialize(serializer),
        }
    }
}

fn asked<'a>(rubric: &'a Rubric, order: &[usize]) -> Vec<&'a Criterion> {
    order.iter().filter_map(|index| rubric.criteria.get(*index)).collect()
}
