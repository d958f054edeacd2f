//! Budgets that replicas share. Each replica writes its own running totals, so that a write that was
//! lost is made good by the next one. The most that a call may cost is held before it is sent; the
//! hold of a replica that died counts as spent at its most once it expires.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::{BudgetHold, CoordinatorError, HoldGrant, HoldRequest};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::link::Link;
use super::scripts::{self, HoldArguments};

/// The pause before a hold that other holds block is tried again.
const BLOCKED: Duration = Duration::from_millis(100);

/// The time after the end of a hold for which its settlement is still expected.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// The budgets of a replica.
pub(super) struct Budgets {
    link: Arc<Link>,
    scopes: Mutex<HashMap<String, Scope>>,
}

/// The accounts that a call is charged to together.
#[derive(Debug, Default)]
struct Scope {
    /// This replica's settled total of each account.
    totals: HashMap<String, u64>,
    /// Its outstanding holds.
    holds: HashMap<String, OutstandingHold>,
    /// Holds whose cost the store does not know yet.
    unsettled: Vec<UnsettledHold>,
    /// The time since which the store's counts are whole, as it said last.
    whole_since: Option<u64>,
}

#[derive(Debug, Clone)]
struct OutstandingHold {
    accounts: Vec<String>,
    amount: u64,
    until: Instant,
    /// The time since which the store's counts were whole when it took the hold.
    whole_since: u64,
}

/// A hold whose cost is to be booked.
#[derive(Debug)]
struct UnsettledHold {
    hold: BudgetHold,
    cost: u64,
    whole_since: u64,
}

impl Scope {
    fn total(&self, account: &str) -> u64 {
        self.totals.get(account).copied().unwrap_or_default()
    }
}

impl Budgets {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, scopes: Mutex::default() }
    }

    pub(super) async fn hold(
        &self,
        request: HoldRequest<'_>,
    ) -> Result<HoldGrant, CoordinatorError> {
        let HoldRequest { scope, accounts, amount, expires_after } = request;
        let store_run = self.link.store_run()?;
        let id = format!("{}:{:016x}", self.link.id(), rand::random::<u64>());
        let names: Vec<String> = accounts.iter().map(|account| account.name.clone()).collect();
        let outstanding = OutstandingHold {
            accounts: names.clone(),
            amount,
            until: Instant::now() + expires_after,
            whole_since: 0,
        };
        // Known before it is asked for: a reply that is lost leaves a hold that is settled at zero.
        let hold = BudgetHold { id: id.clone(), scope: scope.to_owned(), accounts: names };
        let asked = {
            let mut scopes = self.scopes.lock();
            let known = scopes.entry(scope.to_owned()).or_default();
            known.holds.insert(id.clone(), outstanding);
            accounts
                .iter()
                .map(|account| (account.name.as_str(), account.cap, known.total(&account.name)))
                .collect::<Vec<_>>()
        };
        let arguments = HoldArguments {
            scope,
            accounts: &asked,
            id: &id,
            amount,
            lifetime: expires_after,
            replica: self.link.id(),
            store_run: &store_run,
        };
        let command = scripts::hold(self.link.keys(), &arguments);
        let reply = self.link.send::<(u8, usize, u64, u64, u64)>(&command).await;
        let (state, account, spent, _, whole_since) = match reply {
            Ok(reply) => reply,
            Err(error) => {
                self.forget_later(hold);
                return Err(error);
            }
        };
        if let Some(known) = self.scopes.lock().get_mut(scope) {
            if state == 1 {
                known.holds.entry(id).and_modify(|hold| hold.whole_since = whole_since);
            } else {
                known.holds.remove(&id);
            }
        }
        self.note_whole_since(scope, whole_since).await?;
        Ok(match state {
            1 => HoldGrant::Held(hold),
            2 => HoldGrant::Wait(BLOCKED),
            _ => {
                let account = account.checked_sub(1).and_then(|index| accounts.get(index));
                let account = account.map(|account| account.name.clone()).unwrap_or_default();
                HoldGrant::Refused { account, spent }
            }
        })
    }

    /// Settles a hold at zero that the store may have taken although its reply was lost.
    fn forget_later(&self, hold: BudgetHold) {
        if let Some(known) = self.scopes.lock().get_mut(&hold.scope) {
            known.holds.remove(&hold.id);
            known.unsettled.push(UnsettledHold { hold, cost: 0, whole_since: 0 });
        }
    }

    /// Writes the outstanding holds again if the store has lost its counts since.
    async fn note_whole_since(&self, scope: &str, since: u64) -> Result<(), CoordinatorError> {
        let again: Vec<(String, OutstandingHold)> = {
            let mut scopes = self.scopes.lock();
            let Some(known) = scopes.get_mut(scope) else { return Ok(()) };
            if known.whole_since.replace(since).is_none_or(|before| before == since) {
                return Ok(());
            }
            let lost = known.holds.iter_mut().filter(|(_, hold)| hold.whole_since != since);
            lost.map(|(id, hold)| {
                hold.whole_since = since;
                (id.clone(), hold.clone())
            })
            .collect()
        };
        for (id, OutstandingHold { accounts, amount, until, .. }) in again {
            let left = until.saturating_duration_since(Instant::now());
            let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
            let keys = self.link.keys();
            let command = scripts::hold_again(keys, (scope, &accounts), (&id, amount), left);
            self.link.send::<i64>(&command).await?;
        }
        Ok(())
    }

    pub(super) async fn settle(&self, hold: BudgetHold, cost: u64) {
        let whole_since = {
            let mut scopes = self.scopes.lock();
            let known = scopes.entry(hold.scope.clone()).or_default();
            known.holds.remove(&hold.id).map_or(0, |hold| hold.whole_since)
        };
        let unsettled = UnsettledHold { hold, cost, whole_since };
        if self.book(&unsettled).await.is_err()
            && let Some(known) = self.scopes.lock().get_mut(&unsettled.hold.scope)
        {
            known.unsettled.push(unsettled);
        }
    }

    /// Replaces a hold by its cost in the store and in this replica's totals.
    async fn book(&self, unsettled: &UnsettledHold) -> Result<(), CoordinatorError> {
        let UnsettledHold { hold, cost, whole_since } = unsettled;
        let totals: Vec<(&str, u64)> = {
            let mut scopes = self.scopes.lock();
            let known = scopes.entry(hold.scope.clone()).or_default();
            // Raised before it is sent, so that two settlements never send the same total.
            for account in &hold.accounts {
                *known.totals.entry(account.clone()).or_default() += cost;
            }
            hold.accounts.iter().map(|name| (name.as_str(), known.total(name))).collect()
        };
        let names = (hold.id.as_str(), self.link.id(), *whole_since);
        let command = scripts::settle(self.link.keys(), &hold.scope, &totals, names);
        let settled = self.link.send::<i64>(&command).await;
        if !matches!(settled, Ok(1)) {
            // Booked at its most already, or tried again later.
            let mut scopes = self.scopes.lock();
            let known = scopes.entry(hold.scope.clone()).or_default();
            for account in &hold.accounts {
                if let Some(total) = known.totals.get_mut(account) {
                    *total = total.saturating_sub(*cost);
                }
            }
        }
        settled.map(drop)
    }

    /// Writes the totals again, and books what waited for a connection.
    pub(super) async fn beat(&self) -> Result<(), CoordinatorError> {
        let store_run = self.link.store_run()?;
        let scopes: Vec<String> = self.scopes.lock().keys().cloned().collect();
        for scope in scopes {
            let (unsettled, totals, live) = {
                let mut scopes = self.scopes.lock();
                let known = scopes.entry(scope.clone()).or_default();
                let now = Instant::now();
                known.holds.retain(|_, hold| hold.until + FORGOTTEN > now);
                let unsettled = std::mem::take(&mut known.unsettled);
                let totals: Vec<(String, u64)> =
                    known.totals.iter().map(|(name, total)| (name.clone(), *total)).collect();
                (unsettled, totals, !known.holds.is_empty())
            };
            if totals.is_empty() && unsettled.is_empty() && !live {
                continue;
            }
            let accounts: Vec<(&str, Option<u64>, u64)> =
                totals.iter().map(|(name, total)| (name.as_str(), None, *total)).collect();
            let arguments = HoldArguments {
                scope: &scope,
                accounts: &accounts,
                id: "",
                amount: 0,
                lifetime: BLOCKED,
                replica: self.link.id(),
                store_run: &store_run,
            };
            let command = scripts::hold(self.link.keys(), &arguments);
            let told = self.link.send::<(u8, usize, u64, u64, u64)>(&command).await;
            let (.., whole_since) = match told {
                Ok(told) => told,
                Err(error) => {
                    self.put_back(&scope, unsettled);
                    return Err(error);
                }
            };
            self.note_whole_since(&scope, whole_since).await?;
            let mut unsettled = unsettled.into_iter();
            while let Some(next) = unsettled.next() {
                if let Err(error) = self.book(&next).await {
                    let mut rest = vec![next];
                    rest.extend(unsettled);
                    self.put_back(&scope, rest);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn put_back(&self, scope: &str, unsettled: Vec<UnsettledHold>) {
        let mut scopes = self.scopes.lock();
        scopes.entry(scope.to_owned()).or_default().unsettled.extend(unsettled);
    }
}
