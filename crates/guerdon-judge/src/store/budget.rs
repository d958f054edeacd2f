//! Spending limits for a run and for a day. An attempt that could exceed them is not sent.
//!
//! The maximum cost of an attempt is reserved before it is sent, and its actual cost is recorded
//! when it ends, so that concurrent attempts cannot exceed a cap. A call without known usage is
//! recorded at its maximum. If answers are kept in a file, the spending is kept there too. A
//! restart then continues the day's count, and attempts that were in flight when a process was
//! killed stay recorded at their maximum.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::{
    Alone, BudgetAccount, BudgetHold as SharedHold, Coordinator, HoldGrant, HoldRequest,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::ask::answer::{Failure, now_seconds};
use crate::config::BudgetConfig;
use crate::error::Error;
use crate::store::cache::Store;

/// The spending of one endpoint.
#[derive(Debug)]
pub(crate) struct SpendingBudget {
    config: BudgetConfig,
    model: String,
    store: Option<Arc<Store>>,
    ledger: Mutex<SpendLedger>,
    /// Notified when a reservation ends.
    freed: Notify,
    coordinator: Arc<dyn Coordinator>,
    /// The time after which the hold of an attempt counts as spent.
    hold_for: Duration,
}

#[derive(Debug, Default)]
struct SpendLedger {
    run: f64,
    day: f64,
    /// Days since 1970, UTC.
    today: u64,
    /// Reserved for attempts in flight.
    reserved: f64,
}

/// Money reserved for one attempt; released when dropped, unless it is settled.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    budget: &'a SpendingBudget,
    amount: f64,
    /// The day on which it was reserved.
    day: u64,
    /// Part of the amount that is written to the file.
    written: f64,
    /// The hold in the books of all replicas.
    hold: Option<SharedHold>,
}

impl SpendingBudget {
    /// Opens the budget with the spending known to `store`.
    pub(crate) fn open(
        config: &BudgetConfig,
        model: &str,
        store: Option<Arc<Store>>,
    ) -> Result<Self, Error> {
        let (config, model) = (config.clone(), model.to_owned());
        let budget = Self {
            config,
            model,
            store,
            ledger: Mutex::default(),
            freed: Notify::new(),
            coordinator: Arc::new(Alone),
            hold_for: SETTLED_WITHIN,
        };
        let today = now_seconds() / DAY;
        if let Some(store) = budget.store.as_ref().filter(|_| budget.config.is_capped()) {
            let ledger = SpendLedger {
                run: store.spent(&budget.run_account())?,
                day: store.spent(&budget.day_account(today))?,
                today,
                reserved: 0.0,
            };
            return Ok(Self { ledger: Mutex::new(ledger), ..budget });
        }
        Ok(Self { ledger: Mutex::new(SpendLedger { today, ..SpendLedger::default() }), ..budget })
    }

    /// The budget as a part of one that all replicas share. An attempt takes at most `attempt`.
    pub(crate) fn shared_by(self, coordinator: Arc<dyn Coordinator>, attempt: Duration) -> Self {
        Self { coordinator, hold_for: attempt.saturating_add(SETTLED_WITHIN), ..self }
    }

    /// Checks that `max_cost` may still be spent, without counting reservations. The error names
    /// the cap that is exceeded.
    pub(crate) fn allows(&self, max_cost: f64) -> Result<(), String> {
        let ledger = self.ledger();
        self.check_caps(&SpendLedger { reserved: 0.0, ..*ledger }, max_cost)
    }

    /// Reserves `max_cost`. If only outstanding reservations block it, waits for them to settle.
    /// The error names the cap that is exceeded.
    pub(crate) async fn reserve_when_free(&self, max_cost: f64) -> Result<Reservation<'_>, String> {
        loop {
            let mut freed = pin!(self.freed.notified());
            // Registered before the check, so that a reservation that ends in between is not
            // missed.
            freed.as_mut().enable();
            match self.reserve(max_cost) {
                Err(_) => self.allows(max_cost)?,
                reserved => return reserved,
            }
            freed.await;
        }
    }

    /// Reserves `max_cost`. The error names the cap that is exceeded.
    pub(crate) fn reserve(&self, max_cost: f64) -> Result<Reservation<'_>, String> {
        let mut ledger = self.ledger();
        self.check_caps(&ledger, max_cost)?;
        ledger.reserved += max_cost;
        let day = ledger.today;
        Ok(Reservation { budget: self, amount: max_cost, day, written: 0.0, hold: None })
    }

    /// The amount left under each cap that is set, `run` or `day`; reservations count as spent.
    pub(crate) fn left(&self) -> Vec<(&'static str, f64)> {
        let ledger = self.ledger();
        let caps =
            [("run", self.config.per_run, ledger.run), ("day", self.config.per_day, ledger.day)];
        let left = |(name, cap, spent): (&'static str, Option<guerdon_types::Finite>, f64)| {
            Some((name, (cap?.get() - spent - ledger.reserved).max(0.0)))
        };
        caps.into_iter().filter_map(left).collect()
    }

    fn check_caps(&self, ledger: &SpendLedger, max_cost: f64) -> Result<(), String> {
        let BudgetConfig { run, per_run, per_day } = &self.config;
        let caps = [(per_run, ledger.run, Some(run)), (per_day, ledger.day, None)];
        for (cap, spent, run) in caps {
            let Some(cap) = cap.map(guerdon_types::Finite::get) else { continue };
            let reserved = ledger.reserved;
            if spent + reserved + max_cost > cap {
                let of = run.map_or_else(|| "day".to_owned(), |run| format!("run `{run}`"));
                return Err(format!(
                    "the {of}'s budget of {cap} is used up: {spent:.4} spent, {reserved:.4} reserved, {max_cost:.4} needed"
                ));
            }
        }
        Ok(())
    }

    /// The spending, with the day's amount reset at midnight UTC.
    fn ledger(&self) -> MutexGuard<'_, SpendLedger> {
        let mut ledger = self.ledger.lock();
        let today = now_seconds() / DAY;
        if today != ledger.today {
            ledger.today = today;
            ledger.day = 0.0;
        }
        ledger
    }

    fn run_account(&self) -> String {
        format!("run:{} {}", self.config.run, self.model)
    }

    fn day_account(&self, day: u64) -> String {
        let (year, month, day) = date(day);
        format!("day:{year:04}-{month:02}-{day:02} {}", self.model)
    }

    /// The accounts at the coordinator, with their caps in millionths.
    fn shared_accounts(&self, day: u64) -> Vec<BudgetAccount> {
        let BudgetConfig { per_run, per_day, .. } = &self.config;
        let caps = [per_run, per_day].map(|cap| cap.map(|cap| micros(cap.get(), f64::floor)));
        let account = |(name, cap)| BudgetAccount { name, cap };
        self.accounts(day).into_iter().zip(caps).map(account).collect()
    }

    fn accounts(&self, day: u64) -> Vec<String> {
        vec![self.run_account(), self.day_account(day)]
    }
}

impl Reservation<'_> {
    /// Holds the money in the books of all replicas, and writes it to this server's file. Waits
    /// while only other holds block it. Called before the attempt is sent.
    pub(crate) async fn secure(&mut self) -> Result<(), Failure> {
        let started = tokio::time::Instant::now();
        loop {
            let wait = match self.hold().await {
                Ok(None) => break,
                Ok(Some(HoldRefusal::Blocked(wait))) => wait,
                Ok(Some(HoldRefusal::UsedUp(detail))) => return Err(Failure::over_budget(detail)),
                Err(_) if started.elapsed() < OUTAGE_PATIENCE => RETRY,
                Err(failure) => return Err(failure),
            };
            tokio::time::sleep(wait).await;
        }
        self.write().await;
        Ok(())
    }

    /// As [`Reservation::secure`], but false if the money is not free now.
    pub(crate) async fn secure_now(&mut self) -> bool {
        let is_held = matches!(self.hold().await, Ok(None));
        if is_held {
            self.write().await;
        }
        is_held
    }

    /// Holds the amount at the coordinator, if there is a cap that replicas share.
    async fn hold(&mut self) -> Result<Option<HoldRefusal>, Failure> {
        let budget = self.budget;
        if !budget.config.is_capped() || !budget.coordinator.is_shared() || self.hold.is_some() {
            return Ok(None);
        }
        let accounts = budget.shared_accounts(self.day);
        let amount = micros(self.amount, f64::ceil);
        let expires_after = budget.hold_for;
        let request =
            HoldRequest { scope: &budget.model, accounts: &accounts, amount, expires_after };
        match budget.coordinator.hold(request).await {
            Ok(HoldGrant::Held(hold)) => {
                self.hold = Some(hold);
                Ok(None)
            }
            Ok(HoldGrant::Wait(wait)) => Ok(Some(HoldRefusal::Blocked(wait))),
            Ok(HoldGrant::Refused { account, spent }) => {
                let (spent, needed) = (currency(spent), self.amount);
                let detail = format!(
                    "the budget of `{account}` is used up: the replicas have spent {spent:.4}, {needed:.4} needed"
                );
                Ok(Some(HoldRefusal::UsedUp(detail)))
            }
            Err(error) => Err(Failure::uncoordinated(&error)),
        }
    }

    /// Writes the reservation to the file. Called before the attempt is sent, so that the cost is
    /// recorded even if the process is killed during the attempt.
    async fn write(&mut self) {
        let Self { budget, amount, day, written, hold: _ } = self;
        if let Some(store) =
            budget.store.as_ref().filter(|_| budget.config.is_capped() && *amount > 0.0)
        {
            // If the write fails, the store logs the error and this process counts in memory only.
            if store.spend_now(budget.accounts(*day), *amount).await.is_ok() {
                *written = *amount;
            }
        }
    }

    /// Records the attempt's actual cost and releases the reservation.
    pub(crate) async fn settle(mut self, cost: f64) {
        {
            let mut ledger = self.budget.ledger();
            ledger.reserved = (ledger.reserved - std::mem::take(&mut self.amount)).max(0.0);
            ledger.run += cost;
            if ledger.today == self.day {
                ledger.day += cost;
            }
        }
        if let Some(hold) = self.hold.take() {
            self.budget.coordinator.settle_hold(hold, micros(cost, f64::ceil)).await;
        }
        let unwritten = cost - self.written;
        if let Some(store) = self.budget.store.as_ref().filter(|_| unwritten.abs() > 0.0) {
            drop(store.spend(self.budget.accounts(self.day), unwritten).await);
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut ledger = self.budget.ledger();
        ledger.reserved = (ledger.reserved - self.amount).max(0.0);
        drop(ledger);
        self.budget.freed.notify_waiters();
    }
}

/// Money reserved for several attempts together. The part that no attempt took is released when it
/// is dropped.
#[derive(Debug)]
pub(crate) struct BudgetHold<'a> {
    budget: &'a SpendingBudget,
    held: Arc<HeldMoney>,
}

/// The money of a [`BudgetHold`] that is left for attempts.
#[derive(Debug, Default)]
pub(crate) struct HeldMoney(Mutex<f64>);

impl SpendingBudget {
    /// Reserves `max_cost` for several attempts. If only outstanding reservations block it, waits for
    /// them to settle. The error names the cap that is exceeded.
    pub(crate) async fn hold(&self, max_cost: f64) -> Result<BudgetHold<'_>, String> {
        let mut reservation = self.reserve_when_free(max_cost).await?;
        let amount = std::mem::take(&mut reservation.amount);
        Ok(BudgetHold { budget: self, held: Arc::new(HeldMoney(Mutex::new(amount))) })
    }

    /// Takes the money of one attempt out of `held`. If less is left, all of it is released, so that
    /// the attempt can wait for it like any other.
    pub(crate) fn reserve_from(&self, held: &HeldMoney, max_cost: f64) -> Option<Reservation<'_>> {
        let left = {
            let mut left = held.0.lock();
            if *left >= max_cost {
                *left -= max_cost;
                let day = self.ledger().today;
                return Some(Reservation {
                    budget: self,
                    amount: max_cost,
                    day,
                    written: 0.0,
                    hold: None,
                });
            }
            std::mem::take(&mut *left)
        };
        self.release(left);
        None
    }

    fn release(&self, amount: f64) {
        let mut ledger = self.ledger();
        ledger.reserved = (ledger.reserved - amount).max(0.0);
        drop(ledger);
        self.freed.notify_waiters();
    }
}

impl BudgetHold<'_> {
    pub(crate) fn held(&self) -> Arc<HeldMoney> {
        Arc::clone(&self.held)
    }
}

impl Drop for BudgetHold<'_> {
    fn drop(&mut self) {
        let left = std::mem::take(&mut *self.held.0.lock());
        self.budget.release(left);
    }
}

/// The reason why the replicas' books have no hold for an attempt.
enum HoldRefusal {
    /// Other holds take the room.
    Blocked(Duration),
    /// The money is spent.
    UsedUp(String),
}

/// The time within which the cost of an attempt is booked after its end.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// The time for which an attempt waits for a coordinator that does not answer.
const OUTAGE_PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two attempts to reach the coordinator.
const RETRY: Duration = Duration::from_millis(100);

/// An amount in millionths, rounded by `round`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "costs are not negative; the conversion saturates"
)]
fn micros(amount: f64, round: fn(f64) -> f64) -> u64 {
    // Products such as 0.07 * 1e6 are not whole.
    let exact = amount * 1e6;
    let nearest = exact.round();
    let close = (exact - nearest).abs() < 1e-3;
    (if close { nearest } else { round(exact) }) as u64
}

#[expect(clippy::cast_precision_loss, reason = "for a message")]
fn currency(micros: u64) -> f64 {
    micros as f64 / 1e6
}

const DAY: u64 = 86_400;

/// Year, month and day from the number of days since 1970 (Howard Hinnant, "chrono-compatible
/// low-level date algorithms", `civil_from_days`, for non-negative days).
const fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use guerdon_types::Finite;

    use super::*;

    fn capped(per_run: Option<i32>, per_day: Option<i32>) -> BudgetConfig {
        let (per_run, per_day) = (per_run.map(Finite::from), per_day.map(Finite::from));
        BudgetConfig { run: "r".to_owned(), per_run, per_day }
    }

    #[tokio::test]
    async fn concurrent_attempts_cannot_exceed_a_cap() {
        let budget = SpendingBudget::open(&capped(Some(10), None), "m", None).unwrap();
        let first = budget.reserve(6.0).unwrap();
        let refused = budget.reserve(6.0).unwrap_err();
        assert!(refused.contains("run `r`") && refused.contains("6.0000 reserved"), "{refused}");
        first.settle(2.0).await;
        drop(budget.reserve(8.0).unwrap());
        budget.reserve(8.0).unwrap().settle(8.0).await;
        assert!(budget.reserve(0.01).is_err());
    }

    #[tokio::test]
    async fn reservation_waits_for_reserved_money_but_not_for_spent_money() {
        let budget = SpendingBudget::open(&capped(Some(10), None), "m", None).unwrap();
        let costs = join_all((0..100).map(|_| async {
            let reservation = budget.reserve_when_free(1.0).await?;
            tokio::task::yield_now().await;
            reservation.settle(0.05).await;
            Ok::<(), String>(())
        }));
        assert!(
            costs.await.into_iter().all(|reserved| reserved.is_ok()),
            "100 at 0.05 are 5 of 10"
        );
        budget.reserve_when_free(5.0).await.unwrap().settle(4.5).await;
        let refused = budget.reserve_when_free(1.0).await.unwrap_err();
        assert!(refused.contains("9.5000 spent, 0.0000 reserved"), "{refused}");
    }

    #[tokio::test]
    async fn held_money_is_taken_by_its_own_attempts_and_the_rest_is_released() {
        let budget = SpendingBudget::open(&capped(Some(10), None), "m", None).unwrap();
        assert!(budget.hold(11.0).await.unwrap_err().contains("11.0000 needed"));
        let hold = budget.hold(8.0).await.unwrap();
        assert!(budget.reserve(3.0).is_err(), "it belongs to the hold");
        let held = hold.held();
        let first = budget.reserve_from(&held, 4.0).unwrap();
        first.settle(1.0).await;
        assert!((budget.left()[0].1 - 5.0).abs() < 1e-12, "1 is spent, 4 are held");
        // More than is left: all of it is free again, and the attempt waits like any other.
        assert!(budget.reserve_from(&held, 6.0).is_none());
        assert!((budget.left()[0].1 - 9.0).abs() < 1e-12);
        drop(hold);
        drop(budget.hold(9.0).await.unwrap());
        assert!((budget.left()[0].1 - 9.0).abs() < 1e-12, "nothing is held any more");
    }

    #[tokio::test]
    async fn spending_survives_a_restart_and_a_new_day_starts_at_zero() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judge.log");
        let open = || {
            SpendingBudget::open(
                &capped(None, Some(10)),
                "m",
                Some(Store::open(&path, Duration::ZERO).unwrap()),
            )
            .unwrap()
        };
        open().reserve(10.0).unwrap().settle(9.0).await;
        let budget = open();
        assert!(budget.reserve(2.0).unwrap_err().contains("day's budget"));
        budget.ledger.lock().today -= 1;
        assert!(budget.reserve(2.0).is_ok());
    }

    #[tokio::test]
    async fn reservation_is_written_before_sending_and_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("judge.log"), Duration::ZERO).unwrap();
        let open = || {
            SpendingBudget::open(&capped(Some(10), None), "m", Some(Arc::clone(&store))).unwrap()
        };
        let budget = open();
        let mut reservation = budget.reserve(6.0).unwrap();
        reservation.write().await;
        assert!(open().reserve(5.0).unwrap_err().contains("6.0000 spent"));
        reservation.settle(1.0).await;
        // Spending is written in order, before later spending.
        store.spend_now(vec!["run:other".to_owned()], 1.0).await.unwrap();
        assert!((store.spent("run:r m").unwrap() - 1.0).abs() < 1e-12);
        assert!(open().reserve(9.0).is_ok() && budget.reserve(9.0).is_ok());
    }

    #[test]
    fn day_number_is_converted_to_a_date() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_780), (2026, 11, 23));
    }
}
