//! One address of a judge, with its transport, limits, capabilities and breaker; and the choice
//! between several addresses.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use guerdon_queue::{Admission, CircuitBreaker, QuotaReports};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::call::capabilities::Capabilities;
use crate::call::retry::{Class, Fault};
use crate::call::transport::{Transport, TransportReply};
use crate::call::wire::{self, Completion};

/// Time without calls after the account ran out of money or daily quota.
const QUOTA_PAUSE: Duration = Duration::from_secs(600);

/// One address.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Without its query, which may hold a key.
    pub(crate) address: String,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) capabilities: Capabilities,
    breaker: Mutex<CircuitBreaker>,
}

impl Upstream {
    pub(crate) fn new(
        url: &str,
        transport: Arc<dyn Transport>,
        admission: Arc<Admission>,
        capabilities: Capabilities,
    ) -> Self {
        let address = url.split('?').next().unwrap_or_default().to_owned();
        Self { address, transport, admission, capabilities, breaker: Mutex::default() }
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
        self.admission.sync(&QuotaReports::read(&headers, now));
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
            Err(Class::QuotaGone) => breaker.open_for(QUOTA_PAUSE, Instant::now()),
            Err(Class::Transient | Class::Unreachable) => breaker.failure(Instant::now()),
            // The address works, but refused this question.
            Err(Class::RateLimited | Class::BadRequest | Class::TooLong | Class::Filtered) => {}
        }
    }

    /// End of the breaker's open time, if it is open.
    fn open_until(&self) -> Option<Instant> {
        self.breaker().open_until(Instant::now())
    }

    fn breaker(&self) -> MutexGuard<'_, CircuitBreaker> {
        self.breaker.lock()
    }
}

/// Time until the judge takes new requests of `client` again, if the queues of all addresses that
/// may be asked are full for it.
pub(crate) fn full_for(upstreams: &[Upstream], client: u64) -> Option<Duration> {
    let open = || upstreams.iter().filter(|upstream| upstream.open_until().is_none());
    let full: Option<Vec<Duration>> =
        open().map(|upstream| upstream.admission.full_for(client)).collect();
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
        let paused = upstream.admission.paused_until().is_some();
        let rank = (paused, avoid == Some(index), upstream.admission.load(), index);
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

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;
    use guerdon_queue::AdmissionLimits;

    use super::*;
    use crate::call::transport::TransportError;
    use crate::config::EndpointConfig;

    #[derive(Debug)]
    struct Unused;

    impl Transport for Unused {
        fn send(&self, _: Vec<u8>) -> BoxFuture<'_, Result<TransportReply, TransportError>> {
            unimplemented!("no test sends a request")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_without_money_is_not_called_for_ten_minutes() {
        let config = EndpointConfig::new("http://h/v1", "m");
        let limits = AdmissionLimits {
            max_concurrent: 1,
            max_queued: 1,
            requests: None,
            tokens: None,
            span: Duration::from_secs(60),
        };
        let (admission, capabilities) = (Admission::new(limits), Capabilities::new(&config));
        let upstream = Upstream::new("http://h/v1", Arc::new(Unused), admission, capabilities);
        upstream.remember(Err(Class::QuotaGone));
        let minutes = Duration::from_secs(600);
        assert_eq!(upstream.open_until(), Some(Instant::now() + minutes));
        tokio::time::advance(minutes).await;
        assert_eq!(upstream.open_until(), None);
    }
}
