//! The client of one judge: attempts, retries and re-asks until there is an answer or a reason for
//! its absence.
//!
//! A *retry* follows an attempt without a reply, after a wait. A *re-ask* follows a reply that is
//! not a valid answer. A question is re-asked at most once. The new request does not show the bad
//! answer. If the answer was cut off, the request has twice the token limit and [reduced
//! reasoning](crate::ask::reasoning). An ambiguous answer is not re-asked, because a forged verdict
//! should not get a second chance. An attempt that was refused for load goes back to the head of
//! the queue and does not count as a retry.

use std::time::Duration;

use guerdon_queue::QueuePosition;
use guerdon_types::{AbstainWhy, Usage};
use tokio::time::Instant;

use crate::ask::answer::{Failure, JudgeAnswer, now_seconds};
use crate::ask::expected;
use crate::ask::key::QuestionKey;
use crate::ask::question::RenderedQuestion;
use crate::ask::reply::{self, AnswerContract, AnswerError, CriterionFinding, ParsedAnswer};
use crate::call::attempt::{
    AttemptOutcome, AttemptRecord, AttemptSpec, JudgeClient, gave_up_waiting,
};
use crate::call::patience::Patience;
use crate::call::retry::{self, Class, Fault};
use crate::call::upstream::{self, Upstream};
use crate::call::wire::{Completion, RequestFeatures};
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

/// The address and the features of a request that was sent.
#[derive(Debug, Clone, Copy)]
struct SentRequest<'a> {
    upstream: &'a Upstream,
    features: RequestFeatures,
}

/// Remarks about an attempt for the audit log.
#[derive(Debug, Clone, Copy)]
struct AttemptNotes<'a> {
    flags: &'a [&'static str],
    findings: Option<&'a [CriterionFinding]>,
}

/// State of the attempts on one question.
struct Progress {
    since: Instant,
    attempt: u32,
    retries: u32,
    slowed: u32,
    reasked: bool,
    max_tokens: u32,
    reduce_reasoning: bool,
    /// Address and queue position of the last attempt.
    came_from: Option<(usize, QueuePosition)>,
    failed_at: Option<usize>,
    /// Flags of the last attempt for the audit log.
    flags: Vec<&'static str>,
}

impl JudgeClient {
    /// Sends `question` until it is answered or a failure is final. Adds the cost to `spent` in
    /// either case.
    pub(crate) async fn call(
        &self,
        key: QuestionKey,
        question: &RenderedQuestion,
        patience: &Patience,
        spent: &mut Usage,
    ) -> Result<JudgeAnswer, Failure> {
        let mut progress = Progress {
            since: Instant::now(),
            attempt: 0,
            retries: 0,
            slowed: 0,
            reasked: false,
            max_tokens: question.room(),
            reduce_reasoning: false,
            came_from: None,
            failed_at: None,
            flags: Vec::new(),
        };
        loop {
            let index = self.choose(&mut progress, patience).await?;
            let position = progress
                .came_from
                .take()
                .filter(|(from, _)| *from == index)
                .map(|(_, position)| position);
            let Progress { max_tokens, reduce_reasoning, .. } = progress;
            let attempt = AttemptSpec {
                question,
                max_tokens,
                reduce_reasoning,
                number: progress.attempt + 1,
                position,
            };
            let AttemptOutcome { features, position, outcome, mut ended, other } =
                self.attempt(index, attempt, patience).await?;
            let AttemptRecord { upstream, ref mut event, .. } = ended;
            progress.attempt += 1;
            progress.came_from = Some((upstream, position));
            spent.add(&event.usage);
            progress.flags.clear();
            progress.flags.extend(progress.reasked.then_some("reasked"));
            progress.flags.extend(features.sealed.then_some("sealed"));
            progress.flags.extend(features.reduced_reasoning.then_some("eased"));
            if let Some(other) = other {
                spent.add(&other.event.usage);
                let notes = AttemptNotes { flags: &progress.flags, findings: None };
                self.record(key, question, other, notes).await;
            }
            let step = match (self.upstreams.get(upstream), outcome) {
                (Some(at), Ok(reply)) => {
                    let sent = SentRequest { upstream: at, features };
                    let (outcome, step) = self.replied(question, reply, sent, &mut progress);
                    event.outcome = outcome;
                    step
                }
                (Some(at), Err(fault)) => {
                    progress.failed_at = Some(upstream);
                    if at.capabilities.downgrade(features, &fault) {
                        event.outcome = CallOutcome::Weakened;
                        Step::Again { after: Duration::ZERO }
                    } else {
                        event.outcome = fault.class.outcome();
                        self.failed(&fault, at, &mut progress, patience)
                    }
                }
                (None, _) => Step::Failed(Failure::new(
                    AbstainWhy::Internal,
                    "the judge has no such address",
                )),
            };
            let findings = match &step {
                Step::Answered(answer) => Some(answer.findings.as_slice()),
                Step::Again { .. } | Step::Failed(_) => None,
            };
            let notes = AttemptNotes { flags: &progress.flags, findings };
            self.record(key, question, ended, notes).await;
            match step {
                Step::Answered(answer) => return Ok(JudgeAnswer { usage: *spent, ..answer }),
                Step::Failed(failure) => return Err(failure),
                Step::Again { after } => {
                    patience.wait(tokio::time::sleep(after)).await.map_err(gave_up_waiting)?
                }
            }
        }
    }

    /// Chooses an address. If all circuit breakers are open, waits for the first that is due to
    /// close.
    async fn choose(&self, progress: &mut Progress, patience: &Patience) -> Result<usize, Failure> {
        loop {
            let until = match upstream::choose(&self.upstreams, progress.failed_at) {
                Ok(index) => return Ok(index),
                Err(until) => until.unwrap_or_else(Instant::now),
            };
            let wait = until.saturating_duration_since(Instant::now());
            if progress.retries >= self.retries || wait > retry::LONGEST_BACKOFF {
                let detail = format!(
                    "the judge endpoint failed repeatedly; the next attempt is in {} s",
                    wait.as_secs()
                );
                return Err(Failure::new(AbstainWhy::Unreachable, detail));
            }
            progress.retries += 1;
            patience.wait(tokio::time::sleep(wait)).await.map_err(gave_up_waiting)?;
        }
    }

    /// Chooses the next step after a reply.
    fn replied(
        &self,
        question: &RenderedQuestion,
        reply: Completion,
        SentRequest { upstream, features }: SentRequest<'_>,
        progress: &mut Progress,
    ) -> (CallOutcome, Step) {
        let (outcome, failure) = match self.read(question, &reply, features) {
            // A schema was sent and the answer came in prose, so the endpoint does not enforce the
            // schema. The question is asked again with a seal.
            Ok(answered)
                if !answered.bare
                    && !progress.reasked
                    && upstream.capabilities.distrust_schema(features) =>
            {
                let detail = "the answer was not in the form that the endpoint accepted";
                (CallOutcome::Weakened, Failure::new(AbstainWhy::Malformed, detail))
            }
            Ok(ParsedAnswer { findings, bare }) => {
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
            Err(failure) => (unusable(failure.why), failure),
        };
        let again = matches!(failure.why, AbstainWhy::Malformed | AbstainWhy::Truncated)
            && !progress.reasked;
        if !again {
            return (outcome, Step::Failed(failure));
        }
        progress.reasked = true;
        progress.came_from = None;
        if failure.why == AbstainWhy::Truncated {
            progress.max_tokens = progress.max_tokens.saturating_mul(2);
            let reduced_reasoning = self.identity.reduced_reasoning.as_ref();
            progress.reduce_reasoning = reduced_reasoning.is_some_and(|reduced_reasoning| {
                !reduced_reasoning.unconfigured || reply.reasoned()
            });
        }
        (outcome, Step::Again { after: Duration::ZERO })
    }

    fn read(
        &self,
        question: &RenderedQuestion,
        reply: &Completion,
        features: RequestFeatures,
    ) -> Result<ParsedAnswer, Failure> {
        if reply.refusal.is_some() || reply.finish_reason == "content_filter" {
            return Err(Failure::new(AbstainWhy::Refused, "the judge model refused to answer"));
        }
        if let Some(criterion) = question.letter() {
            return match expected::read(criterion, &reply.tokens) {
                Ok(finding) => Ok(ParsedAnswer { findings: vec![finding], bare: true }),
                Err(detail) => Err(Failure::new(AbstainWhy::Malformed, detail)),
            };
        }
        if reply.finish_reason == "length" {
            return Err(Failure::new(
                AbstainWhy::Truncated,
                "the judge's answer was cut off at its token limit",
            ));
        }
        let in_reasoning = self.identity.read_reasoning && reply.text.trim().is_empty();
        let text = if in_reasoning { &reply.reasoning } else { &reply.text };
        let criteria = question.criteria();
        let seal = features.sealed.then_some(question.tag.as_str());
        reply::read(text, AnswerContract { criteria: &criteria, seal }).map_err(|unreadable| {
            match unreadable {
                AnswerError::Ambiguous => Failure::new(
                    AbstainWhy::Ambiguous,
                    "the answer contains two verdicts that disagree",
                ),
                AnswerError::Malformed(detail) => Failure::new(AbstainWhy::Malformed, detail),
            }
        })
    }

    /// Chooses the next step after an attempt without a reply.
    fn failed(
        &self,
        fault: &Fault,
        at: &Upstream,
        progress: &mut Progress,
        patience: &Patience,
    ) -> Step {
        let failure = || Step::Failed(Failure::new(fault.class.why(), fault.detail.clone()));
        if !fault.class.can_be_repeated() || fault.forbids_repeats {
            return failure();
        }
        let slowed = fault.class == Class::RateLimited;
        let waits = slowed || fault.delay.is_some();
        if waits {
            let before = if slowed { progress.slowed } else { progress.retries };
            // The pause of the address applies to this attempt as well, so it needs no wait of its
            // own.
            let requested = fault.delay.map(|delay| delay.min(retry::LONGEST_WAIT));
            at.admission.pause(self.backoff.pause(requested, before));
        }
        if fault.delay.is_some_and(|delay| delay > retry::LONGEST_WAIT) {
            return failure();
        }
        if slowed {
            progress.slowed += 1;
            let gave_up =
                patience.deadline.is_none() && progress.since.elapsed() > LONGEST_PATIENCE;
            return if gave_up { failure() } else { Step::Again { after: Duration::ZERO } };
        }
        if progress.retries >= self.retries {
            return failure();
        }
        progress.came_from = None;
        let after = if waits { Duration::ZERO } else { self.backoff.full_jitter(progress.retries) };
        progress.retries += 1;
        Step::Again { after }
    }

    /// Reports an attempt to the observer and the audit log, and settles its cost.
    async fn record(
        &self,
        key: QuestionKey,
        question: &RenderedQuestion,
        AttemptRecord { upstream, event, reservation }: AttemptRecord<'_>,
        AttemptNotes { flags, findings }: AttemptNotes<'_>,
    ) {
        (self.observer)(&event);
        if let (Some(audit), Some(at)) = (&self.audit, self.upstreams.get(upstream)) {
            let line = audit.line(key, question, &self.identity.model, &at.address);
            audit.attempt(&line.of(&event, flags, findings)).await;
        }
        reservation.settle(event.usage.cost).await;
    }
}

/// The outcome of an attempt whose reply was not an answer.
const fn unusable(why: AbstainWhy) -> CallOutcome {
    match why {
        AbstainWhy::Refused => CallOutcome::Refused,
        AbstainWhy::Truncated => CallOutcome::Truncated,
        AbstainWhy::Ambiguous => CallOutcome::Ambiguous,
        _ => CallOutcome::Malformed,
    }
}
