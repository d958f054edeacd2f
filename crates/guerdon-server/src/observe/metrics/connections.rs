//! Metrics of connections.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics of connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionMetrics {
    open: Gauge,
    closed: Family<CloseLabels, Counter>,
    accept_failures: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabels {
    /// `header_timeout`, `write_timeout`, `idle_timeout`, or `evicted` for another connection.
    reason: &'static str,
}

impl ConnectionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("connections", "Open connections", metrics.open.clone());
        registry.register(
            "connections_closed",
            "Connections that the server closed before their client did",
            metrics.closed.clone(),
        );
        registry.register(
            "accept_failures",
            "Connections that could not be accepted, for want of file descriptors or memory",
            metrics.accept_failures.clone(),
        );
        metrics
    }

    pub(crate) fn opened(&self) {
        self.open.inc();
    }

    pub(crate) fn ended(&self) {
        self.open.dec();
    }

    /// Counts a connection that the server closes for `reason`.
    pub(crate) fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&CloseLabels { reason }).inc();
    }

    pub(crate) fn accept_failed(&self) {
        self.accept_failures.inc();
    }
}
