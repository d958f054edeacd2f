//! One request to one address: the body that it accepts, the reply, and what both say about the
//! address's limits, health and features.

use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::{LoadSignal, QueuePosition};
use guerdon_types::Usage;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use crate::ask::key::{Identity, QuestionKey};
use crate::ask::question::RenderedQuestion;
use crate::call::address::Address;
use crate::call::capabilities::{Feature, QuestionRefusal};
use crate::call::fault::Fault;
use crate::call::fault::classes::Class;
use crate::call::judge_client::JudgeClient;
use crate::call::permit::CallPermit;
use crate::call::wire::{self, Completion, RequestFeatures};
use crate::config::TokenCounting;

/// The parameters of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptSpec<'a> {
    pub(crate) key: QuestionKey,
    pub(crate) question: &'a RenderedQuestion,
    pub(crate) max_tokens: u32,
    /// Set if the model should reason less.
    pub(crate) reduce_reasoning: bool,
    /// The features that addresses refused for this question.
    pub(crate) refusals: &'a [QuestionRefusal],
    /// Counts from 1.
    pub(crate) number: u32,
}

/// The result of one request.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The index of the address.
    pub(crate) address: usize,
    pub(crate) position: QueuePosition,
    pub(crate) features: RequestFeatures,
    /// The feature that the address refused, at least for this question, and that the question can
    /// be sent without.
    pub(crate) refused: Option<Feature>,
    pub(crate) outcome: Result<Completion, Fault>,
    pub(crate) took: Duration,
    /// The cost of checks that the request led to.
    pub(crate) checks: Usage,
}

impl JudgeClient {
    /// Sends the request of `attempt` to the permit's address.
    pub(crate) async fn exchange(
        self: &Arc<Self>,
        permit: impl Into<CallPermit>,
        attempt: AttemptSpec<'_>,
    ) -> Exchange {
        let permit: CallPermit = permit.into();
        let (index, position) = (permit.address(), permit.position());
        let address = self.address(index);
        let AttemptSpec { reduce_reasoning, refusals, .. } = attempt;
        let features = address.capabilities.for_question(index, reduce_reasoning, refusals);
        let started = Instant::now();
        let span = tracing::debug_span!(
            "chat",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = "openai",
            gen_ai.request.model = self.identity.model,
            gen_ai.request.max_tokens = attempt.max_tokens,
            gen_ai.usage.input_tokens = tracing::field::Empty,
            gen_ai.usage.output_tokens = tracing::field::Empty,
            server.address = address.name,
            guerdon.attempt = attempt.number,
            error.type = tracing::field::Empty,
        );
        let outcome = self.post(index, address, attempt, features).instrument(span.clone()).await;
        let took = started.elapsed();
        trace_outcome(&span, &outcome);
        let (mut refused, mut checks) = (None, Usage::default());
        if let Err(fault) = &outcome
            && let Some(refusal) = address.capabilities.refused(features, fault)
        {
            checks = self.confirm(index, attempt, (features, refusal)).await;
            refused = Some(refusal.feature);
        }
        if let Err(fault) = &outcome {
            address.remember(fault);
        }
        self.settle(permit, attempt, &outcome, took);
        Exchange { address: index, position, features, refused, outcome, took, checks }
    }

    /// Sends a request with these features, and tells the address's quotas.
    pub(crate) async fn post(
        &self,
        index: usize,
        address: &Address,
        attempt: AttemptSpec<'_>,
        features: RequestFeatures,
    ) -> Result<Completion, Fault> {
        let Identity { model, extra_body, reduced_reasoning, .. } = &self.identity;
        let reduced = reduced_reasoning.as_ref().filter(|_| features.reduced_reasoning);
        let extra = reduced.map_or(extra_body, |reduced| &reduced.body);
        let AttemptSpec { question, max_tokens, .. } = attempt;
        let body = wire::request(model, question, max_tokens, features, extra);
        let (sent, bytes) = (Instant::now(), body.len() as u64);
        let reply = tokio::select! {
            biased;
            reply = address.post(body, self.timeout) => reply,
            () = self.admission.stalled(index, sent) => return Err(Fault::stalled()),
        };
        self.admission.sync(index, &reply.quotas, sent);
        match reply.outcome {
            Ok(completion) => Ok(completion.with_plausible_usage(bytes, max_tokens)),
            Err(fault) => Err(fault.after(&question.messages)),
        }
    }

    /// Settles the permit of a request, and learns from its reply.
    fn settle(
        &self,
        permit: CallPermit,
        attempt: AttemptSpec<'_>,
        outcome: &Result<Completion, Fault>,
        took: Duration,
    ) {
        let fault = match outcome {
            Ok(reply) => {
                self.hedge.answered(took);
                self.estimate.update(&attempt.question.messages, attempt.max_tokens, reply);
                let counted = self.counted(reply, attempt.max_tokens);
                return permit.settle(counted, LoadSignal::Accepted, took);
            }
            Err(fault) => fault,
        };
        if let (Class::RateLimited, Some(pause)) = (fault.class, fault.delay) {
            self.shared.pause(permit.address(), pause);
        }
        let (tokens, signal) = match fault.class {
            Class::RateLimited => (Some(0), LoadSignal::Refused(fault.delay)),
            Class::Unreachable if fault.timed_out => (None, LoadSignal::TimedOut),
            Class::Unreachable | Class::Transient => {
                let failed = fault.delay.map_or(LoadSignal::Failed, LoadSignal::FailedFor);
                (fault.unsent.then_some(0), failed)
            }
            Class::QuotaGone | Class::Denied => (Some(0), LoadSignal::Suspect),
            Class::BadRequest | Class::TooLong | Class::Filtered => (Some(0), LoadSignal::Unknown),
        };
        permit.settle(tokens, signal, took);
    }

    /// Usage of a request with a maximum cost of `most`.
    pub(crate) fn usage(&self, outcome: &Result<Completion, Fault>, most: f64) -> Usage {
        match outcome {
            Ok(reply) if !reply.is_counted() => one_call(most),
            Err(Fault { uncounted: true, .. }) => one_call(most),
            Ok(reply) => Usage {
                prompt_tokens: reply.prompt_tokens,
                completion_tokens: reply.completion_tokens,
                ..one_call(self.prices.cost_of(
                    reply.prompt_tokens,
                    reply.cached_tokens,
                    reply.completion_tokens,
                ))
            },
            Err(_) => one_call(0.0),
        }
    }

    /// Tokens that the endpoint takes off its quota for a reply; `None` if it does not count.
    fn counted(&self, reply: &Completion, max_tokens: u32) -> Option<u64> {
        let TokenCounting { max_tokens: whole_room, cached } = self.counting;
        let uncached = reply.prompt_tokens.saturating_sub(reply.cached_tokens);
        let prompt = if cached { reply.prompt_tokens } else { uncached };
        let completion = if whole_room { u64::from(max_tokens) } else { reply.completion_tokens };
        reply.is_counted().then_some(prompt.saturating_add(completion))
    }
}

/// Notes the tokens of a reply, or the kind of a fault, in the span of its request.
fn trace_outcome(span: &Span, outcome: &Result<Completion, Fault>) {
    match outcome {
        Ok(reply) => {
            span.record("gen_ai.usage.input_tokens", reply.prompt_tokens);
            span.record("gen_ai.usage.output_tokens", reply.completion_tokens);
        }
        Err(fault) => {
            span.record("error.type", fault.class.outcome().as_str());
        }
    }
}

/// Usage of a call whose tokens were not counted.
pub(crate) fn one_call(cost: f64) -> Usage {
    Usage { judge_calls: 1, cost, ..Usage::default() }
}
