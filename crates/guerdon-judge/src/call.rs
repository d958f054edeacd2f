//! Asking one question: attempts, repeats and re-asks, until there are findings or a reason why there are none.
//!
//! Two different second chances. A *repeat* follows an attempt that brought no reply, after a wait. A *re-ask* follows a
//! reply that is no answer: once, as a fresh question that does not show the bad answer, with twice the room if it was
//! cut off. An ambiguous answer is not re-asked: whoever forged one verdict should not get a second draw. Being told to
//! slow down is no failure: such an attempt goes back to the head of the queue and does not count.

use std::sync::Arc;
use std::time::Duration;

use guerdon_types::{AbstainWhy, Usage};
use tokio::time::Instant;

use crate::attempt::{Attempt, Attempted};
use crate::audit::Audit;
use crate::budget::Budget;
use crate::cache::Answer;
use crate::cache::answer::now_seconds;
use crate::config::{Prices, TokenCounting};
use crate::estimate::Estimate;
use crate::expected;
use crate::hedge::Hedge;
use crate::key::{Identity, Key, Question};
use crate::limit::{Place, Refused};
use crate::patience::{GaveUp, Patience};
use crate::read::{self, Answered, Expected, Unreadable};
use crate::retry::{self, Class, Fault};
use crate::upstream::{self, Upstream};
use crate::wire::{Offer, Reply};

/// How long a question without a deadline goes on being told to slow down.
const LONGEST_PATIENCE: Duration = Duration::from_secs(600);

/// One attempt, or one question answered without one; for metrics.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CallEvent {
    /// One of [`OUTCOMES`].
    pub outcome: &'static str,
    /// From sending to the reply's last byte; zero for a cached answer.
    pub duration: Duration,
    /// How long the attempt waited for the endpoint's limits.
    pub waited: Duration,
    /// Counts the attempts on one question from 1; 0 for a cached answer.
    pub attempt: u32,
    /// Whether the answer came from the cache, or from a call that another question was waiting for.
    pub cached: bool,
    /// What this attempt cost.
    pub usage: Usage,
}

/// Every value of [`CallEvent::outcome`].
pub const OUTCOMES: [&str; 15] = [
    "ok",
    "cached",
    "weakened",
    "hedged",
    "refused",
    "truncated",
    "ambiguous",
    "malformed",
    "rate_limited",
    "quota_gone",
    "transient",
    "unreachable",
    "bad_request",
    "too_long",
    "filtered",
];

/// What is told of every attempt.
pub(crate) type Observer = Arc<dyn Fn(&CallEvent) + Send + Sync>;

/// Why a question has no answer. Shared by all who asked it; never kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) why: AbstainWhy,
    pub(crate) detail: String,
    /// Set if only the first asker's patience ended: others may ask again.
    pub(crate) gave_up: Option<GaveUp>,
}

impl Failure {
    pub(crate) fn new(why: AbstainWhy, detail: impl Into<String>) -> Self {
        Self { why, detail: detail.into(), gave_up: None }
    }
}

/// One judge, as something to be called.
pub(crate) struct Caller {
    /// At least one.
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) identity: Identity,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) backoff: Duration,
    pub(crate) prices: Prices,
    pub(crate) counting: TokenCounting,
    pub(crate) estimate: Estimate,
    pub(crate) hedge: Hedge,
    pub(crate) budget: Budget,
    pub(crate) audit: Option<Audit>,
    pub(crate) observer: Observer,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("upstreams", &self.upstreams).finish_non_exhaustive()
    }
}

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
    /// Where the last attempt stood, and at which address.
    came_from: Option<(usize, Place)>,
    failed_at: Option<usize>,
}

impl Caller {
    /// Asks `question` until it is answered or hopeless. What it cost is added to `spent`, whatever comes of it.
    pub(crate) async fn call(
        &self,
        key: Key,
        question: &Question,
        patience: &Patience,
        spent: &mut Usage,
    ) -> Result<Answer, Failure> {
        let mut progress = Progress {
            since: Instant::now(),
            attempt: 0,
            retries: 0,
            slowed: 0,
            reasked: false,
            max_tokens: question.rubric.max_tokens,
            came_from: None,
            failed_at: None,
        };
        loop {
            let index = self.choose(&mut progress, patience).await?;
            let place = progress.came_from.take().filter(|(from, _)| *from == index).map(|(_, place)| place);
            let attempt =
                Attempt { question, max_tokens: progress.max_tokens, number: progress.attempt + 1, place };
            let Attempted { upstream, offer, place, outcome, mut event } =
                self.attempt(index, attempt, patience).await?;
            progress.attempt += 1;
            progress.came_from = Some((upstream, place));
            spent.add(&event.usage);
            let step = match (self.upstreams.get(upstream), outcome) {
                (Some(at), Ok(reply)) => {
                    self.replied(question, reply, (at, offer), &mut progress, &mut event)
                }
                (Some(at), Err(fault)) => {
                    progress.failed_at = Some(upstream);
                    if at.offers.weaken(offer, &fault) {
                        event.outcome = "weakened";
                        Step::Again { after: Duration::ZERO }
                    } else {
                        self.failed(&fault, at, &mut progress, &mut event, patience)
                    }
                }
                (None, _) => {
                    Step::Failed(Failure::new(AbstainWhy::Internal, "the judge has no such address"))
                }
            };
            self.book(key, question, upstream, &event, &step).await;
            match step {
                Step::Answered(answer) => return Ok(Answer { usage: *spent, ..answer }),
                Step::Failed(failure) => return Err(failure),
                Step::Again { after } => patience.wait(tokio::time::sleep(after)).await.map_err(impatient)?,
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
        question: &Question,
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
            Ok(Answered { findings, .. }) => {
                let model = reply.model.unwrap_or_else(|| self.identity.model.clone());
                let (prompt, usage) = (question.rubric.id.clone(), event.usage);
                return Step::Answered(Answer { prompt, at: now_seconds(), usage, model, findings });
            }
            Err(unusable) => unusable,
        };
        event.outcome = outcome;
        let again = matches!(failure.why, AbstainWhy::Malformed | AbstainWhy::Truncated) && !progress.reasked;
        if !again {
            return Step::Failed(failure);
        }
        progress.reasked = true;
        progress.came_from = None;
        if failure.why == AbstainWhy::Truncated {
            progress.max_tokens = progress.max_tokens.saturating_mul(2);
        }
        Step::Again { after: Duration::ZERO }
    }

    fn read(
        &self,
        question: &Question,
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
            return Err(failure(AbstainWhy::Truncated, "the judge's answer was cut off at its token limit"));
        }
        let leaked = self.identity.read_reasoning && reply.text.trim().is_empty();
        let text = if leaked { &reply.reasoning } else { &reply.text };
        let criteria = question.criteria();
        let seal = offer.sealed.then_some(question.tag.as_str());
        read::read(text, Expected { criteria: &criteria, seal }).map_err(|unreadable| match unreadable {
            Unreadable::Ambiguous => {
                failure(AbstainWhy::Ambiguous, "the answer holds two verdicts that disagree")
            }
            Unreadable::Malformed(detail) => failure(AbstainWhy::Malformed, &detail),
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
        let delay = fault
            .delay
            .or_else(|| slowed.then(|| retry::backoff(self.backoff, progress.slowed)))
            .map(|delay| retry::honoured(delay.min(retry::LONGEST_WAIT)));
        if let Some(delay) = delay {
            // The next attempt, whoever's it is, finds the endpoint paused; so this one need not wait by itself.
            at.limit.pause(delay);
        }
        if fault.delay.is_some_and(|delay| delay > retry::LONGEST_WAIT) {
            return failure();
        }
        if slowed {
            progress.slowed += 1;
            let worn_out = patience.deadline.is_none() && progress.since.elapsed() > LONGEST_PATIENCE;
            return if worn_out { failure() } else { Step::Again { after: Duration::ZERO } };
        }
        if progress.retries >= self.retries {
            return failure();
        }
        progress.came_from = None;
        let after =
            if delay.is_some() { Duration::ZERO } else { retry::backoff(self.backoff, progress.retries) };
        progress.retries += 1;
        Step::Again { after }
    }

    /// Tells of an attempt whoever wants to know.
    async fn book(&self, key: Key, question: &Question, upstream: usize, event: &CallEvent, step: &Step) {
        (self.observer)(event);
        if let (Some(audit), Some(at)) = (&self.audit, self.upstreams.get(upstream)) {
            let findings = match step {
                Step::Answered(answer) => Some(answer.findings.as_slice()),
                Step::Again { .. } | Step::Failed(_) => None,
            };
            let Identity { model, .. } = &self.identity;
            audit.attempt(&audit.line(key, question, model, &at.address).of(event, findings)).await;
        }
        self.budget.spend(event.usage.cost).await;
    }

    pub(crate) fn usage(&self, reply: Option<&Reply>) -> Usage {
        let (prompt_tokens, completion_tokens) =
            reply.map_or((0, 0), |reply| (reply.prompt_tokens, reply.completion_tokens));
        Usage {
            judge_calls: 1,
            judge_cache_hits: 0,
            prompt_tokens,
            completion_tokens,
            cost: self.prices.cost(prompt_tokens, completion_tokens),
        }
    }
}

pub(crate) fn held_back(refused: Refused, patience: &Patience) -> Failure {
    let late = |why, detail: &str| Failure {
        gave_up: patience.deadline.map(GaveUp::Deadline),
        ..Failure::new(why, detail)
    };
    match refused {
        Refused::Overloaded => {
            Failure::new(AbstainWhy::Overloaded, "too many questions wait for the judge endpoint")
        }
        Refused::PausedTooLong => late(
            AbstainWhy::RateLimited,
            "the judge endpoint asked for a pause beyond the request's deadline",
        ),
        Refused::TooLate => late(
            AbstainWhy::Deadline,
            "the judge's queue is longer than the request's deadline; nothing was sent",
        ),
    }
}

pub(crate) fn impatient(gave_up: GaveUp) -> Failure {
    let detail = "the request's deadline passed before the judge could be asked";
    Failure { gave_up: Some(gave_up), ..Failure::new(AbstainWhy::Deadline, detail) }
}
