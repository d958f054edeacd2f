//! Quotas that replicas share. A replica takes slices and spends them itself. A part of each quota,
//! the floor, is divided evenly and never shared: a replica without a connection goes on with its
//! part of it, and all of them together stay within the quota however the connections fail.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::{CoordinatorError, QuotaGrant, QuotaRequest, QuotaUnits, QuotaWindow};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::link::Link;
use super::scripts::{self, GrantArguments};
use super::slice::{COUNTED, Slice, SliceCounts};
use crate::config::ClusterConfig;

/// The part of the span by which the window of a floor is longer, as that of slices is.
const LATER: u32 = 10;

/// The quotas of a replica.
pub(super) struct Quotas {
    link: Arc<Link>,
    replicas_max: u32,
    floor: f64,
    quotas: Mutex<HashMap<String, Arc<SharedQuota>>>,
}

struct SharedQuota {
    name: String,
    slice: Mutex<Slice>,
    /// The replica's own part; `None` if it rounds to nothing.
    floor: Option<Mutex<QuotaWindow>>,
    floor_limit: u64,
    /// Held while a slice is asked for, so that callers share one.
    asking: tokio::sync::Mutex<()>,
}

/// The part of `limit` that each replica keeps.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "quotas are far below 2^53, and the share lies in 0 to 1"
)]
fn part(limit: u64, floor: f64, replicas: u32) -> u64 {
    (limit as f64 * floor / f64::from(replicas)) as u64
}

impl Quotas {
    pub(super) fn new(link: Arc<Link>, config: &ClusterConfig) -> Self {
        let replicas_max = config.replicas_max.get();
        Self { link, replicas_max, floor: config.floor, quotas: Mutex::default() }
    }

    fn quota(&self, request: QuotaRequest<'_>) -> Arc<SharedQuota> {
        let QuotaRequest { name, limit, span, .. } = request;
        let mut quotas = self.quotas.lock();
        if let Some(quota) = quotas.get(name)
            && quota.floor_limit * u64::from(self.replicas_max) + quota.slice.lock().limit()
                == limit
        {
            return Arc::clone(quota);
        }
        let floor_limit = part(limit, self.floor, self.replicas_max);
        let shared = limit - floor_limit * u64::from(self.replicas_max);
        let quota = Arc::new(SharedQuota {
            name: name.to_owned(),
            slice: Mutex::new(Slice::new(shared, span)),
            // Longer, because calls are counted when they arrive, and some take longer than others.
            floor: (floor_limit > 0)
                .then(|| Mutex::new(QuotaWindow::new(floor_limit, span + span / LATER))),
            floor_limit,
            asking: tokio::sync::Mutex::default(),
        });
        quotas.insert(name.to_owned(), Arc::clone(&quota));
        quota
    }

    pub(super) async fn take(
        &self,
        request: QuotaRequest<'_>,
    ) -> Result<QuotaGrant, CoordinatorError> {
        let quota = self.quota(request);
        let shared = quota.slice.lock().limit();
        // An amount beyond the whole quota would never fit.
        let amount = request.amount.min(shared.max(quota.floor_limit));
        if let Some(units) = quota.take_of_floor(amount) {
            return Ok(QuotaGrant::Taken(units));
        }
        let taken = if amount <= shared {
            self.take_shared(&quota, amount).await
        } else {
            Ok(QuotaGrant::Wait(Duration::MAX))
        };
        match (taken, quota.floor_wait(amount)) {
            (Ok(QuotaGrant::Wait(wait)), Some(own)) => Ok(QuotaGrant::Wait(wait.min(own))),
            (Err(_), Some(own)) => Ok(QuotaGrant::Wait(own)),
            (taken, _) => taken,
        }
    }

    async fn take_shared(
        &self,
        quota: &SharedQuota,
        amount: u64,
    ) -> Result<QuotaGrant, CoordinatorError> {
        if let Some(grant) = quota.at_once(amount) {
            return Ok(grant);
        }
        let _asking = quota.asking.lock().await;
        if let Some(grant) = quota.at_once(amount) {
            return Ok(grant);
        }
        self.ask(quota, amount).await?;
        let mut slice = quota.slice.lock();
        let units = slice.take(amount, Instant::now());
        let wait = slice.dry_for(amount, Instant::now()).unwrap_or(slice.slot());
        Ok(units.map_or(QuotaGrant::Wait(wait), QuotaGrant::Taken))
    }

    /// Tells the store the counts, and asks for a slice unless `amount` is zero.
    async fn ask(&self, quota: &SharedQuota, amount: u64) -> Result<(), CoordinatorError> {
        let store_run = self.link.store_run()?;
        let (counts, slot, limit, want) = {
            let mut slice = quota.slice.lock();
            let (counts, want) = match amount {
                0 => (slice.report(Instant::now()), 0),
                amount => (slice.counts(), slice.wanted(amount)),
            };
            (counts, slice.slot(), slice.limit(), want)
        };
        let SliceCounts { back, own } = counts;
        let grant = scripts::grant(
            self.link.keys(),
            &GrantArguments {
                name: &quota.name,
                limit,
                slot,
                slots: COUNTED,
                replica: self.link.id(),
                want,
                least: amount,
                store_run: &store_run,
                back: &back,
                own: &own,
            },
        );
        let sent = Instant::now();
        let (units, wait, slot): (u64, u64, u64) = self.link.send(&grant).await?;
        let mut slice = quota.slice.lock();
        if units > 0 || amount == 0 {
            slice.granted(units, slot, sent);
        } else {
            slice.refused(amount, Duration::from_millis(wait), slot, Instant::now());
        }
        Ok(())
    }

    pub(super) fn settle(&self, name: &str, units: QuotaUnits, used: u64) {
        let quota = self.quotas.lock().get(name).cloned();
        if let Some(quota) = quota {
            quota.slice.lock().settle(units, used);
        }
    }

    /// Writes the counts of this replica again: the store may have lost them, or they changed.
    pub(super) async fn beat(&self) -> Result<(), CoordinatorError> {
        let quotas: Vec<_> = self.quotas.lock().values().cloned().collect();
        for quota in quotas {
            let wanted = quota.slice.lock().has_counts();
            if wanted {
                let _asking = quota.asking.lock().await;
                self.ask(&quota, 0).await?;
            }
        }
        Ok(())
    }
}

impl SharedQuota {
    /// The answer of the slice that is at hand, or of the store's last refusal.
    fn at_once(&self, amount: u64) -> Option<QuotaGrant> {
        let (mut slice, now) = (self.slice.lock(), Instant::now());
        let units = slice.take(amount, now).map(QuotaGrant::Taken);
        units.or_else(|| slice.dry_for(amount, now).map(QuotaGrant::Wait))
    }

    fn take_of_floor(&self, amount: u64) -> Option<QuotaUnits> {
        if amount > self.floor_limit {
            return None;
        }
        let mut window = self.floor.as_ref()?.lock();
        let now = Instant::now();
        window.wait(amount, 0, now).is_zero().then(|| {
            window.reserve(amount, now);
            QuotaUnits { amount, slot: None }
        })
    }

    fn floor_wait(&self, amount: u64) -> Option<Duration> {
        if amount > self.floor_limit {
            return None;
        }
        Some(self.floor.as_ref()?.lock().wait(amount, 0, Instant::now()))
    }
}
