//! What may be spent, by run and by day; beyond it nothing is sent.
//!
//! What an attempt may cost at most is set aside before it is sent, and what it did cost is booked when it ends, so that
//! attempts under way together cannot overrun a cap. What nobody counts (a reply without usage, or one that never came) is
//! booked at that most. Where answers are kept in a file, so are the books: a restart in the middle of a day goes on
//! counting, and what was under way when a process was killed stays booked at its most, too.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ask::answer::now_seconds;
use crate::config::BudgetConfig;
use crate::error::Error;
use crate::store::cache::Store;

/// The books of one endpoint.
#[derive(Debug)]
pub(crate) struct Budget {
    config: BudgetConfig,
    model: String,
    store: Option<Arc<Store>>,
    books: Mutex<Books>,
    /// Told whenever money that was set aside is free again.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Books {
    run: f64,
    day: f64,
    /// Days since 1970, UTC.
    today: u64,
    /// Set aside for attempts under way.
    held: f64,
}

/// What is set aside for one attempt; given back when dropped, unless it is settled.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    budget: &'a Budget,
    amount: f64,
    /// The day on which it was set aside.
    day: u64,
    /// What of it is in the file.
    written: f64,
}

impl Budget {
    /// Opens the books, with what `store` knows of them.
    pub(crate) fn open(
        config: &BudgetConfig,
        model: &str,
        store: Option<Arc<Store>>,
    ) -> Result<Self, Error> {
        let (config, model) = (config.clone(), model.to_owned());
        let budget = Self { config, model, store, books: Mutex::default(), freed: Notify::new() };
        let today = now_seconds() / DAY;
        if let Some(store) = budget.store.as_ref().filter(|_| budget.config.is_capped()) {
            let books = Books {
                run: store.spent(&budget.run_purse())?,
                day: store.spent(&budget.day_purse(today))?,
                today,
                held: 0.0,
            };
            return Ok(Self { books: Mutex::new(books), ..budget });
        }
        Ok(Self { books: Mutex::new(Books { today, ..Books::default() }), ..budget })
    }

    /// Whether `most` may still be spent, whatever is under way; or which cap forbids it.
    pub(crate) fn allows(&self, most: f64) -> Result<(), String> {
        let books = self.books();
        self.within(&Books { held: 0.0, ..*books }, most)
    }

    /// Sets `most` aside; waits for that while it is only set aside for attempts under way, which end and cost less. Or says
    /// which cap forbids it.
    pub(crate) async fn hold_in_turn(&self, most: f64) -> Result<Hold<'_>, String> {
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on nothing that is freed is missed.
            freed.as_mut().enable();
            match self.hold(most) {
                Err(_) => self.allows(most)?,
                held => return held,
            }
            freed.await;
        }
    }

    /// Sets `most` aside, or says which cap forbids it.
    pub(crate) fn hold(&self, most: f64) -> Result<Hold<'_>, String> {
        let mut books = self.books();
        self.within(&books, most)?;
        books.held += most;
        Ok(Hold { budget: self, amount: most, day: books.today, written: 0.0 })
    }

    fn within(&self, books: &Books, most: f64) -> Result<(), String> {
        let BudgetConfig { run, per_run, per_day } = &self.config;
        let caps = [(per_run, books.run, Some(run)), (per_day, books.day, None)];
        for (cap, spent, run) in caps {
            let Some(cap) = cap.map(guerdon_types::Finite::get) else { continue };
            let held = books.held;
            if spent + held + most > cap {
                let of = run.map_or_else(|| "day".to_owned(), |run| format!("run `{run}`"));
                return Err(format!(
                    "the {of}'s budget of {cap} is used up: {spent:.4} spent, {held:.4} set aside, {most:.4} needed"
                ));
            }
        }
        Ok(())
    }

    /// The books, at today's page.
    fn books(&self) -> MutexGuard<'_, Books> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let today = now_seconds() / DAY;
        if today != books.today {
            books.today = today;
            books.day = 0.0;
        }
        books
    }

    fn run_purse(&self) -> String {
        format!("run:{} {}", self.config.run, self.model)
    }

    fn day_purse(&self, day: u64) -> String {
        let (year, month, day) = date(day);
        format!("day:{year:04}-{month:02}-{day:02} {}", self.model)
    }

    fn purses(&self, day: u64) -> Vec<String> {
        vec![self.run_purse(), self.day_purse(day)]
    }
}

impl Hold<'_> {
    /// Writes it down, before what it is for is sent: a process that is killed meanwhile has paid for it, too.
    pub(crate) async fn write(&mut self) {
        let Self { budget, amount, day, written } = self;
        if let Some(store) =
            budget.store.as_ref().filter(|_| budget.config.is_capped() && *amount > 0.0)
        {
            // Where it fails the store has said why, and this process counts on without it.
            if store.spend_now(budget.purses(*day), *amount).await.is_ok() {
                *written = *amount;
            }
        }
    }

    /// Books what the attempt did cost.
    pub(crate) async fn settle(mut self, cost: f64) {
        {
            let mut books = self.budget.books();
            books.held = (books.held - std::mem::take(&mut self.amount)).max(0.0);
            books.run += cost;
            if books.today == self.day {
                books.day += cost;
            }
        }
        let owed = cost - self.written;
        if let Some(store) = self.budget.store.as_ref().filter(|_| owed.abs() > 0.0) {
            drop(store.spend(self.budget.purses(self.day), owed).await);
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut books = self.budget.books();
        books.held = (books.held - self.amount).max(0.0);
        drop(books);
        self.budget.freed.notify_waiters();
    }
}

const DAY: u64 = 86_400;

/// Year, month and day of a count of days since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`, for days that are not negative).
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
    async fn attempts_under_way_together_cannot_overrun_a_cap() {
        let budget = Budget::open(&capped(Some(10), None), "m", None).unwrap();
        let first = budget.hold(6.0).unwrap();
        let refused = budget.hold(6.0).unwrap_err();
        assert!(refused.contains("run `r`") && refused.contains("6.0000 set aside"), "{refused}");
        first.settle(2.0).await;
        drop(budget.hold(8.0).unwrap());
        budget.hold(8.0).unwrap().settle(8.0).await;
        assert!(budget.hold(0.01).is_err());
    }

    #[tokio::test]
    async fn who_finds_the_money_set_aside_waits_for_what_comes_back_and_not_for_what_is_spent() {
        let budget = Budget::open(&capped(Some(10), None), "m", None).unwrap();
        let costs = join_all((0..100).map(|_| async {
            let hold = budget.hold_in_turn(1.0).await?;
            tokio::task::yield_now().await;
            hold.settle(0.05).await;
            Ok::<(), String>(())
        }));
        assert!(costs.await.into_iter().all(|asked| asked.is_ok()), "100 at 0.05 are 5 of 10");
        budget.hold_in_turn(5.0).await.unwrap().settle(4.5).await;
        let refused = budget.hold_in_turn(1.0).await.unwrap_err();
        assert!(refused.contains("9.5000 spent, 0.0000 set aside"), "{refused}");
    }

    #[tokio::test]
    async fn the_books_outlive_a_restart_and_a_new_day_is_a_new_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judge.log");
        let open = || {
            Budget::open(
                &capped(None, Some(10)),
                "m",
                Some(Store::open(&path, std::time::Duration::ZERO).unwrap()),
            )
            .unwrap()
        };
        open().hold(10.0).unwrap().settle(9.0).await;
        let budget = open();
        assert!(budget.hold(2.0).unwrap_err().contains("day's budget"));
        budget.books.lock().unwrap().today -= 1;
        assert!(budget.hold(2.0).is_ok());
    }

    #[tokio::test]
    async fn what_is_under_way_is_in_the_file_before_it_is_sent_and_counts_once_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open(&folder.path().join("judge.log"), std::time::Duration::ZERO).unwrap();
        let open = || Budget::open(&capped(Some(10), None), "m", Some(Arc::clone(&store))).unwrap();
        let budget = open();
        let mut hold = budget.hold(6.0).unwrap();
        hold.write().await;
        assert!(open().hold(5.0).unwrap_err().contains("6.0000 spent"));
        hold.settle(1.0).await;
        // Written before what is written later.
        store.spend_now(vec!["run:other".to_owned()], 1.0).await.unwrap();
        assert!((store.spent("run:r m").unwrap() - 1.0).abs() < 1e-12);
        assert!(open().hold(9.0).is_ok() && budget.hold(9.0).is_ok());
    }

    #[test]
    fn days_have_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_780), (2026, 11, 23));
    }
}
