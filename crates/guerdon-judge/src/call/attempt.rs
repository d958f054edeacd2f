//! One attempt on a question: a request, and perhaps a second one if the first is slow.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::Demand;
use guerdon_types::Usage;
use tokio::time::Instant;

use crate::call::exchange::{AttemptSpec, Exchange, one_call};
use crate::call::judge_client::JudgeClient;
use crate::call::record::AttemptRecord;
use crate::call::ticket::Ticket;
use crate::store::budget::Reservation;
use crate::store::event::{CallEvent, CallOutcome};

/// The result of an attempt.
#[derive(Debug)]
pub(crate) struct AttemptOutcome<'a> {
    pub(crate) exchange: Exchange,
    pub(crate) record: AttemptRecord<'a>,
    /// The losing request of a hedged attempt.
    pub(crate) other: Option<AttemptRecord<'a>>,
    /// The cost of the checks that either request led to.
    pub(crate) checks: Usage,
}

/// The winner of a race between two requests.
struct Race<'a> {
    exchange: Exchange,
    reservation: Reservation<'a>,
    /// The loser: its address, its reservation and its result if it has one.
    loser: Option<(usize, Reservation<'a>, Result<Exchange, Duration>)>,
}

impl JudgeClient {
    /// Attempts once with `ticket`. `demand` is that of a second request.
    pub(crate) async fn attempt<'a>(
        self: &'a Arc<Self>,
        ticket: Ticket<'a>,
        attempt: AttemptSpec<'_>,
        demand: Demand,
    ) -> AttemptOutcome<'a> {
        let waited = ticket.waited;
        let most = self.most(attempt.question, attempt.max_tokens);
        let event = |outcome, duration, usage| CallEvent {
            outcome,
            duration,
            waited,
            attempt: attempt.number,
            cached: false,
            usage,
        };
        let Race { exchange, reservation, loser } = self.race(ticket, attempt, demand).await;
        let mut sum = exchange.checks;
        let other = loser.map(|(address, reservation, ended)| {
            let event = match ended {
                Ok(Exchange { outcome, took, checks, .. }) => {
                    sum.add(&checks);
                    let usage = self.usage(&outcome, most);
                    let outcome =
                        outcome.map_or_else(|fault| fault.class.outcome(), |_| CallOutcome::Hedged);
                    event(outcome, took, usage)
                }
                // Given up: it was sent, too, and may be billed.
                Err(since) => event(CallOutcome::Hedged, since, one_call(most)),
            };
            AttemptRecord { address, event, reservation }
        });
        let usage = self.usage(&exchange.outcome, most);
        let event = event(CallOutcome::Ok, exchange.took, usage);
        let record = AttemptRecord { address: exchange.address, event, reservation };
        AttemptOutcome { exchange, record, other, checks: sum }
    }

    /// Sends a request, and a second one if the first takes longer than the hedge's patience and
    /// everything for it is free. The first answer wins; a failure leaves the other to finish.
    async fn race<'a>(
        self: &'a Arc<Self>,
        ticket: Ticket<'a>,
        attempt: AttemptSpec<'_>,
        demand: Demand,
    ) -> Race<'a> {
        let Ticket { permit, reservation, .. } = ticket;
        let (first_address, started) = (permit.address(), Instant::now());
        let hedge_after = self.hedge.patience();
        let mut first = pin!(self.exchange(permit, attempt));
        let alone = |exchange, reservation| Race { exchange, reservation, loser: None };
        let Some(patience) = hedge_after else { return alone(first.await, reservation) };
        if let Ok(exchange) = tokio::time::timeout(patience, &mut first).await {
            return alone(exchange, reservation);
        }
        let demand = Demand { avoid: Some(first_address), ..demand };
        let most = self.most(attempt.question, attempt.max_tokens);
        let Some(Ticket { permit, reservation: mut held, .. }) = self.spare_ticket(&demand, most)
        else {
            return alone(first.await, reservation);
        };
        let mut units = None;
        let secured = async {
            if held.secure_now().await {
                units = self.shared.take_now(permit.address(), demand.tokens).await;
            }
        };
        let ended = meanwhile(&mut first, secured).await;
        let permit = match (ended, units) {
            (None, Some(units)) => permit.with_units(units),
            (ended, units) => {
                units.unwrap_or_default().refund();
                permit.refund();
                held.settle(0.0).await;
                let exchange = match ended {
                    Some(exchange) => exchange,
                    None => first.await,
                };
                return alone(exchange, reservation);
            }
        };
        let (second_address, later) = (permit.address(), Instant::now());
        let mut second = pin!(self.exchange(permit, attempt));
        let (exchange, second_won, failed) = tokio::select! {
            biased;
            ended = &mut first => match ended.outcome {
                Ok(_) => (ended, false, None),
                Err(_) => (second.await, true, Some(ended)),
            },
            ended = &mut second => match ended.outcome {
                Ok(_) => (ended, true, None),
                Err(_) => (first.await, false, Some(ended)),
            },
        };
        if second_won {
            let ended = failed.ok_or_else(|| started.elapsed());
            Race { exchange, reservation: held, loser: Some((first_address, reservation, ended)) }
        } else {
            let ended = failed.ok_or_else(|| later.elapsed());
            Race { exchange, reservation, loser: Some((second_address, held, ended)) }
        }
    }
}

/// Does `work` to its end; returns what `first` brings until then.
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
