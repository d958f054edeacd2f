//! One attempt on a question: money set aside, a place taken, the body sent, what was reserved settled. And, where it is
//! wanted, a second one beside it if the first is slow.

use std::pin::pin;
use std::time::Duration;

use guerdon_types::{AbstainWhy, Usage};
use tokio::time::Instant;

use crate::call::{CallEvent, Caller, Failure, held_back, impatient};
use crate::config::TokenCounting;
use crate::key::{Identity, Question};
use crate::limit::{Load, Permit, Place, Want};
use crate::patience::Patience;
use crate::retry::{Class, Fault};
use crate::upstream::{self, Upstream};
use crate::wire::{self, Offer, Reply};

/// What is to be attempted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) question: &'a Question,
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
        let (upstream, sent) = match (early, second) {
            (Some(sent), _) => (index, sent),
            (None, None) => (index, first.await),
            (None, Some((other, beside, permit))) => {
                let started = Instant::now();
                let mut second = pin!(self.send(beside, permit, question, max_tokens));
                // A failure of one leaves the other to finish.
                let won = tokio::select! {
                    sent = &mut first => if sent.outcome.is_ok() { (index, sent) } else { (other, second.await) },
                    sent = &mut second => if sent.outcome.is_ok() { (other, sent) } else { (index, first.await) },
                };
                // The other one was sent too, and may be billed; nobody will ever know how much.
                let usage = Usage { judge_calls: 1, ..Usage::default() };
                (self.observer)(&event("hedged", started.elapsed(), usage));
                won
            }
        };
        let Sent { offer, place, outcome, took } = sent;
        let event = event("ok", took, self.usage(outcome.as_ref().ok()));
        Ok(Attempted { upstream, offer, place, outcome, event })
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

    async fn send(&self, at: &Upstream, permit: Permit, question: &Question, max_tokens: u32) -> Sent {
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
