//! Asking one question: attempts, repeats and re-asks, until there are findings or a reason why there are none.
//!
//! Two different second chances. A *repeat* follows an attempt that brought no reply, after a wait. A *re-ask* follows a
//! reply that is no answer: once, as a fresh question that does not show the bad answer, with twice the room and [less
//! reasoning](crate::ask::reasoning) if it was cut off. An ambiguous answer is not re-asked: whoever forged one verdict should not get a second draw. Being told to
//! slow down is no failure: such an attempt goes back to the head of the queue and does not count.

use std::time::Duration;

use guerdon_types::{AbstainWhy, Usage};
use tokio::time::Instant;

use crate::ask::answer::{Answer, Failure, now_seconds};
use crate::ask::expected;
use crate::ask::key::Key;
use crate::ask::question::Worded;
use crate::ask::reply::{self, Answered, Expected, Finding, Unreadable};
use crate::call::attempt::{Attempt, Attempted, Caller, Ended, impatient};
use crate::call::patience::Patience;
use crate::call::retry::{self, Class, Fault};
use crate::call::upstream::{self, Upstream};
use crate::call::wire::{Offer, Reply};
use crate::limit::Place;
use crate::store::event::CallEvent;

/// How long a question without a deadline goes on being told to slow down.
const LONGEST_PATIENCE: Duration = Duration::from_secs(600);

/// What to do after an attempt.
enum Step {
    Answered(Answer),
    Again { after: Duration },
    Failed(Failure),
}

/// How far the attempts on one question have come.
struct Progress {
    since: Instant,
    attempt: u32,
    retries: u32,
    slowed: u32,
    reasked: bool,
    max_tokens: u32,
    ease: bool,
    /// Where the last attempt stood, and at which address.
    came_from: Option<(usize, Place)>,
    failed_at: Option<usize>,
    /// What was remarkable about the last attempt, for the audit log.
    flags: Vec<&'static str>,
}

impl Caller {
    /// Asks `question` until it is answered or hopeless. What it cost is added to `spent`, whatever comes of it.
    pub(crate) async fn call(
        &self,
        key: Key,
        question: &Worded,
        patience: &Patience,
        spent: &mut Usage,
    ) -> Result<Answer, Failure> {
        let mut progress = Progress {
            since: Instant::now(),
            attempt: 0,
            retries: 0,
            slowed: 0,
            reasked: false,
            max_tokens: question.room(),
            ease: false,
            came_from: None,
            failed_at: None,
            flags: Vec::new(),
        };
        loop {
            let index = self.choose(&mut progress, patience).await?;
            let place = progress
                .came_from
                .take()
                .filter(|(from, _)| *from == index)
                .map(|(_, place)| place);
            let Progress { max_tokens, ease, .. } = progress;
            let attempt =
                Attempt { question, max_tokens, ease, number: progress.attempt + 1, place };
            let Attempted { offer, place, outcome, mut ended, beside } =
                self.attempt(index, attempt, patience).await?;
            let Ended { upstream, ref mut event, .. } = ended;
            progress.attempt += 1;
            progress.came_from = Some((upstream, place));
            spent.add(&event.usage);
            progress.flags.clear();
            progress.flags.extend(progress.reasked.then_some("reasked"));
            progress.flags.extend(offer.sealed.then_some("sealed"));
            progress.flags.extend(offer.eased.then_some("eased"));
            if let Some(other) = beside {
                spent.add(&other.event.usage);
                self.book(key, question, other, (&progress.flags, None)).await;
            }
            let step = match (self.upstreams.get(upstream), outcome) {
                (Some(at), Ok(reply)) => {
                    self.replied(question, reply, (at, offer), &mut progress, event)
                }
                (Some(at), Err(fault)) => {
                    progress.failed_at = Some(upstream);
                    if at.offers.weaken(offer, &fault) {
                        event.outcome = "weakened";
                        Step::Again { after: Duration::ZERO }
                    } else {
                        self.failed(&fault, at, &mut progress, event, patience)
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
            self.book(key, question, ended, (&progress.flags, findings)).await;
            match step {
                Step::Answered(answer) => return Ok(Answer { usage: *spent, ..answer }),
                Step::Failed(failure) => return Err(failure),
                Step::Again { after } => {
                    patience.wait(tokio::time::sleep(after)).await.map_err(impatient)?
                }
            }
        }
    }

    /// An address to ask; waits for one if all are left alone and that is worth waiting for.
    async fn choose(&self, progress: &mut Progress, patience: &Patience) -> Result<usize, Failure> {
        loop {
            let until = match upstream::choose(&self.upstreams, progress.failed_at) {
                Ok(index) => return Ok(index),
                Err(until) => until.unwrap_or_else(Instant::now),
            };
            let wait = until.saturating_duration_since(Instant::now());
            if progress.retries >= self.retries || wait > retry::LONGEST_BACKOFF {
                let detail = format!(
                    "the judge endpoint failed again and again and is left alone for another {} s",
                    wait.as_secs()
                );
                return Err(Failure::new(AbstainWhy::Unreachable, detail));
            }
            progress.retries += 1;
            patience.wait(tokio::time::sleep(wait)).await.map_err(impatient)?;
        }
    }

    /// What a reply is worth.
    fn replied(
        &self,
        question: &Worded,
        reply: Reply,
        (at, offer): (&Upstream, Offer),
        progress: &mut Progress,
        event: &mut CallEvent,
    ) -> Step {
        let (outcome, failure) = match self.read(question, &reply, offer) {
            // A schema was sent, and the answer came in prose: nothing enforces it here. Asked again, with a seal.
            Ok(answered) if !answered.bare && !progress.reasked && at.offers.disbelieve(offer) => {
                let detail = "the answer was not in the form that the endpoint accepted";
                ("weakened", Failure::new(AbstainWhy::Malformed, detail))
            }
            Ok(Answered { findings, bare }) => {
                progress.flags.extend((!bare).then_some("unwrapped"));
                let model = reply.model.unwrap_or_else(|| self.identity.model.clone());
                let (prompt, usage) = (question.rubric.id.clone(), event.usage);
                return Step::Answered(Answer {
                    prompt,
                    at: now_seconds(),
                    usage,
                    model,
                    findings,
                });
            }
            Err(unusable) => unusable,
        };
        event.outcome = outcome;
        let again = matches!(failure.why, AbstainWhy::Malformed | AbstainWhy::Truncated)
            && !progress.reasked;
        if !again {
            return Step::Failed(failure);
        }
        progress.reasked = true;
        progress.came_from = None;
        if failure.why == AbstainWhy::Truncated {
            progress.max_tokens = progress.max_tokens.saturating_mul(2);
            let eased = self.identity.eased.as_ref();
            progress.ease = eased.is_some_and(|eased| !eased.unasked || reply.reasoned());
        }
        Step::Again { after: Duration::ZERO }
    }

    fn read(
        &self,
        question: &Worded,
        reply: &Reply,
        offer: Offer,
    ) -> Result<Answered, (&'static str, Failure)> {
        let failure = |why: AbstainWhy, detail: &str| (why.as_str(), Failure::new(why, detail));
        if reply.refusal.is_some() || reply.finish_reason == "content_filter" {
            return Err(failure(AbstainWhy::Refused, "the judge model refused to answer"));
        }
        if let Some(criterion) = question.letter() {
            return match expected::read(criterion, &reply.tokens) {
                Ok(finding) => Ok(Answered { findings: vec![finding], bare: true }),
                Err(detail) => Err(failure(AbstainWhy::Malformed, &detail)),
            };
        }
        if reply.finish_reason == "length" {
            return Err(failure(
                AbstainWhy::Truncated,
                "the judge's answer was cut off at its token limit",
            ));
        }
        let leaked = self.identity.read_reasoning && reply.text.trim().is_empty();
        let text = if leaked { &reply.reasoning } else { &reply.text };
        let criteria = question.criteria();
        let seal = offer.sealed.then_some(question.tag.as_str());
        reply::read(text, Expected { criteria: &criteria, seal }).map_err(|unreadable| {
            match unreadable {
                Unreadable::Ambiguous => {
                    failure(AbstainWhy::Ambiguous, "the answer holds two verdicts that disagree")
                }
                Unreadable::Malformed(detail) => failure(AbstainWhy::Malformed, &detail),
            }
        })
    }

    /// What to do about an attempt without a reply.
    fn failed(
        &self,
        fault: &Fault,
        at: &Upstream,
        progress: &mut Progress,
        event: &mut CallEvent,
        patience: &Patience,
    ) -> Step {
        event.outcome = fault.class.as_str();
        let failure = || Step::Failed(Failure::new(fault.class.why(), fault.detail.clone()));
        if !fault.class.can_be_repeated() || fault.forbids_repeats {
            return failure();
        }
        let slowed = fault.class == Class::RateLimited;
        let waits = slowed || fault.delay.is_some();
        if waits {
            let before = if slowed { progress.slowed } else { progress.retries };
            // The address pauses for every question, so this attempt does not wait by itself.
            at.limit.pause(retry::pause(fault.delay, self.backoff, before));
        }
        if fault.delay.is_some_and(|delay| delay > retry::LONGEST_WAIT) {
            return failure();
        }
        if slowed {
            progress.slowed += 1;
            let worn_out =
                patience.deadline.is_none() && progress.since.elapsed() > LONGEST_PATIENCE;
            return if worn_out { failure() } else { Step::Again { after: Duration::ZERO } };
        }
        if progress.retries >= self.retries {
            return failure();
        }
        progress.came_from = None;
        let after =
            if waits { Duration::ZERO } else { retry::backoff(self.backoff, progress.retries) };
        progress.retries += 1;
        Step::Again { after }
    }

    /// Tells of an attempt whoever wants to know, and pays for it.
    async fn book(
        &self,
        key: Key,
        question: &Worded,
        Ended { upstream, event, hold }: Ended<'_>,
        (flags, findings): (&[&'static str], Option<&[Finding]>),
    ) {
        (self.observer)(&event);
        if let (Some(audit), Some(at)) = (&self.audit, self.upstreams.get(upstream)) {
            let line = audit.line(key, question, &self.identity.model, &at.address);
            audit.attempt(&line.of(&event, flags, findings)).await;
        }
        hold.settle(event.usage.cost).await;
    }
}
