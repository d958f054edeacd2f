//! One address that answers for a judge: its transport, its limits, what it is believed to accept, and whether it is
//! left alone at the moment. And the choice between several.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::call::capabilities::Offers;
use crate::call::retry::{Class, Fault};
use crate::call::transport::{Incoming, Transport};
use crate::call::wire::{self, Reply};
use crate::limit::Limit;
use crate::limit::breaker::Breaker;
use crate::limit::headers::Quotas;

/// One address.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Without its query, which may hold a key.
    pub(crate) address: String,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) limit: Arc<Limit>,
    pub(crate) offers: Offers,
    breaker: Mutex<Breaker>,
}

impl Upstream {
    pub(crate) fn new(
        url: &str,
        transport: Arc<dyn Transport>,
        limit: Arc<Limit>,
        offers: Offers,
    ) -> Self {
        let address = url.split('?').next().unwrap_or_default().to_owned();
        Self { address, transport, limit, offers, breaker: Mutex::default() }
    }

    /// Sends `body` and reads what comes back, within `timeout`.
    pub(crate) async fn exchange(&self, body: Vec<u8>, timeout: Duration) -> Result<Reply, Fault> {
        let incoming = tokio::time::timeout(timeout, self.transport.send(body)).await;
        let Incoming { status, headers, body } = match incoming {
            Ok(delivered) => delivered.map_err(Fault::undelivered)?,
            Err(_) => return Err(Fault::timed_out()),
        };
        let now = SystemTime::now();
        let quotas = Quotas::read(&headers, now);
        self.limit.sync(&quotas);
        let answered = |complaint| Fault::answered(status, &headers, complaint, now);
        if status.is_success() {
            wire::reply(&body).map_err(answered)
        } else {
            Err(answered(wire::complaint(&body)))
        }
    }

    /// Remembers how an attempt ended, for whoever asks next.
    pub(crate) fn remember(&self, outcome: Result<(), Class>) {
        let mut breaker = self.breaker();
        match outcome {
            Ok(()) => breaker.success(),
            Err(Class::QuotaGone) => breaker.quota_gone(Instant::now()),
            Err(Class::Transient | Class::Unreachable) => breaker.failure(Instant::now()),
            // It works; it just did not like this question, or has too many.
            Err(Class::RateLimited | Class::BadRequest | Class::TooLong | Class::Filtered) => {}
        }
    }

    /// Until when it is left alone, if it is.
    fn left_alone_until(&self) -> Option<Instant> {
        self.breaker().closed_at(Instant::now())
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time until the judge takes new requests again, if the queues of all addresses that may be asked are full.
pub(crate) fn full_for(upstreams: &[Upstream]) -> Option<Duration> {
    let open = || upstreams.iter().filter(|upstream| upstream.left_alone_until().is_none());
    let full: Option<Vec<Duration>> = open().map(|upstream| upstream.limit.full_for()).collect();
    full?.into_iter().min()
}

/// The least crowded of those that are not left alone; rather one that is not paused, and rather not `avoid`, which has
/// just failed. If all are left alone: until when the first of them is.
pub(crate) fn choose(
    upstreams: &[Upstream],
    avoid: Option<usize>,
) -> Result<usize, Option<Instant>> {
    let mut first_open: Option<Instant> = None;
    let mut best: Option<(bool, bool, f64, usize)> = None;
    for (index, upstream) in upstreams.iter().enumerate() {
        if let Some(until) = upstream.left_alone_until() {
            first_open = Some(first_open.map_or(until, |first| first.min(until)));
            continue;
        }
        let paused = upstream.limit.paused_until().is_some();
        let rank = (paused, avoid == Some(index), upstream.limit.crowd(), index);
        let better = best.is_none_or(|best| {
            let (a, b) = ((rank.0, rank.1), (best.0, best.1));
            a.cmp(&b).then(rank.2.total_cmp(&best.2)).is_lt()
        });
        if better {
            best = Some(rank);
        }
    }
    best.map(|(_, _, _, index)| index).ok_or(first_open)
}
