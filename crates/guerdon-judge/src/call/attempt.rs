//! One attempt on a question: waits for a permit, reserves its cost, sends the request and settles
//! both. A slow first request may be hedged with a second one.

use std::pin::pin;
use std::time::Duration;

use guerdon_queue::{AdmissionPermit, Backoff, Demand, LoadSignal, QueuePosition, Refusal};
use guerdon_types::{AbstainWhy, Usage};
use tokio::time::Instant;

use crate::ask::answer::Failure;
use crate::ask::answer::PatienceEnd;
use crate::ask::key::Identity;
use crate::ask::question::RenderedQuestion;
use crate::call::hedge::Hedge;
use crate::call::patience::Patience;
use crate::call::retry::{Class, Fault};
use crate::call::token_estimate::TokenEstimator;
use crate::call::upstream::{self, Upstream};
use crate::call::wire::{self, Completion, RequestFeatures};
use crate::config::{TokenCounting, TokenPrices};
use crate::store::audit::AuditLog;
use crate::store::budget::{Reservation, SpendingBudget};
use crate::store::event::{CallEvent, CallObserver, CallOutcome};

/// One judge, as something to be called.
pub(crate) struct JudgeClient {
    /// At least one.
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) identity: Identity,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) backoff: Backoff,
    pub(crate) prices: TokenPrices,
    pub(crate) counting: TokenCounting,
    pub(crate) estimate: TokenEstimator,
    pub(crate) hedge: Hedge,
    pub(crate) budget: SpendingBudget,
    pub(crate) audit: Option<AuditLog>,
    pub(crate) observer: CallObserver,
}

impl std::fmt::Debug for JudgeClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("upstreams", &self.upstreams).finish_non_exhaustive()
    }
}

/// The parameters of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptSpec<'a> {
    pub(crate) question: &'a RenderedQuestion,
    pub(crate) max_tokens: u32,
    /// Set if the model should reason less.
    pub(crate) reduce_reasoning: bool,
    /// Counts from 1.
    pub(crate) number: u32,
    /// Queue position of the previous attempt, if it was refused for load.
    pub(crate) position: Option<QueuePosition>,
}

/// The result of an attempt.
pub(crate) struct AttemptOutcome<'a> {
    pub(crate) features: RequestFeatures,
    pub(crate) position: QueuePosition,
    pub(crate) outcome: Result<Completion, Fault>,
    pub(crate) ended: AttemptRecord<'a>,
    /// The losing request of a hedged attempt.
    pub(crate) other: Option<AttemptRecord<'a>>,
}

/// A request that was sent and must be recorded and paid for.
pub(crate) struct AttemptRecord<'a> {
    pub(crate) upstream: usize,
    pub(crate) event: CallEvent,
    pub(crate) reservation: Reservation<'a>,
}

/// The result of one request.
struct SendOutcome {
    features: RequestFeatures,
    position: QueuePosition,
    outcome: Result<Completion, Fault>,
    took: Duration,
}

impl JudgeClient {
    /// Attempts once at upstream `index`, perhaps hedged.
    pub(crate) async fn attempt(
        &self,
        index: usize,
        attempt: AttemptSpec<'_>,
        patience: &Patience,
    ) -> Result<AttemptOutcome<'_>, Failure> {
        let AttemptSpec { question, max_tokens, reduce_reasoning: _, number, position } = attempt;
        let prompt = self.estimate.prompt(&question.messages);
        let most = self.prices.cost(prompt, max_tokens.into());
        // The nearest reason that replies have a word for: a limit, and not the endpoint's own.
        let over_budget = |detail: String| Failure::new(AbstainWhy::RateLimited, detail);
        self.budget.allows(most).map_err(over_budget)?;
        let tokens = if self.counting.max_tokens {
            prompt + u64::from(max_tokens)
        } else {
            prompt + self.estimate.completion(max_tokens)
        };
        let want =
            Demand { tokens, flow: patience.flow.clone(), deadline: patience.deadline, position };
        let at = self.upstreams.get(index).ok_or_else(no_such_address)?;
        let queued = Instant::now();
        let permit = match patience.wait(at.admission.enter(want.clone())).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(refused)) => return Err(not_admitted(refused, patience)),
            Err(patience_end) => return Err(gave_up_waiting(patience_end)),
        };
        // Reserved after the queue, so that queued requests cannot exhaust the budget.
        let mut reservation = match patience.wait(self.budget.reserve_when_free(most)).await {
            Ok(Ok(reservation)) => reservation,
            Ok(Err(detail)) => {
                permit.refund();
                return Err(over_budget(detail));
            }
            Err(patience_end) => {
                permit.refund();
                return Err(gave_up_waiting(patience_end));
            }
        };
        let waited = queued.elapsed();
        reservation.write().await;
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
        let (upstream, sent, other) = match (early, second) {
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
                        event(fault.class.outcome(), took, self.usage(&Err(fault), most))
                    }
                    // Given up: it was sent, too, and may be billed.
                    Some((_, Ok(_))) | None => {
                        event(CallOutcome::Hedged, since.elapsed(), one_call(most))
                    }
                };
                (won, sent, Some(AttemptRecord { upstream: lost, event, reservation: held }))
            }
        };
        let SendOutcome { features, position, outcome, took } = sent;
        let event = event(CallOutcome::Ok, took, self.usage(&outcome, most));
        Ok(AttemptOutcome {
            features,
            position,
            outcome,
            ended: AttemptRecord { upstream, event, reservation },
            other,
        })
    }

    /// Takes a permit and reserves the cost of a hedge if both are available now; at another
    /// address if there is one.
    fn second(
        &self,
        first: usize,
        want: &Demand,
        most: f64,
    ) -> Option<(usize, &Upstream, AdmissionPermit, Reservation<'_>)> {
        let index = upstream::choose(&self.upstreams, Some(first)).ok()?;
        let other = self.upstreams.get(index)?;
        let reservation = self.budget.reserve(most).ok()?;
        if !self.hedge.take() {
            return None;
        }
        Some((index, other, other.admission.try_enter(want)?, reservation))
    }

    async fn send(
        &self,
        at: &Upstream,
        permit: AdmissionPermit,
        attempt: AttemptSpec<'_>,
    ) -> SendOutcome {
        let AttemptSpec { question, max_tokens, reduce_reasoning, number: _, position: _ } =
            attempt;
        let features = at.capabilities.now(reduce_reasoning);
        let Identity { model, extra_body, reduced_reasoning, .. } = &self.identity;
        let reduced_reasoning = reduced_reasoning
            .as_ref()
            .filter(|_| features.reduced_reasoning)
            .map(|reduced_reasoning| &reduced_reasoning.body);
        let body = wire::request(
            model,
            question,
            max_tokens,
            features,
            reduced_reasoning.unwrap_or(extra_body),
        );
        let position = permit.position();
        let started = Instant::now();
        let outcome = at.exchange(body, self.timeout).await;
        let outcome = outcome.map_err(|fault| fault.after(&question.messages));
        let took = started.elapsed();
        match &outcome {
            Ok(reply) => {
                at.remember(Ok(()));
                self.hedge.answered(took);
                self.estimate.update(
                    &question.messages,
                    reply.prompt_tokens,
                    reply.completion_tokens,
                );
                permit.settle(self.counted(reply, max_tokens), LoadSignal::Accepted, took);
            }
            Err(fault) => {
                at.remember(Err(fault.class));
                match fault.class {
                    Class::RateLimited => {
                        permit.settle(
                            Some(0),
                            LoadSignal::Overloaded(fault.delay.unwrap_or_default()),
                            took,
                        );
                    }
                    Class::Unreachable if fault.timed_out => {
                        permit.settle(None, LoadSignal::Overloaded(Duration::ZERO), took)
                    }
                    Class::Unreachable if fault.unsent => permit.refund(),
                    Class::Unreachable | Class::Transient => {
                        permit.settle(None, LoadSignal::Unknown, took)
                    }
                    Class::BadRequest | Class::TooLong | Class::Filtered | Class::QuotaGone => {
                        permit.settle(Some(0), LoadSignal::Unknown, took);
                    }
                }
            }
        }
        SendOutcome { features, position, outcome, took }
    }

    /// Usage of an attempt with a maximum cost of `most`.
    fn usage(&self, outcome: &Result<Completion, Fault>, most: f64) -> Usage {
        match outcome {
            Ok(Completion { prompt_tokens: 0, .. }) | Err(Fault { uncounted: true, .. }) => {
                one_call(most)
            }
            Ok(Completion { prompt_tokens, completion_tokens, .. }) => Usage {
                prompt_tokens: *prompt_tokens,
                completion_tokens: *completion_tokens,
                ..one_call(self.prices.cost(*prompt_tokens, *completion_tokens))
            },
            Err(_) => one_call(0.0),
        }
    }

    /// Tokens that the endpoint takes off its quota for a reply; `None` if it does not count.
    fn counted(&self, reply: &Completion, max_tokens: u32) -> Option<u64> {
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

/// Usage of a call whose tokens were not counted.
fn one_call(cost: f64) -> Usage {
    Usage { judge_calls: 1, cost, ..Usage::default() }
}

fn no_such_address() -> Failure {
    Failure::new(AbstainWhy::Internal, "the judge has no such address")
}

fn not_admitted(refused: Refusal, patience: &Patience) -> Failure {
    let late = |why, detail: &str| Failure {
        patience_end: patience.deadline.map(PatienceEnd::Deadline),
        ..Failure::new(why, detail)
    };
    match refused {
        Refusal::PausedTooLong => late(
            AbstainWhy::RateLimited,
            "the judge endpoint asked for a pause beyond the request's deadline",
        ),
        Refusal::TooLate => late(
            AbstainWhy::Deadline,
            "the judge's queue is longer than the request's deadline; nothing was sent",
        ),
    }
}

pub(crate) fn gave_up_waiting(patience_end: PatienceEnd) -> Failure {
    let detail = "the request's deadline passed before the judge could be asked";
    Failure { patience_end: Some(patience_end), ..Failure::new(AbstainWhy::Deadline, detail) }
}
