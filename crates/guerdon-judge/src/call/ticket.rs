//! Admission of one request: a place at an address within its limits, and the money for it.
//!
//! The money is reserved after the queue, so that queued requests cannot exhaust the budget.

use std::time::Duration;

use guerdon_queue::{AdmissionPermit, Demand, Refusal};
use guerdon_types::AbstainWhy;
use tokio::time::Instant;

use crate::ask::answer::{Failure, PatienceEnd};
use crate::call::judge_client::JudgeClient;
use crate::call::patience::{Patience, gave_up_waiting};
use crate::call::permit::CallPermit;
use crate::store::budget::Reservation;

/// A place at an address, and the reserved money.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    pub(crate) permit: CallPermit,
    pub(crate) reservation: Reservation<'a>,
    /// Time spent in the queue.
    pub(crate) waited: Duration,
}

/// The result of waiting for a ticket.
#[derive(Debug)]
pub(crate) enum TicketAnswer<'a> {
    /// The request may be sent.
    Ticket(Ticket<'a>),
    /// The address has to be [checked](crate::call::check) first.
    Probe(AdmissionPermit),
}

impl JudgeClient {
    /// Waits for a place at an address, and reserves `most` for a request.
    pub(crate) async fn ticket(
        &self,
        demand: Demand,
        most: f64,
        patience: &Patience,
    ) -> Result<TicketAnswer<'_>, Failure> {
        self.budget.allows(most).map_err(Failure::over_budget)?;
        let (queued, tokens) = (Instant::now(), demand.tokens);
        let permit = match patience.wait(self.admission.enter(demand)).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(refusal)) => return Err(self.not_admitted(refusal, patience)),
            Err(patience_end) => return Err(gave_up_waiting(patience_end)),
        };
        if permit.is_probe() {
            return Ok(TicketAnswer::Probe(permit));
        }
        let units = match self.shared.take(permit.address(), tokens, patience).await {
            Ok(units) => units,
            Err(failure) => {
                permit.refund();
                return Err(failure);
            }
        };
        let permit = CallPermit::new(permit, units);
        match self.reserved(most, patience).await {
            Ok(reservation) => {
                let waited = queued.elapsed();
                Ok(TicketAnswer::Ticket(Ticket { permit, reservation, waited }))
            }
            Err(failure) => {
                permit.refund();
                Err(failure)
            }
        }
    }

    /// Reserves `most`, in the books of this server and of all replicas.
    async fn reserved(&self, most: f64, patience: &Patience) -> Result<Reservation<'_>, Failure> {
        let reserved = async {
            let held = patience.held.as_ref();
            match held.and_then(|held| self.budget.reserve_from(held, most)) {
                Some(reservation) => Ok(reservation),
                None => self.budget.reserve_when_free(most).await,
            }
        };
        let reserved = patience.wait(reserved).await.map_err(gave_up_waiting)?;
        let mut reservation = reserved.map_err(Failure::over_budget)?;
        patience.wait(reservation.secure()).await.map_err(gave_up_waiting)??;
        Ok(reservation)
    }

    /// A ticket for a second request, if everything for it is free now.
    pub(crate) fn spare_ticket(&self, demand: &Demand, most: f64) -> Option<Ticket<'_>> {
        let reservation = self.budget.reserve(most).ok()?;
        let permit = self.admission.try_enter(demand)?;
        if !self.hedge.take() {
            permit.refund();
            return None;
        }
        Some(Ticket { permit: permit.into(), reservation, waited: Duration::ZERO })
    }

    fn not_admitted(&self, refusal: Refusal, patience: &Patience) -> Failure {
        let late = |why, detail: &str| Failure {
            patience_end: patience.deadline.map(PatienceEnd::Deadline),
            ..Failure::new(why, detail)
        };
        match refusal {
            Refusal::PausedTooLong => late(
                AbstainWhy::RateLimited,
                "the judge endpoint asked for a pause beyond the request's deadline",
            ),
            Refusal::TooLate => late(
                AbstainWhy::Deadline,
                "the judge's queue is longer than the request's deadline; nothing was sent",
            ),
            Refusal::Down(probe) => self.down(probe),
        }
    }

    /// The failure of a question while no address is up: the reason of the first that has one.
    fn down(&self, probe: Instant) -> Failure {
        let wait = probe.saturating_duration_since(Instant::now()).as_secs();
        let failure = self.addresses.iter().find_map(|address| address.last_failure());
        let failure = failure
            .unwrap_or_else(|| Failure::new(AbstainWhy::Unreachable, "the judge endpoint failed"));
        let detail = format!(
            "the judge endpoint failed repeatedly ({}); the next check is in {wait} s",
            failure.detail
        );
        Failure { detail, ..failure }
    }
}
