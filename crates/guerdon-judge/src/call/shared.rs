//! The limits of a judge that replicas share: the quotas of its addresses, and their pauses.

use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::{Admission, AdmissionLimits, QuotaGrant, QuotaRequest, QuotaUnits};
use guerdon_types::AbstainWhy;
use tokio::time::Instant;

use crate::ask::answer::{Failure, PatienceEnd};
use crate::call::patience::{Patience, gave_up_waiting};
use crate::call::services::SharedCoordinator;

/// The time for which a request waits for a coordinator that does not answer.
const OUTAGE_PATIENCE: Duration = Duration::from_secs(5);
/// The time after which a request without a deadline is given up.
const LONGEST_PATIENCE: Duration = Duration::from_secs(600);
/// The pause between two attempts to reach the coordinator.
const RETRY: Duration = Duration::from_millis(100);

/// The limits of a judge that replicas share.
#[derive(Debug)]
pub(crate) struct SharedLimits {
    coordinator: SharedCoordinator,
    /// The names of the addresses at the coordinator, in their order.
    names: Vec<String>,
    requests: Option<u64>,
    tokens: Option<u64>,
    span: Duration,
}

/// Units of shared quotas that a request has taken.
#[derive(Debug, Default)]
pub(crate) struct SharedUnits(Vec<TakenUnits>);

#[derive(Debug)]
struct TakenUnits {
    coordinator: SharedCoordinator,
    quota: String,
    units: QuotaUnits,
    is_tokens: bool,
}

impl SharedUnits {
    /// Replaces the estimated tokens by the number that was used, if that is known.
    pub(crate) fn settle(self, tokens: Option<u64>) {
        for TakenUnits { coordinator, quota, units, is_tokens } in self.0 {
            if let Some(tokens) = tokens.filter(|_| is_tokens) {
                coordinator.settle_quota(&quota, units, tokens);
            }
        }
    }

    /// Gives the units back.
    pub(crate) fn refund(self) {
        for TakenUnits { coordinator, quota, units, .. } in self.0 {
            coordinator.settle_quota(&quota, units, 0);
        }
    }
}

impl SharedLimits {
    pub(crate) fn new(
        coordinator: SharedCoordinator,
        names: Vec<String>,
        limits: &AdmissionLimits,
    ) -> Self {
        let AdmissionLimits { requests, tokens, span, .. } = *limits;
        Self { coordinator, names, requests, tokens, span }
    }

    /// Applies the pauses that other replicas are told to the addresses of `admission`.
    pub(crate) fn follow_pauses(&self, admission: &Arc<Admission>) {
        if !self.coordinator.is_shared() {
            return;
        }
        for (index, name) in self.names.iter().enumerate() {
            let admission = Arc::downgrade(admission);
            let listener = move |pause| match admission.upgrade() {
                Some(admission) => {
                    admission.pause(index, pause);
                    true
                }
                None => false,
            };
            self.coordinator.on_pause(name, Arc::new(listener));
        }
    }

    /// Tells the other replicas that an address asked for a pause.
    pub(crate) fn pause(&self, address: usize, pause: Duration) {
        if let Some(name) = self.names.get(address) {
            self.coordinator.pause(name, pause);
        }
    }

    /// The quotas of an address with the units that a request takes of each.
    fn quotas(&self, address: usize, tokens: u64) -> Vec<(String, u64, u64, bool)> {
        let Some(name) = self.names.get(address).filter(|_| self.coordinator.is_shared()) else {
            return Vec::new();
        };
        // Quotas of other limits are others: their windows could not be compared.
        let quota = |kind, limit, amount, is_tokens| {
            (format!("{kind} {limit} {:?} {name}", self.span), limit, amount, is_tokens)
        };
        let requests = self.requests.map(|limit| quota("requests", limit, 1, false));
        let tokens = self.tokens.map(|limit| quota("tokens", limit, tokens, true));
        requests.into_iter().chain(tokens).collect()
    }

    /// Takes the units of a request at an address, and waits for them.
    pub(crate) async fn take(
        &self,
        address: usize,
        tokens: u64,
        patience: &Patience,
    ) -> Result<SharedUnits, Failure> {
        let mut taken = SharedUnits::default();
        for quota in self.quotas(address, tokens) {
            match self.take_one(&quota, patience).await {
                Ok(units) => taken.0.push(units),
                Err(failure) => {
                    taken.refund();
                    return Err(failure);
                }
            }
        }
        Ok(taken)
    }

    async fn take_one(
        &self,
        (name, limit, amount, is_tokens): &(String, u64, u64, bool),
        patience: &Patience,
    ) -> Result<TakenUnits, Failure> {
        let request = QuotaRequest { name, limit: *limit, span: self.span, amount: *amount };
        let started = Instant::now();
        let end = patience.deadline.unwrap_or_else(|| started + LONGEST_PATIENCE);
        loop {
            let now = Instant::now();
            let asked = patience.wait(self.coordinator.take_quota(request)).await;
            let wait = match asked.map_err(gave_up_waiting)? {
                Ok(QuotaGrant::Taken(units)) => {
                    let coordinator = self.coordinator.clone();
                    let (quota, is_tokens) = (name.clone(), *is_tokens);
                    return Ok(TakenUnits { coordinator, quota, units, is_tokens });
                }
                Ok(QuotaGrant::Wait(wait)) if wait < end.saturating_duration_since(now) => wait,
                Ok(QuotaGrant::Wait(_)) => {
                    let detail = "the quota that all replicas share allows no call within the \
                                  request's deadline";
                    return Err(Failure {
                        patience_end: patience.deadline.map(PatienceEnd::Deadline),
                        ..Failure::new(AbstainWhy::RateLimited, detail)
                    });
                }
                Err(_) if started.elapsed() < OUTAGE_PATIENCE => RETRY,
                Err(error) => return Err(Failure::uncoordinated(&error)),
            };
            patience.wait(tokio::time::sleep(wait)).await.map_err(gave_up_waiting)?;
        }
    }

    /// Takes the units of a request that is sent only if they are free now.
    pub(crate) async fn take_now(&self, address: usize, tokens: u64) -> Option<SharedUnits> {
        let mut taken = SharedUnits::default();
        for (quota, limit, amount, is_tokens) in self.quotas(address, tokens) {
            let request = QuotaRequest { name: &quota, limit, span: self.span, amount };
            let Ok(QuotaGrant::Taken(units)) = self.coordinator.take_quota(request).await else {
                taken.refund();
                return None;
            };
            let coordinator = self.coordinator.clone();
            taken.0.push(TakenUnits { coordinator, quota, units, is_tokens });
        }
        Some(taken)
    }
}
