//! One attempt on a question: a place taken, money set aside, the body sent, what was reserved settled. And, where it is
//! wanted, a second one beside it if the first is slow.

use std::pin::pin;
use std::time::Duration;

use guerdon_types::{AbstainWhy, Usage};
use tokio::time::Instant;

use crate::ask::answer::Failure;
use crate::ask::answer::GaveUp;
use crate::ask::key::Identity;
use crate::ask::question::Worded;
use crate::call::hedge::Hedge;
use crate::call::patience::Patience;
use crate::call::retry::{Class, Fault};
use crate::call::token_estimate::Estimate;
use crate::call::upstream::{self, Upstream};
use crate::call::wire::{self, Offer, Reply};
use crate::config::{Prices, TokenCounting};
use crate::limit::{Load, Permit, Place, Refused, Want};
use crate::store::audit::Audit;
use crate::store::budget::{Budget, Hold};
use crate::store::event::{CallEvent, Observer};

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
    /// Whether the model should reason less.
    pub(crate) ease: bool,
    /// Counts from 1.
    pub(crate) number: u32,
    /// Where the attempt before stood, if it was told to slow down.
    pub(crate) place: Option<Place>,
}

/// What came of it.
pub(crate) struct Attempted<'a> {
    pub(crate) offer: Offer,
    pub(crate) place: Place,
    pub(crate) outcome: Result<Reply, Fault>,
    pub(crate) ended: Ended<'a>,
    /// The other one of two that were sent beside each other.
    pub(crate) beside: Option<Ended<'a>>,
}

/// An attempt that was sent and has to be told of, and paid for.
pub(crate) struct Ended<'a> {
    pub(crate) upstream: usize,
    pub(crate) event: CallEvent,
    pub(crate) hold: Hold<'a>,
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
    ) -> Result<Attempted<'_>, Failure> {
        let Attempt { question, max_tokens, ease: _, number, place } = attempt;
        let prompt = self.estimate.prompt(&question.messages);
        let most = self.prices.cost(prompt, max_tokens.into());
        // The nearest reason that replies have a word for: a limit, and not the endpoint's own.
        let too_dear = |detail: String| Failure::new(AbstainWhy::RateLimited, detail);
        self.budget.allows(most).map_err(too_dear)?;
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
        // Not while it waited: what only might be sent would leave nothing for what is.
        let mut hold = match patience.wait(self.budget.hold_in_turn(most)).await {
            Ok(Ok(hold)) => hold,
            Ok(Err(detail)) => {
                permit.refund();
                return Err(too_dear(detail));
            }
            Err(gave_up) => {
                permit.refund();
                return Err(impatient(gave_up));
            }
        };
        let waited = queued.elapsed();
        hold.write().await;
        let event = |outcome, duration, usage| CallEvent {
            outcome,
            duration,
            waited,
            attempt: number,
            cached: false,
            usage,
        };

        let hedge_after = self.hedge.patience();
        let started = Instant::now();
        let mut first = pin!(self.send(at, permit, attempt));
        let slow = async {
            match hedge_after {
                Some(patience) => tokio::time::sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        let mut early = tokio::select! {
            biased;
            sent = &mut first => Some(sent),
            () = slow => None,
        };
        let mut second = if early.is_none() { self.second(index, &want, most) } else { None };
        if let Some((_, _, _, held)) = &mut second {
            early = meanwhile(&mut first, held.write()).await;
        }
        let (upstream, sent, beside) = match (early, second) {
            (Some(sent), unsent) => {
                if let Some((_, _, permit, held)) = unsent {
                    permit.refund();
                    held.settle(0.0).await;
                }
                (index, sent, None)
            }
            (None, None) => (index, first.await, None),
            (None, Some((other, at, permit, held))) => {
                let later = Instant::now();
                let mut second = pin!(self.send(at, permit, attempt));
                // A failure of one leaves the other to finish.
                let (second_won, sent, failed) = tokio::select! {
                    biased;
                    sent = &mut first => match sent.outcome {
                        Ok(_) => (false, sent, None),
                        Err(_) => (true, second.await, Some(sent)),
                    },
                    sent = &mut second => match sent.outcome {
                        Ok(_) => (true, sent, None),
                        Err(_) => (false, first.await, Some(sent)),
                    },
                };
                let (won, lost, since) =
                    if second_won { (other, index, started) } else { (index, other, later) };
                let event = match failed.map(|failed| (failed.took, failed.outcome)) {
                    Some((took, Err(fault))) => {
                        event(fault.class.as_str(), took, self.usage(&Err(fault), most))
                    }
                    // Given up: it was sent, too, and may be billed.
                    Some((_, Ok(_))) | None => event("hedged", since.elapsed(), one_call(most)),
                };
                (won, sent, Some(Ended { upstream: lost, event, hold: held }))
            }
        };
        let Sent { offer, place, outcome, took } = sent;
        let event = event("ok", took, self.usage(&outcome, most));
        Ok(Attempted { offer, place, outcome, ended: Ended { upstream, event, hold }, beside })
    }

    /// A place, and the money, for a second attempt right now: at another address if there is one.
    fn second(
        &self,
        first: usize,
        want: &Want,
        most: f64,
    ) -> Option<(usize, &Upstream, Permit, Hold<'_>)> {
        let other = upstream::choose(&self.upstreams, Some(first)).ok()?;
        let beside = self.upstreams.get(other)?;
        let hold = self.budget.hold(most).ok()?;
        if !self.hedge.take() {
            return None;
        }
        Some((other, beside, beside.limit.try_enter(want)?, hold))
    }

    async fn send(&self, at: &Upstream, permit: Permit, attempt: Attempt<'_>) -> Sent {
        let Attempt { question, max_tokens, ease, number: _, place: _ } = attempt;
        let offer = at.offers.now(ease);
        let Identity { model, extra_body, eased, .. } = &self.identity;
        let eased = eased.as_ref().filter(|_| offer.eased).map(|eased| &eased.body);
        let body = wire::request(model, question, max_tokens, offer, eased.unwrap_or(extra_body));
        let place = permit.place();
        let started = Instant::now();
        let outcome = at.exchange(body, self.timeout).await;
        let outcome = outcome.map_err(|fault| fault.after(&question.messages));
        let took = started.elapsed();
        match &outcome {
            Ok(reply) => {
                at.remember(Ok(()));
                self.hedge.answered(took);
                self.estimate.learn(
                    &question.messages,
                    reply.prompt_tokens,
                    reply.completion_tokens,
                );
                permit.settle(self.counted(reply, max_tokens), Load::Carried, took);
            }
            Err(fault) => {
                at.remember(Err(fault.class));
                match fault.class {
                    Class::RateLimited => {
                        permit.settle(
                            Some(0),
                            Load::TooMuch(fault.delay.unwrap_or_default()),
                            took,
                        );
                    }
                    Class::Unreachable if fault.timed_out => {
                        permit.settle(None, Load::TooMuch(Duration::ZERO), took)
                    }
                    Class::Unreachable if fault.unsent => permit.refund(),
                    Class::Unreachable | Class::Transient => {
                        permit.settle(None, Load::Unknown, took)
                    }
                    Class::BadRequest | Class::TooLong | Class::Filtered | Class::QuotaGone => {
                        permit.settle(Some(0), Load::Unknown, took);
                    }
                }
            }
        }
        Sent { offer, place, outcome, took }
    }

    /// What an attempt cost that might have cost `most`.
    fn usage(&self, outcome: &Result<Reply, Fault>, most: f64) -> Usage {
        match outcome {
            Ok(Reply { prompt_tokens: 0, .. }) | Err(Fault { uncounted: true, .. }) => {
                one_call(most)
            }
            Ok(Reply { prompt_tokens, completion_tokens, .. }) => Usage {
                prompt_tokens: *prompt_tokens,
                completion_tokens: *completion_tokens,
                ..one_call(self.prices.cost(*prompt_tokens, *completion_tokens))
            },
            Err(_) => one_call(0.0),
        }
    }

    /// What the endpoint takes off its token quota for a reply; nothing if it does not count.
    fn counted(&self, reply: &Reply, max_tokens: u32) -> Option<u64> {
        let TokenCounting { max_tokens: whole_room, cached } = self.counting;
        let prompt =
            if cached { reply.prompt_tokens } else { reply.prompt_tokens - reply.cached_tokens };
        let completion = if whole_room { u64::from(max_tokens) } else { reply.completion_tokens };
        (reply.prompt_tokens > 0).then_some(prompt + completion)
    }
}

/// Does `work` to its end; what `first` brings until then.
async fn meanwhile<T>(first: impl Future<Output = T>, work: impl Future<Output = ()>) -> Option<T> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        sent = first => {
            work.await;
            Some(sent)
        }
        () = &mut work => None,
    }
}

/// One call of which nobody counted the tokens.
fn one_call(cost: f64) -> Usage {
    Usage { judge_calls: 1, cost, ..Usage::default() }
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
