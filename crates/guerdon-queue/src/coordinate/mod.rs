//! Coordination between replicas: single-flight, quotas and budgets that several processes share.
//!
//! [`InProcess`] serves one process. A cluster implements [`Coordinator`] with a shared store, so
//! that the same question is paid for once, and that quotas and budgets hold for all replicas
//! together.

mod in_process;

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use self::in_process::InProcess;

/// An error of a [`Coordinator`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinatorError {
    /// The shared store cannot be reached, or failed.
    #[error("the coordination store is unavailable: {detail}")]
    Unavailable {
        /// The cause.
        detail: String,
    },
}

/// The result of [`Coordinator::claim`].
#[derive(Debug)]
pub enum Claim {
    /// The caller makes the call. It drops the lease once the value is stored where the others
    /// look.
    Lead(Lease),
    /// Another caller made the call and has ended, with or without a value. The caller looks where
    /// values are stored, and claims the key again if there is none.
    Ended,
}

/// The right to make the call of one key, until it is dropped.
pub struct Lease {
    release: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Lease {
    /// A lease that calls `release` when it is dropped.
    pub fn new(release: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { release: Some(Box::new(release)) }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

/// A request for a part of a shared quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaRequest<'a> {
    /// The quota's name. All replicas use the same `limit` and `span` for one name.
    pub name: &'a str,
    /// Units in any `span`.
    pub limit: u64,
    /// The time over which units are counted.
    pub span: Duration,
    /// The units to reserve: an estimate, settled afterwards.
    pub amount: u64,
}

/// The identity of a reservation at its coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReservationId(pub String);

/// The answer to a [`QuotaRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuotaGrant {
    /// The units are reserved.
    Reserved(ReservationId),
    /// The units do not fit before this time has passed. Nothing is reserved.
    Wait(Duration),
}

/// A budget that does not cover a reservation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetRefusal {
    /// The settled costs.
    pub spent: f64,
    /// The outstanding reservations, which may settle at less.
    pub reserved: f64,
}

/// State that replicas share. Names and keys are chosen by the caller; the coordinator does not
/// interpret them.
pub trait Coordinator: fmt::Debug + Send + Sync {
    /// Claims the call of `key`. If another caller leads, waits until it has ended. A leader that
    /// is cancelled or whose process dies ends too.
    fn claim<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Claim, CoordinatorError>>;

    /// Reserves units of a quota, if they fit now.
    fn reserve_quota<'a>(
        &'a self,
        request: QuotaRequest<'a>,
    ) -> BoxFuture<'a, Result<QuotaGrant, CoordinatorError>>;

    /// Replaces the amount of a reservation of quota `name` by the amount that was used.
    fn settle_quota<'a>(
        &'a self,
        name: &'a str,
        reservation: &'a ReservationId,
        used: u64,
    ) -> BoxFuture<'a, Result<(), CoordinatorError>>;

    /// Reserves `cost` in the budget `name`, whose cap is `cap`: settled costs and outstanding
    /// reservations together stay at most `cap`.
    fn reserve_budget<'a>(
        &'a self,
        name: &'a str,
        cost: f64,
        cap: f64,
    ) -> BoxFuture<'a, Result<Result<ReservationId, BudgetRefusal>, CoordinatorError>>;

    /// Replaces a reservation in the budget `name` by its actual cost.
    fn settle_budget<'a>(
        &'a self,
        name: &'a str,
        reservation: &'a ReservationId,
        cost: f64,
    ) -> BoxFuture<'a, Result<(), CoordinatorError>>;
}
