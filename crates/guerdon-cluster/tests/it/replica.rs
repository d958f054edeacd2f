//! A replica of a test.

use std::sync::Arc;
use std::time::Duration;

use guerdon_cluster::{ClusterConfig, CoordinationState, Coordinator as _, Redis};
use guerdon_testing::wait_until;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A connected coordinator, which stops when it is dropped.
pub(crate) struct Replica {
    pub(crate) redis: Arc<Redis>,
    _stop: DropGuard,
}

pub(crate) fn config(url: &str) -> ClusterConfig {
    ClusterConfig {
        url: Some(url.to_owned()),
        namespace: "test".to_owned(),
        lease: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        ..ClusterConfig::default()
    }
}

impl Replica {
    pub(crate) async fn start(config: &ClusterConfig) -> Self {
        let replica = Self::unconnected(config);
        replica.is(true).await;
        replica
    }

    pub(crate) fn unconnected(config: &ClusterConfig) -> Self {
        let tasks = TaskTracker::new();
        let redis = Redis::new(config, None, tasks.clone()).unwrap().unwrap();
        let stop = CancellationToken::new();
        tasks.spawn(Arc::clone(&redis).run(stop.clone()));
        Self { redis, _stop: stop.drop_guard() }
    }

    /// Waits until the replica is connected, or until it is not.
    pub(crate) async fn is(&self, up: bool) {
        wait_until("the state changed", PATIENCE, async || {
            (self.redis.state() == CoordinationState::Up) == up
        })
        .await;
    }
}
