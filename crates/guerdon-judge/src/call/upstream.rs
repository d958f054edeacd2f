//! One address of a judge, with its transport, limits, capabilities and breaker; and the choice
//! between several addresses.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::call::capabilities::Capabilities;
use crate::call::retry::{Class, Fault};
use crate::call::transport::{Transport, TransportReply};
use crate::call::wire::{self, Completion};
use crate::limit::Limit;
use crate::limit::breaker::Breaker;
use crate::limit::headers::QuotaHeaders;

/// One address.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Without its query, which may hold a key.
    pub(crate) address: String,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) limit: Arc<Limit>,
    pub(crate) capabilities: Capabilities,
    breaker: Mutex<Breaker>,
}

impl Upstream {
    pub(crate) fn new(
        url: &str,
        transport: Arc<dyn Transport>,
        limit: Arc<Limit>,
        capabilities: Capabilities,
    ) -> Self {
        let address = url.split('?').next().unwrap_or_default().to_owned();
        Self { address, transport, limit, capabilities, breaker: Mutex::default() }
    }

    /// Sends `body` and reads what comes back, within `timeout`.
    pub(crate) async fn exchange(
        &self,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Completion, Fault> {
        let incoming = tokio::time::timeout(timeout, self.transport.send(body)).await;
        let TransportReply { status, headers, body } = match incoming {
            Ok(delivered) => delivered.map_err(Fault::undelivered)?,
            Err(_) => return Err(Fault::timed_out()),
        };
        let now = SystemTime::now();
        let quotas = QuotaHeaders::read(&headers, now);
        self.limit.sync(&quotas);
        let answered = |complaint| Fault::answered(status, &headers, complaint, now);
        if status.is_success() {
            wire::reply(&body).map_err(answered)
        } else {
            Err(answered(wire::complaint(&body)))
        }
    }

    /// Updates the breaker with the outcome of an attempt.
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

    /// End of the breaker's open time, if it is open.
    fn open_until(&self) -> Option<Instant> {
        self.breaker().closed_at(Instant::now())
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock()
    }
}

/// Time until the judge takes new requests again, if the queues of all addresses that may be asked
/// are full.
pub(crate) fn full_for(upstreams: &[Upstream]) -> Option<Duration> {
    let open = || upstreams.iter().filter(|upstream| upstream.open_until().is_none());
    let full: Option<Vec<Duration>> = open().map(|upstream| upstream.limit.full_for()).collect();
    full?.into_iter().min()
}

/// Chooses the least crowded address whose breaker is closed. Prefers addresses that are not
/// paused, then addresses other than `avoid`, which has just failed. If all breakers are open,
/// returns the time when the first closes.
pub(crate) fn choose(
    upstreams: &[Upstream],
    avoid: Option<usize>,
) -> Result<usize, Option<Instant>> {
    let mut first_open: Option<Instant> = None;
    let mut best: Option<(bool, bool, f64, usize)> = None;
    for (index, upstream) in upstreams.iter().enumerate() {
        if let Some(until) = upstream.open_until() {
            first_open = Some(first_open.map_or(until, |first| first.min(until)));
            continue;
        }
        let paused = upstream.limit.paused_until().is_some();
        let rank = (paused, avoid == Some(index), upstream.limit.crowding(), index);
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
