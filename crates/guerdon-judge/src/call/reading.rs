//! From a completion to an answer: refusals, cut-off answers, letters and verdicts.

use guerdon_types::AbstainWhy;

use crate::ask::answer::Failure;
use crate::ask::expected;
use crate::ask::forms::FormContract;
use crate::ask::listing::ListingContract;
use crate::ask::pairing::PairContract;
use crate::ask::question::RenderedQuestion;
use crate::ask::reply::{self, AnswerContract, AnswerError, CriterionFinding, ParsedAnswer};
use crate::call::judge_client::JudgeClient;
use crate::call::wire::{Completion, RequestFeatures};
use crate::rubric::Criterion;
use crate::store::event::CallOutcome;

impl JudgeClient {
    /// Reads the answer to `question` from a completion.
    pub(crate) fn read(
        &self,
        question: &RenderedQuestion,
        reply: &Completion,
        features: RequestFeatures,
    ) -> Result<ParsedAnswer, Failure> {
        if reply.refusal.is_some() || reply.finish_reason == "content_filter" {
            return Err(Failure::new(AbstainWhy::Refused, "the judge model refused to answer"));
        }
        if matches!(reply.finish_reason.as_str(), "length" | "max_tokens") {
            return Err(Failure::new(
                AbstainWhy::Truncated,
                "the judge's answer was cut off at its token limit",
            ));
        }
        if let Some(criterion) = question.letter() {
            if !expected::is_letter(&reply.text) {
                let detail = "the answer is not one of the letters";
                return Err(Failure::new(AbstainWhy::Malformed, detail));
            }
            return match expected::read(criterion, &reply.tokens) {
                Ok(finding) => {
                    Ok(ParsedAnswer { findings: vec![finding], bare: true, reasons: None })
                }
                Err(detail) => Err(Failure::new(AbstainWhy::Malformed, detail)),
            };
        }
        if let Some(criterion) = question.formed() {
            return self.read_form(question, criterion, reply);
        }
        let in_reasoning = self.identity.read_reasoning && reply.text.trim().is_empty();
        let text = if in_reasoning { &reply.reasoning } else { &reply.text };
        let criteria = question.criteria();
        if let Some(listing) = &question.listing {
            let malformed = |detail| Failure::new(AbstainWhy::Malformed, detail);
            let read = if question.rubric.pairwise.is_some() {
                PairContract { listing, criteria: &criteria }.read(text)
            } else {
                ListingContract { listing, criteria: &criteria }.read(text)
            };
            return read.map_err(malformed);
        }
        let seal = features.sealed.then_some(question.tag.as_str());
        reply::read(text, AnswerContract { criteria: &criteria, seal }).map_err(unreadable)
    }

    /// Reads an answer that is no JSON by a schema, with the probabilities of its letters if they are
    /// asked for and the endpoint gives them.
    fn read_form(
        &self,
        question: &RenderedQuestion,
        criterion: &Criterion,
        reply: &Completion,
    ) -> Result<ParsedAnswer, Failure> {
        let in_reasoning = self.identity.read_reasoning && reply.text.trim().is_empty();
        let text = if in_reasoning { &reply.reasoning } else { &reply.text };
        let (rubric, listing) = (&*question.rubric, question.listing.as_ref());
        let mut read =
            FormContract { rubric, criterion, listing }.read(text).map_err(unreadable)?;
        if !question.wants_probabilities() {
            return Ok(read);
        }
        let malformed = |detail| Failure::new(AbstainWhy::Malformed, detail);
        let count = if listing.is_some() { 3 } else { criterion.levels.len() };
        let weights = expected::letter_weights(count, &reply.tokens).map_err(malformed)?;
        if let (Some(weights), Some(finding)) = (weights, read.findings.first_mut()) {
            *finding = match (listing, &weights[..]) {
                (Some(listing), &[first, second, tie]) => {
                    let is_first = listing.blocks().first().is_some_and(|block| block.reply == 0);
                    let (own, other) = if is_first { (first, second) } else { (second, first) };
                    CriterionFinding::of_preference(&criterion.id, [own, other, tie])
                }
                _ => expected::weighted(criterion, weights).map_err(malformed)?,
            };
        }
        Ok(read)
    }
}

/// The failure of a reply that is no answer.
fn unreadable(error: AnswerError) -> Failure {
    match error {
        AnswerError::Ambiguous => {
            Failure::new(AbstainWhy::Ambiguous, "the answer contains two verdicts that disagree")
        }
        AnswerError::Malformed(detail) => Failure::new(AbstainWhy::Malformed, detail),
    }
}

/// The outcome of an attempt whose reply was not an answer.
pub(crate) const fn unusable(why: AbstainWhy) -> CallOutcome {
    match why {
        AbstainWhy::Refused => CallOutcome::Refused,
        AbstainWhy::Truncated => CallOutcome::Truncated,
        AbstainWhy::Ambiguous => CallOutcome::Ambiguous,
        _ => CallOutcome::Malformed,
    }
}
