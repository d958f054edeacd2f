//! Metrics of the coordination between replicas.

use guerdon_cluster::{CoordinationState, Coordinator as _, Redis};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics of the coordination, set before each scrape. A server without `[cluster]` has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterMetrics {
    up: Family<ClusterLabels, Gauge>,
    replicas: Family<ClusterLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    /// The namespace in the configuration.
    namespace: String,
}

impl ClusterMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "cluster_up",
            "1 while the store that replicas share answers, and 0 while the server goes on alone",
            metrics.up.clone(),
        );
        registry.register(
            "cluster_replicas",
            "Servers that the shared store has heard of in the last seconds; 0 without the store",
            metrics.replicas.clone(),
        );
        metrics
    }

    /// Takes over the state of the coordinator.
    pub(crate) fn set(&self, namespace: &str, cluster: &Redis) {
        let labels = ClusterLabels { namespace: namespace.to_owned() };
        let is_up = cluster.state() == CoordinationState::Up;
        self.up.get_or_create(&labels).set(i64::from(is_up));
        let replicas = i64::try_from(cluster.replicas().len()).unwrap_or(i64::MAX);
        self.replicas.get_or_create(&labels).set(replicas);
    }
}
