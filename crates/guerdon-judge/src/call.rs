//! Asking one question: attempts, repeats and re-asks, until there are findings or a reason why there are none.
//!
//! Two different second chances. A *repeat* follows an attempt that brought no reply, after a wait. A *re-ask* follows a
//! reply that is no answer: once, as a fresh question that does not show the bad answer, with twice the room if it was
//! cut off. An ambiguous answer is not re-asked: whoever forged one verdict should not get a second draw.

use std::sync::Arc;
use std::time::Duration;

use guerdon_types::{AbstainWhy, Usage};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use tokio::time::Instant;

use crate::config::Prices;
use crate::key::{Identity, Question};
use crate::limit::{Limit, Refused};
use crate::offer::Offers;
use crate::patience::{GaveUp, Patience};
use crate::retry::{self, Class, Fault};
use crate::verdict::{self, Finding, Unreadable};
use crate::wire::{self, Form, Offer, Reply};

/// No honest verdict is longer.
const LONGEST_REPLY: usize = 1 << 20;

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
pub const OUTCOMES: [&str; 14] = [
    "ok",
    "cached",
    "weakened",
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

/// What a judge found, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) findings: Vec<Finding>,
    pub(crate) model: String,
}

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

/// One endpoint, as something to be called.
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) url: Url,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) identity: Identity,
    pub(crate) limit: Limit,
    pub(crate) offers: Offers,
    pub(crate) retries: u32,
    pub(crate) backoff: Duration,
    pub(crate) prices: Prices,
    pub(crate) observer: Observer,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("url", &self.url.as_str()).finish_non_exhaustive()
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
    attempt: u32,
    retries: u32,
    reasked: bool,
    max_tokens: u32,
}

impl Caller {
    /// Asks `question` until it is answered or hopeless. What it cost is added to `spent`, whatever comes of it.
    pub(crate) async fn call(
        &self,
        question: &Question,
        patience: &Patience,
        spent: &mut Usage,
    ) -> Result<Answer, Failure> {
        let max_tokens = question.rubric.max_tokens;
        let mut progress = Progress { attempt: 0, retries: 0, reasked: false, max_tokens };
        loop {
            let queued = Instant::now();
            let slot = match patience.wait(self.limit.enter(patience.deadline)).await {
                Ok(Ok(slot)) => slot,
                Ok(Err(refused)) => return Err(held_back(refused, patience)),
                Err(gave_up) => return Err(impatient(gave_up)),
            };
            let sent_at = Instant::now();
            progress.attempt += 1;
            let offer = self.offers.now();
            let outcome = self.attempt(question, progress.max_tokens, offer).await;
            drop(slot);

            let mut event = CallEvent {
                outcome: "ok",
                duration: sent_at.elapsed(),
                waited: sent_at.duration_since(queued),
                attempt: progress.attempt,
                cached: false,
                usage: self.usage(outcome.as_ref().ok()),
            };
            spent.add(&event.usage);
            let step = match outcome {
                Ok(reply) => self.replied(question, reply, &mut progress, &mut event),
                Err(fault) => self.failed(&fault, offer, &mut progress, &mut event),
            };
            (self.observer)(&event);
            match step {
                Step::Answered(answer) => return Ok(answer),
                Step::Failed(failure) => return Err(failure),
                Step::Again { after } => patience.wait(tokio::time::sleep(after)).await.map_err(impatient)?,
            }
        }
    }

    async fn attempt(&self, question: &Question, max_tokens: u32, offer: Offer) -> Result<Reply, Fault> {
        let rubric = &question.rubric;
        let form = Form { schema: &rubric.schema, max_tokens, temperature: rubric.temperature };
        let Identity { model, extra_body, .. } = &self.identity;
        let body = wire::request(model, &question.messages, &form, offer, extra_body);
        let mut request = self.client.post(self.url.clone()).json(&body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let mut response = request.send().await.map_err(|error| Fault::unanswered(&error))?;
        let status = response.status();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Fault::unanswered(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_REPLY {
                let detail = format!("the reply is longer than {LONGEST_REPLY} bytes");
                return Err(Fault { class: Class::BadRequest, detail, delay: None, haystack: String::new() });
            }
        }
        if status == StatusCode::OK {
            wire::reply(&body).map_err(|complaint| Fault::answered(status, &headers, complaint))
        } else {
            Err(Fault::answered(status, &headers, wire::complaint(&body)))
        }
    }

    /// What a reply is worth.
    fn replied(
        &self,
        question: &Question,
        reply: Reply,
        progress: &mut Progress,
        event: &mut CallEvent,
    ) -> Step {
        let (outcome, failure) = match self.read(question, &reply) {
            Ok(findings) => {
                let model = reply.model.unwrap_or_else(|| self.identity.model.clone());
                return Step::Answered(Answer { findings, model });
            }
            Err(unusable) => unusable,
        };
        event.outcome = outcome;
        let again = matches!(failure.why, AbstainWhy::Malformed | AbstainWhy::Truncated) && !progress.reasked;
        if !again {
            return Step::Failed(failure);
        }
        progress.reasked = true;
        if failure.why == AbstainWhy::Truncated {
            progress.max_tokens = progress.max_tokens.saturating_mul(2);
        }
        Step::Again { after: Duration::ZERO }
    }

    fn read(&self, question: &Question, reply: &Reply) -> Result<Vec<Finding>, (&'static str, Failure)> {
        let failure = |why: AbstainWhy, detail: &str| (why.as_str(), Failure::new(why, detail));
        if reply.refusal.is_some() || reply.finish_reason == "content_filter" {
            return Err(failure(AbstainWhy::Refused, "the judge model refused to answer"));
        }
        match reply.finish_reason.as_str() {
            "length" => {
                return Err(failure(
                    AbstainWhy::Truncated,
                    "the judge's answer was cut off at its token limit",
                ));
            }
            "abort" | "error" => {
                return Err(failure(AbstainWhy::Malformed, "the judge broke its answer off"));
            }
            _ => {}
        }
        let leaked = self.identity.read_reasoning && reply.text.trim().is_empty();
        let text = if leaked { &reply.reasoning } else { &reply.text };
        verdict::read(text, &question.rubric.criteria).map_err(|unreadable| match unreadable {
            Unreadable::Ambiguous => {
                failure(AbstainWhy::Ambiguous, "the answer holds two verdicts that disagree")
            }
            Unreadable::Malformed(detail) => failure(AbstainWhy::Malformed, &detail),
        })
    }

    /// What to do about an attempt without a reply.
    fn failed(&self, fault: &Fault, sent: Offer, progress: &mut Progress, event: &mut CallEvent) -> Step {
        if self.offers.weaken(sent, fault) {
            event.outcome = "weakened";
            return Step::Again { after: Duration::ZERO };
        }
        event.outcome = fault.class.as_str();
        let failure = || Step::Failed(Failure::new(fault.class.why(), fault.detail.clone()));
        if !fault.class.can_be_repeated() {
            return failure();
        }
        if let Some(delay) = fault.delay {
            // The next attempt, whoever's it is, finds the endpoint paused; so this one need not wait by itself.
            self.limit.pause(retry::honoured(delay.min(retry::LONGEST_WAIT)));
        }
        if progress.retries >= self.retries || fault.delay.is_some_and(|delay| delay > retry::LONGEST_WAIT) {
            return failure();
        }
        let after = if fault.delay.is_some() {
            Duration::ZERO
        } else {
            retry::backoff(self.backoff, progress.retries)
        };
        progress.retries += 1;
        Step::Again { after }
    }

    fn usage(&self, reply: Option<&Reply>) -> Usage {
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

fn held_back(refused: Refused, patience: &Patience) -> Failure {
    match refused {
        Refused::Overloaded => {
            Failure::new(AbstainWhy::Overloaded, "too many questions wait for the judge endpoint")
        }
        Refused::PausedTooLong => Failure {
            gave_up: patience.deadline.map(GaveUp::Deadline),
            ..Failure::new(
                AbstainWhy::RateLimited,
                "the judge endpoint asked for a pause beyond the request's deadline",
            )
        },
    }
}

fn impatient(gave_up: GaveUp) -> Failure {
    let detail = "the request's deadline passed before the judge could be asked";
    Failure { gave_up: Some(gave_up), ..Failure::new(AbstainWhy::Deadline, detail) }
}
