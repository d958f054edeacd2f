//! Metrics of the ledger.

use guerdon_ledger::LedgerCounts;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics of the ledger, set before each scrape.
#[derive(Debug, Clone, Default)]
pub(crate) struct LedgerMetrics {
    rows: Counter,
    dropped: Family<DropLabels, Counter>,
    queued: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    /// `full` (the queue was), `failed` (the database refused), or `closed` (while stopping).
    reason: &'static str,
}

impl LedgerMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("ledger_rows", "Rollouts written to the ledger", metrics.rows.clone());
        registry.register(
            "ledger_dropped",
            "Rollouts that were not written to the ledger",
            metrics.dropped.clone(),
        );
        registry.register(
            "ledger_queue_depth",
            "Rollouts that wait to be written to the ledger",
            metrics.queued.clone(),
        );
        metrics
    }

    /// Takes over the counts of the ledger.
    pub(crate) fn set(&self, counts: &LedgerCounts) {
        raise(&self.rows, counts.written());
        for (reason, count) in [
            ("full", counts.dropped_full()),
            ("failed", counts.dropped_failed()),
            ("closed", counts.dropped_closed()),
        ] {
            raise(&self.dropped.get_or_create(&DropLabels { reason }), count);
        }
        self.queued.set(i64::try_from(counts.queued()).unwrap_or(i64::MAX));
    }
}

/// Raises a counter to `count`. Another scrape may have raised it higher since.
fn raise(counter: &Counter, count: u64) {
    counter.inner().fetch_max(count, std::sync::atomic::Ordering::Relaxed);
}
