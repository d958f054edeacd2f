//! The coordinator of a single process.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{
    BudgetRefusal, Claim, Coordinator, CoordinatorError, Lease, QuotaGrant, QuotaRequest,
    ReservationId,
};
use crate::quota::{QuotaReservation, QuotaWindow};

/// A [`Coordinator`] whose state is in memory. It never fails.
///
/// It keeps one entry for each name of a quota or a budget, and one for each claimed key or
/// outstanding reservation.
#[derive(Debug, Default)]
pub struct InProcess {
    claims: Arc<Mutex<HashMap<String, watch::Receiver<()>>>>,
    quotas: Mutex<HashMap<String, Quota>>,
    budgets: Mutex<HashMap<String, Budget>>,
}

#[derive(Debug)]
struct Quota {
    window: QuotaWindow,
    outstanding: HashMap<ReservationId, QuotaReservation>,
    next: u64,
}

#[derive(Debug, Default)]
struct Budget {
    spent: f64,
    outstanding: HashMap<ReservationId, f64>,
    next: u64,
}

impl Budget {
    fn reserved(&self) -> f64 {
        self.outstanding.values().sum()
    }
}

fn next_id(next: &mut u64) -> ReservationId {
    *next += 1;
    ReservationId(next.to_string())
}

impl InProcess {
    fn lead(&self, key: &str) -> Result<Lease, watch::Receiver<()>> {
        let mut claims = self.claims.lock();
        if let Some(leader) = claims.get(key) {
            return Err(leader.clone());
        }
        let (leads, leader) = watch::channel(());
        claims.insert(key.to_owned(), leader);
        let (claims, key) = (Arc::clone(&self.claims), key.to_owned());
        Ok(Lease::new(move || {
            claims.lock().remove(&key);
            // Wakes the waiters.
            drop(leads);
        }))
    }
}

impl Coordinator for InProcess {
    fn claim<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Claim, CoordinatorError>> {
        async move {
            match self.lead(key) {
                Ok(lease) => Ok(Claim::Lead(lease)),
                Err(mut leader) => {
                    // Nothing is ever sent: the change is the end of the sender.
                    while leader.changed().await.is_ok() {}
                    Ok(Claim::Ended)
                }
            }
        }
        .boxed()
    }

    fn reserve_quota<'a>(
        &'a self,
        request: QuotaRequest<'a>,
    ) -> BoxFuture<'a, Result<QuotaGrant, CoordinatorError>> {
        async move {
            let QuotaRequest { name, limit, span, amount } = request;
            let now = Instant::now();
            let mut quotas = self.quotas.lock();
            let quota = quotas.entry(name.to_owned()).or_insert_with(|| Quota {
                window: QuotaWindow::new(limit, span),
                outstanding: HashMap::new(),
                next: 0,
            });
            let wait = quota.window.wait(amount, 0, now);
            if !wait.is_zero() {
                return Ok(QuotaGrant::Wait(wait));
            }
            let id = next_id(&mut quota.next);
            quota.outstanding.insert(id.clone(), quota.window.reserve(amount, now));
            Ok(QuotaGrant::Reserved(id))
        }
        .boxed()
    }

    fn settle_quota<'a>(
        &'a self,
        name: &'a str,
        reservation: &'a ReservationId,
        used: u64,
    ) -> BoxFuture<'a, Result<(), CoordinatorError>> {
        async move {
            if let Some(quota) = self.quotas.lock().get_mut(name)
                && let Some(reserved) = quota.outstanding.remove(reservation)
            {
                quota.window.settle(reserved, used, Instant::now());
            }
            Ok(())
        }
        .boxed()
    }

    fn reserve_budget<'a>(
        &'a self,
        name: &'a str,
        cost: f64,
        cap: f64,
    ) -> BoxFuture<'a, Result<Result<ReservationId, BudgetRefusal>, CoordinatorError>> {
        async move {
            let mut budgets = self.budgets.lock();
            let budget = budgets.entry(name.to_owned()).or_default();
            let (spent, reserved) = (budget.spent, budget.reserved());
            if spent + reserved + cost > cap {
                return Ok(Err(BudgetRefusal { spent, reserved }));
            }
            let id = next_id(&mut budget.next);
            budget.outstanding.insert(id.clone(), cost);
            Ok(Ok(id))
        }
        .boxed()
    }

    fn settle_budget<'a>(
        &'a self,
        name: &'a str,
        reservation: &'a ReservationId,
        cost: f64,
    ) -> BoxFuture<'a, Result<(), CoordinatorError>> {
        async move {
            if let Some(budget) = self.budgets.lock().get_mut(name)
                && budget.outstanding.remove(reservation).is_some()
            {
                budget.spent += cost;
            }
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_has_one_leader_and_the_others_wait_for_its_end() {
        let coordinator = InProcess::default();
        let Claim::Lead(lease) = coordinator.claim("key").await.unwrap() else { panic!("a lease") };
        let wait = coordinator.claim("key");
        let end = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(lease);
        };
        let (waited, ()) = tokio::join!(wait, end);
        assert!(matches!(waited.unwrap(), Claim::Ended));
        assert!(matches!(coordinator.claim("key").await.unwrap(), Claim::Lead(_)));
        assert!(coordinator.claims.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_is_shared_by_name_and_settled() {
        let coordinator = InProcess::default();
        let span = Duration::from_secs(60);
        let request = QuotaRequest { name: "tokens", limit: 100, span, amount: 80 };
        let QuotaGrant::Reserved(id) = coordinator.reserve_quota(request).await.unwrap() else {
            panic!("80 of 100 fit")
        };
        assert_eq!(coordinator.reserve_quota(request).await.unwrap(), QuotaGrant::Wait(span));
        coordinator.settle_quota("tokens", &id, 20).await.unwrap();
        coordinator.settle_quota("tokens", &id, 0).await.unwrap();
        let grant = coordinator.reserve_quota(request).await.unwrap();
        assert!(matches!(grant, QuotaGrant::Reserved(_)), "{grant:?}");
    }

    #[tokio::test]
    async fn outstanding_reservations_count_against_a_budget() {
        let coordinator = InProcess::default();
        let reserve = |cost| coordinator.reserve_budget("run", cost, 10.0);
        let id = reserve(6.0).await.unwrap().unwrap();
        let refusal = reserve(6.0).await.unwrap().unwrap_err();
        assert_eq!(refusal, BudgetRefusal { spent: 0.0, reserved: 6.0 });
        coordinator.settle_budget("run", &id, 2.0).await.unwrap();
        coordinator.settle_budget("run", &id, 2.0).await.unwrap();
        assert!(reserve(8.0).await.unwrap().is_ok(), "a reservation is settled once");
        assert!(coordinator.reserve_budget("other run", 6.0, 10.0).await.unwrap().is_ok());
    }
}
