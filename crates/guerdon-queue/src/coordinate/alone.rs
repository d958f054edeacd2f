//! The coordinator of a server that shares nothing.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};

use super::{
    BudgetHold, Claim, CoordinationState, Coordinator, CoordinatorError, HoldGrant, HoldRequest,
    Lease, PauseListener, QuotaGrant, QuotaRequest, QuotaUnits,
};

/// The coordinator of a server that shares nothing. It grants everything and keeps nothing: a
/// server's own cache, limits and books apply before it is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Alone;

impl Coordinator for Alone {
    fn is_shared(&self) -> bool {
        false
    }

    fn state(&self) -> CoordinationState {
        CoordinationState::Alone
    }

    fn claim<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Claim, CoordinatorError>> {
        async move { Ok(Claim::Lead(Lease::new(key, |_| {}))) }.boxed()
    }

    fn put<'a>(
        &'a self,
        _key: &'a str,
        value: Vec<u8>,
        _ttl: Duration,
        lease: Option<Lease>,
    ) -> BoxFuture<'a, Result<Vec<u8>, CoordinatorError>> {
        async move {
            if let Some(lease) = lease {
                lease.stored();
            }
            Ok(value)
        }
        .boxed()
    }

    fn take_quota<'a>(
        &'a self,
        request: QuotaRequest<'a>,
    ) -> BoxFuture<'a, Result<QuotaGrant, CoordinatorError>> {
        let units = QuotaUnits { amount: request.amount, slot: None };
        async move { Ok(QuotaGrant::Taken(units)) }.boxed()
    }

    fn settle_quota(&self, _name: &str, _units: QuotaUnits, _used: u64) {}

    fn hold<'a>(
        &'a self,
        request: HoldRequest<'a>,
    ) -> BoxFuture<'a, Result<HoldGrant, CoordinatorError>> {
        let hold = BudgetHold {
            id: String::new(),
            scope: request.scope.to_owned(),
            accounts: request.accounts.iter().map(|account| account.name.clone()).collect(),
        };
        async move { Ok(HoldGrant::Held(hold)) }.boxed()
    }

    fn settle_hold(&self, _hold: BudgetHold, _cost: u64) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn pause(&self, _name: &str, _pause: Duration) {}

    fn on_pause(&self, _name: &str, _listener: PauseListener) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_caller_leads_and_gets_its_own_value() {
        for value in [b"one".to_vec(), b"two".to_vec()] {
            let Claim::Lead(lease) = Alone.claim("key").await.unwrap() else {
                panic!("nothing is stored")
            };
            let kept = Alone.put("key", value.clone(), Duration::MAX, Some(lease)).await;
            assert_eq!(kept.unwrap(), value);
        }
        assert!(!Alone.is_shared());
    }
}
