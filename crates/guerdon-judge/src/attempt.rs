//! One attempt on a question: money set aside, a place taken, the body sent, what was reserved settled. And, where it is
//! wanted, a second one beside it if the first is slow.

use std::pin::pin;
use std::time::Duration;

use guerdon_types::{AbstainWhy, Usage};
use tokio::time::Instant;

use crate::answer::Failure;
use crate::audit::Audit;
use crate::budget::Budget;
use crate::config::{Prices, TokenCounting};
use crate::estimate::Estimate;
use crate::event::{CallEvent, Observer};
use crate::hedge::Hedge;
use crate::key::Identity;
use crate::limit::{Load, Permit, Place, Refused, Want};
use crate::patience::{GaveUp, Patience};
use crate::question::Worded;
use crate::retry::{Class, Fault};
use crate::upstream::{self, Upstream};
use crate::wire::{self, Offer, Reply};

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

/// What is to be attempted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) question: &'a Worded,
    pub(crate) max_tokens: u32,
    /// Counts from 1.
    pub(crate) number: u32,
    /// Where the attempt before stood, if it was told to slow down.
    pub(crate) place: Option<Place>,
}

/// What came of it.
pub(crate) struct Attempted {
    pub(crate) upstream: usize,
    pub(crate) offer: Offer,
    pub(crate) place: Place,
    pub(crate) outcome: Result<Reply, Fault>,
    pub(crate) event: CallEvent,
    /// A second attempt that was sent beside this one and given up, and where.
    pub(crate) beside: Option<(usize, CallEvent)>,
}

/// What came of one body sent.
struct Sent {
    offer: Offer,
    place: Place,
    outcome: Result<Reply, Fault>,
    took: Duration,
}

impl Caller {
    /// Attempts once at upstream `index`, perhaps hedged.
    pub(crate) async fn attempt(
        &self,
        index: usize,
        attempt: Attempt<'_>,
        patience: &Patience,
    ) -> Result<Attempted, Failure> {
        let Attempt { question, max_tokens, number, place } = attempt;
        let prompt = self.estimate.prompt(&question.messages);
        let _held = self.budget.hold(self.prices.cost(prompt, max_tokens.into())).map_err(|detail| {
            // The nearest reason that replies have a word for: a limit, and not the endpoint's own.
            Failure::new(AbstainWhy::RateLimited, detail)
        })?;
        let tokens = if self.counting.max_tokens {
            prompt + u64::from(max_tokens)
        } else {
            prompt + self.estimate.completion(max_tokens)
        };
        let want = Want { tokens, flow: patience.flow.clone(), deadline: patience.deadline, place };
        let at = self.upstreams.get(index).ok_or_else(nobody)?;
        let queued = Instant::now();
        let permit = match patience.wait(at.limit.enter(want.clone())).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(refused)) => return Err(held_back(refused, patience)),
            Err(gave_up) => return Err(impatient(gave_up)),
        };
        let waited = queued.elapsed();
        let event = |outcome, duration, usage| CallEvent {
            outcome,
            duration,
            waited,
            attempt: number,
            cached: false,
            usage,
        };

        let hedge_after = self.hedge.patience();
        let mut first = pin!(self.send(at, permit, question, max_tokens));
        let slow = async {
            match hedge_after {
                Some(patience) => tokio::time::sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        let early = tokio::select! {
            biased;
            sent = &mut first => Some(sent),
            () = slow => None,
        };
        let second = if early.is_none() { self.second(index, &want) } else { None };
        let mut beside = None;
        let (upstream, sent) = match (early, second) {
            (Some(sent), _) => (index, sent),
            (None, None) => (index, first.await),
            (None, Some((other, at, permit))) => {
                let started = Instant::now();
                let mut second = pin!(self.send(at, permit, question, max_tokens));
                // A failure of one leaves the other to finish.
                let won = tokio::select! {
                    sent = &mut first => if sent.outcome.is_ok() { (index, sent) } else { (other, second.await) },
                    sent = &mut second => if sent.outcome.is_ok() { (other, sent) } else { (index, first.await) },
                };
                // The other one was sent too, and may be billed; nobody will ever know how much.
                let usage = Usage { judge_calls: 1, ..Usage::default() };
                let given_up = if won.0 == index { other } else { index };
                beside = Some((given_up, event("hedged", started.elapsed(), usage)));
                won
            }
        };
        let Sent { offer, place, outcome, took } = sent;
        let event = event("ok", took, self.usage(outcome.as_ref().ok()));
        Ok(Attempted { upstream, offer, place, outcome, event, beside })
    }

    /// A place for a second attempt right now: at another address if there is one.
    fn second(&self, first: usize, want: &Want) -> Option<(usize, &Upstream, Permit)> {
        let other = upstream::choose(&self.upstreams, Some(first)).ok()?;
        let beside = self.upstreams.get(other)?;
        if !self.hedge.take() {
            return None;
        }
        Some((other, beside, beside.limit.try_enter(want)?))
    }

    async fn send(&self, at: &Upstream, permit: Permit, question: &Worded, max_tokens: u32) -> Sent {
        let offer = at.offers.now();
        let Identity { model, extra_body, .. } = &self.identity;
        let body = wire::request(model, question, max_tokens, offer, extra_body);
        let place = permit.place();
        let started = Instant::now();
        let outcome = at.exchange(body, self.timeout).await;
        let took = started.elapsed();
        match &outcome {
            Ok(reply) => {
                at.remember(Ok(()));
                self.hedge.answered(took);
                self.estimate.learn(&question.messages, reply.prompt_tokens, reply.completion_tokens);
                permit.settle(self.counted(reply, max_tokens), Load::Carried, took);
            }
            Err(fault) => {
                at.remember(Err(fault.class));
                match fault.class {
                    Class::RateLimited => {
                        permit.settle(Some(0), Load::TooMuch(fault.delay.unwrap_or_default()), took);
                    }
                    Class::Unreachable if fault.timed_out => {
                        permit.settle(None, Load::TooMuch(Duration::ZERO), took)
                    }
                    Class::Unreachable if fault.unsent => permit.refund(),
                    Class::Unreachable | Class::Transient => permit.settle(None, Load::Unknown, took),
                    Class::BadRequest | Class::TooLong | Class::Filtered | Class::QuotaGone => {
                        permit.settle(Some(0), Load::Unknown, took);
                    }
                }
            }
        }
        Sent { offer, place, outcome, took }
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

    /// What the endpoint takes off its token quota for a reply; nothing if it does not count.
    fn counted(&self, reply: &Reply, max_tokens: u32) -> Option<u64> {
        let TokenCounting { max_tokens: whole_room, cached } = self.counting;
        let prompt = if cached { reply.prompt_tokens } else { reply.prompt_tokens - reply.cached_tokens };
        let completion = if whole_room { u64::from(max_tokens) } else { reply.completion_tokens };
        (reply.prompt_tokens > 0).then_some(prompt + completion)
    }
}

fn nobody() -> Failure {
    Failure::new(AbstainWhy::Internal, "the judge has no such address")
}

fn held_back(refused: Refused, patience: &Patience) -> Failure {
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
