//! Coordination between replicas: answers, single-flight, quotas, budgets and pauses that several
//! servers share.
//!
//! [`Alone`] is the coordinator of a single server, which shares nothing. Another crate implements
//! [`Coordinator`] with a store that all replicas reach. An error of a coordinator costs money or
//! time and never a wrong value: the caller goes on with what its own process knows, or says that
//! coordination failed.

mod alone;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use self::alone::Alone;

/// An error of a [`Coordinator`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinatorError {
    /// The shared store cannot be reached, is too slow, or refused.
    #[error("the coordination store is unavailable: {detail}")]
    Unavailable {
        /// The cause.
        detail: String,
    },
}

/// The state of the coordination between replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoordinationState {
    /// The server shares nothing.
    Alone,
    /// The shared store answers.
    Up,
    /// The shared store does not answer.
    Down {
        /// The cause.
        detail: String,
    },
}

/// The result of [`Coordinator::claim`].
#[derive(Debug)]
pub enum Claim {
    /// The value that is stored under the key.
    Stored(Vec<u8>),
    /// The caller makes the call. It passes the lease to [`Coordinator::put`], or drops it if the
    /// call gave no value.
    Lead(Lease),
}

/// The end of a [`Lease`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEnd {
    /// The call gave no value.
    Abandoned,
    /// The value is stored, and the store has released the lease.
    Stored,
}

type EndLease = Box<dyn FnOnce(LeaseEnd) + Send + Sync>;

/// The right to make the call of one key, until it is dropped.
pub struct Lease {
    token: String,
    end: Option<EndLease>,
}

impl Lease {
    /// A lease with a token that its coordinator knows it by. `end` is called once.
    pub fn new(
        token: impl Into<String>,
        end: impl FnOnce(LeaseEnd) + Send + Sync + 'static,
    ) -> Self {
        Self { token: token.into(), end: Some(Box::new(end)) }
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Ends a lease that the store has released together with the write of the value.
    pub fn stored(mut self) {
        if let Some(end) = self.end.take() {
            end(LeaseEnd::Stored);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("token", &self.token).finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end(LeaseEnd::Abandoned);
        }
    }
}

/// A request for units of a shared quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaRequest<'a> {
    /// The quota's name. All replicas use the same `limit` and `span` for one name.
    pub name: &'a str,
    /// Units in any `span`.
    pub limit: u64,
    /// The time over which units are counted.
    pub span: Duration,
    /// The units to take: an estimate, settled afterwards.
    pub amount: u64,
}

/// Units that were taken from a shared quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaUnits {
    /// The number of units.
    pub amount: u64,
    /// The time slot in which the coordinator counts them; `None` for units that it does not count.
    pub slot: Option<u64>,
}

/// The answer to a [`QuotaRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaGrant {
    /// The units are taken.
    Taken(QuotaUnits),
    /// The units do not fit before this time has passed. Nothing is taken.
    Wait(Duration),
}

/// One account of a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetAccount {
    /// Its name.
    pub name: String,
    /// Its cap, in millionths of the currency; `None` if it is only counted.
    pub cap: Option<u64>,
}

/// A request to set money aside for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldRequest<'a> {
    /// The scope of the accounts: one name for all accounts that a call is charged to.
    pub scope: &'a str,
    /// The accounts that the call is charged to.
    pub accounts: &'a [BudgetAccount],
    /// The most that the call costs, in millionths of the currency.
    pub amount: u64,
    /// The time after which the amount counts as spent, if the hold was not settled by then.
    pub expires_after: Duration,
}

/// Money that is set aside for one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetHold {
    /// The identity of the hold at its coordinator.
    pub id: String,
    /// The scope of its accounts.
    pub scope: String,
    /// The names of its accounts.
    pub accounts: Vec<String>,
}

/// The answer to a [`HoldRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldGrant {
    /// The money is set aside.
    Held(BudgetHold),
    /// The money may be free after this time. Nothing is set aside.
    Wait(Duration),
    /// An account has no room for the amount.
    Refused {
        /// The name of the account.
        account: String,
        /// The settled costs of all replicas, in millionths of the currency.
        spent: u64,
    },
}

/// A function that is called with the length of a pause. It returns false once it is of no use, and
/// is then not called again.
pub type PauseListener = Arc<dyn Fn(Duration) -> bool + Send + Sync>;

/// State that replicas share. Names and keys are chosen by the caller; the coordinator does not
/// interpret them.
pub trait Coordinator: fmt::Debug + Send + Sync {
    /// False for a server that shares nothing: callers then skip the shared steps.
    fn is_shared(&self) -> bool;

    /// The state of the coordination.
    fn state(&self) -> CoordinationState;

    /// Looks up the value of `key`, and claims the call if there is none. While another caller
    /// leads, waits for its value or for the end of its lease. A leader whose process dies loses
    /// the lease after a time.
    fn claim<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Claim, CoordinatorError>>;

    /// Stores `value` under `key` for `ttl` unless there is one, and returns the stored value: the
    /// first one wins. Without a connection the value is stored later, as far as memory allows.
    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
        lease: Option<Lease>,
    ) -> BoxFuture<'a, Result<Vec<u8>, CoordinatorError>>;

    /// Takes units of a quota, if they fit now. All replicas together take at most the limit in
    /// any span, also while some or all of them cannot reach the store.
    fn take_quota<'a>(
        &'a self,
        request: QuotaRequest<'a>,
    ) -> BoxFuture<'a, Result<QuotaGrant, CoordinatorError>>;

    /// Replaces units of quota `name` by the number that was used.
    fn settle_quota(&self, name: &str, units: QuotaUnits, used: u64);

    /// Sets money aside, if all accounts have room for it. The spent amounts and the holds of all
    /// replicas together stay at most the cap.
    fn hold<'a>(
        &'a self,
        request: HoldRequest<'a>,
    ) -> BoxFuture<'a, Result<HoldGrant, CoordinatorError>>;

    /// Replaces a hold by the actual cost, in millionths of the currency. Without a connection the
    /// cost is booked later.
    fn settle_hold(&self, hold: BudgetHold, cost: u64) -> BoxFuture<'_, ()>;

    /// Tells the other replicas that `name` asked for a pause.
    fn pause(&self, name: &str, pause: Duration);

    /// Calls `listener` when another replica was told a pause of `name`.
    fn on_pause(&self, name: &str, listener: PauseListener);
}
