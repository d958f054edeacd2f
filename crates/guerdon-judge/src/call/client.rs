//! The client of one judge: attempts, retries and re-asks until there is an answer or a reason for
//! its absence.
//!
//! A *retry* follows an attempt without a reply, after a wait, at another address if there is one.
//! A *re-ask* follows a reply that is not a valid answer. A question is re-asked at most once. The
//! new request does not show the bad answer. If the answer was cut off, the request has twice the
//! token limit and [reduced reasoning](crate::ask::reasoning). An ambiguous answer is not re-asked,
//! because a forged verdict should not get a second chance. An attempt that was refused for load,
//! or by an address that refuses the account, goes back to the head of the queue and does not
//! count as a retry.

use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::{Demand, QueuePosition, TokenEstimate};
use guerdon_types::{AbstainWhy, Usage};
use tokio::time::Instant;

use crate::ask::answer::{Failure, JudgeAnswer, now_seconds};
use crate::ask::key::QuestionKey;
use crate::ask::question::RenderedQuestion;
use crate::ask::reply::ParsedAnswer;
use crate::call::attempt::AttemptOutcome;
use crate::call::capabilities::QuestionRefusal;
use crate::call::exchange::{AttemptSpec, Exchange};
use crate::call::fault::classes::Class;
use crate::call::fault::{self, Fault};
use crate::call::judge_client::JudgeClient;
use crate::call::patience::{Patience, gave_up_waiting};
use crate::call::reading::unusable;
use crate::call::ticket::{Ticket, TicketAnswer};
use crate::call::token_estimate::PromptSize;
use crate::call::wire::{Completion, RequestFeatures};
use crate::store::audit::AttemptNotes;
use crate::store::event::CallOutcome;

/// Time after which a question without a deadline is given up if the endpoint still refuses it for
/// load.
const LONGEST_PATIENCE: Duration = Duration::from_secs(600);

/// The next step after an attempt.
enum Step {
    Answered(JudgeAnswer),
    Again { after: Duration },
    Failed(Failure),
}

/// State of the attempts on one question.
struct Progress {
    since: Instant,
    attempt: u32,
    retries: u32,
    reasked: bool,
    max_tokens: u32,
    reduce_reasoning: bool,
    /// The features that addresses refused for the question.
    refusals: Vec<QuestionRefusal>,
    /// The queue position to which the question returns.
    position: Option<QueuePosition>,
    /// The failed checks through which it still waits while no address is up.
    probes: u32,
    /// The address at which the last attempt failed.
    failed_at: Option<usize>,
    /// The addresses that refused the account, the model or the path, with their refusals.
    denied_at: Vec<(usize, Failure)>,
    /// The last failure without a reply.
    failure: Option<Failure>,
    /// Flags of the last attempt for the audit log.
    flags: Vec<&'static str>,
    /// The reasons that the judge gave for its answer.
    reasons: Option<String>,
}

impl JudgeClient {
    /// Sends `question` until it is answered or a failure is final. Adds the cost to `spent` in
    /// either case.
    pub(crate) async fn call(
        self: &Arc<Self>,
        key: QuestionKey,
        question: &RenderedQuestion,
        patience: &Patience,
        spent: &mut Usage,
    ) -> Result<JudgeAnswer, Failure> {
        let mut progress = Progress {
            since: Instant::now(),
            attempt: 0,
            retries: 0,
            reasked: false,
            max_tokens: question.room(),
            reduce_reasoning: false,
            refusals: Vec::new(),
            position: None,
            probes: if self.has_fallback { 0 } else { self.retries },
            failed_at: None,
            denied_at: Vec::new(),
            failure: None,
            flags: Vec::new(),
            reasons: None,
        };
        loop {
            let ticket = self.next_ticket(key, question, patience, &mut progress).await?;
            let attempt = AttemptSpec {
                key,
                question,
                max_tokens: progress.max_tokens,
                reduce_reasoning: progress.reduce_reasoning,
                refusals: &progress.refusals,
                number: progress.attempt + 1,
            };
            let demand = self.demand(question, patience, &progress);
            let AttemptOutcome { exchange, mut record, other, checks } =
                self.attempt(ticket, attempt, demand).await;
            progress.attempt += 1;
            progress.position = Some(exchange.position);
            spent.add(&checks);
            spent.add(&record.event.usage);
            progress.note(&exchange);
            if let Some(other) = other {
                spent.add(&other.event.usage);
                let notes = AttemptNotes { flags: &progress.flags, ..AttemptNotes::default() };
                self.record(key, question, other, notes).await;
            }
            let reply = exchange.outcome.as_ref().ok().map(|reply| reply.words().to_owned());
            let (outcome, step) = self.next_step(question, exchange, &mut progress, patience);
            record.event.outcome = outcome;
            let findings = match &step {
                Step::Answered(answer) => Some(answer.findings.as_slice()),
                Step::Again { .. } | Step::Failed(_) => None,
            };
            let notes = AttemptNotes {
                flags: &progress.flags,
                findings,
                reply: reply.as_deref(),
                reasons: progress.reasons.as_deref(),
            };
            self.record(key, question, record, notes).await;
            match step {
                Step::Answered(answer) => return Ok(JudgeAnswer { usage: *spent, ..answer }),
                Step::Failed(failure) => return Err(failure),
                Step::Again { after } => {
                    patience.wait(tokio::time::sleep(after)).await.map_err(gave_up_waiting)?;
                }
            }
        }
    }

    /// Waits for the ticket of the next attempt. Checks the addresses that have to be checked.
    async fn next_ticket(
        self: &Arc<Self>,
        key: QuestionKey,
        question: &RenderedQuestion,
        patience: &Patience,
        progress: &mut Progress,
    ) -> Result<Ticket<'_>, Failure> {
        loop {
            let demand = self.demand(question, patience, progress);
            let most = self.most(question, progress.max_tokens);
            match self.ticket(demand, most, patience).await {
                Ok(TicketAnswer::Ticket(ticket)) => {
                    // An address that has refused this question and is up refuses the question.
                    let address = ticket.permit.address();
                    let denied = progress.denied_at.iter().find(|(denied, _)| *denied == address);
                    let Some((_, failure)) = denied else { return Ok(ticket) };
                    ticket.permit.refund();
                    ticket.reservation.settle(0.0).await;
                    return Err(failure.clone());
                }
                Ok(TicketAnswer::Probe(permit)) => {
                    progress.position = Some(permit.position());
                    progress.probes = permit.probes();
                    self.start_probe(permit, key, question);
                }
                // Its own failure says more than that no address is up.
                Err(failure) if failure.patience_end.is_none() && !failure.is_over_budget() => {
                    return Err(progress.failure.take().unwrap_or(failure));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn demand(
        &self,
        question: &RenderedQuestion,
        patience: &Patience,
        progress: &Progress,
    ) -> Demand {
        let (size, max_tokens) = (PromptSize::of(&question.messages), progress.max_tokens);
        let (estimate, whole_room) = (Arc::clone(&self.estimate), self.counting.max_tokens);
        let tokens = move || {
            let completion =
                if whole_room { u64::from(max_tokens) } else { estimate.completion(max_tokens) };
            estimate.prompt(size).saturating_add(completion)
        };
        Demand {
            tokens: tokens(),
            estimate: Some(TokenEstimate::new(tokens)),
            flow: patience.flow.clone(),
            deadline: patience.deadline,
            position: progress.position,
            // An address that refused the question would refuse it again.
            avoid: progress.denied_at.last().map(|(denied, _)| *denied).or(progress.failed_at),
            probes: progress.probes,
        }
    }

    /// Chooses the next step after an attempt.
    fn next_step(
        &self,
        question: &RenderedQuestion,
        exchange: Exchange,
        progress: &mut Progress,
        patience: &Patience,
    ) -> (CallOutcome, Step) {
        let Exchange { address, features: sent, refused, outcome, .. } = exchange;
        match (outcome, refused) {
            (Ok(reply), _) => self.replied(question, reply, sent, progress),
            (Err(_), Some(feature)) => {
                progress.refusals.push(QuestionRefusal { address, sent, feature });
                (CallOutcome::Weakened, Step::Again { after: Duration::ZERO })
            }
            (Err(fault), None) => {
                progress.failed_at = Some(address);
                (fault.class.outcome(), self.failed(&fault, address, progress, patience))
            }
        }
    }

    /// Chooses the next step after a reply.
    fn replied(
        &self,
        question: &RenderedQuestion,
        reply: Completion,
        features: RequestFeatures,
        progress: &mut Progress,
    ) -> (CallOutcome, Step) {
        let failure = match self.read(question, &reply, features) {
            Ok(ParsedAnswer { findings, bare, reasons }) => {
                progress.reasons = reasons;
                progress.flags.extend((!bare).then_some("unwrapped"));
                let model = reply.model.unwrap_or_else(|| self.identity.model.clone());
                let answer = JudgeAnswer {
                    prompt: question.rubric.id.clone(),
                    at: now_seconds(),
                    // Set by the caller, which knows the cost of all attempts.
                    usage: Usage::default(),
                    model,
                    findings,
                };
                return (CallOutcome::Ok, Step::Answered(answer));
            }
            Err(failure) => failure,
        };
        let outcome = unusable(failure.why);
        let again = matches!(failure.why, AbstainWhy::Malformed | AbstainWhy::Truncated)
            && !progress.reasked;
        if !again {
            return (outcome, Step::Failed(failure));
        }
        progress.reasked = true;
        progress.position = None;
        progress.failure = None;
        if failure.why == AbstainWhy::Truncated {
            progress.max_tokens = progress.max_tokens.saturating_mul(2);
            let reduced_reasoning = self.identity.reduced_reasoning.as_ref();
            progress.reduce_reasoning = reduced_reasoning.is_some_and(|reduced_reasoning| {
                !reduced_reasoning.unconfigured || reply.reasoned()
            });
        }
        (outcome, Step::Again { after: Duration::ZERO })
    }

    /// Chooses the next step after an attempt without a reply. Its address was told already, so the
    /// waits here are the question's own.
    fn failed(
        &self,
        fault: &Fault,
        address: usize,
        progress: &mut Progress,
        patience: &Patience,
    ) -> Step {
        let failure = fault.failure();
        if matches!(fault.class, Class::Denied | Class::QuotaGone) {
            progress.denied_at.push((address, failure.clone()));
            progress.failure = Some(failure);
            return Step::Again { after: Duration::ZERO };
        }
        if !fault.class.can_be_repeated() || fault.forbids_repeats {
            return Step::Failed(failure);
        }
        let alone = self.addresses.len() == 1;
        if alone && fault.delay.is_some_and(|delay| delay > fault::LONGEST_WAIT) {
            return Step::Failed(failure);
        }
        if fault.class == Class::RateLimited {
            if patience.deadline.is_none() && progress.since.elapsed() > LONGEST_PATIENCE {
                return Step::Failed(failure);
            }
            progress.failure = Some(failure);
            return Step::Again { after: Duration::ZERO };
        }
        if progress.retries >= self.retries {
            return Step::Failed(failure);
        }
        progress.failure = Some(failure);
        progress.position = None;
        let waits_at_address = fault.delay.is_some();
        let after = self.backoff.full_jitter(progress.retries);
        progress.retries += 1;
        Step::Again { after: if waits_at_address { Duration::ZERO } else { after } }
    }
}

impl Progress {
    /// Sets the flags of an attempt for the audit log.
    fn note(&mut self, exchange: &Exchange) {
        let Exchange { features, outcome, .. } = exchange;
        let implausible = outcome.as_ref().is_ok_and(|reply| reply.implausible_usage);
        self.flags.clear();
        self.flags.extend(self.reasked.then_some("reasked"));
        self.flags.extend(features.sealed.then_some("sealed"));
        self.flags.extend(features.reduced_reasoning.then_some("eased"));
        self.flags.extend(implausible.then_some("implausible_usage"));
    }
}
