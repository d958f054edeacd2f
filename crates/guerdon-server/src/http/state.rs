//! State that all handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, mpsc};

use crate::engine::Engine;
use crate::http::caller::Callers;
use crate::http::rate_limit::RateLimit;
use crate::watch::trigger::Trigger;

/// State that all handlers share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) reload: mpsc::Sender<Trigger>,
    pub(crate) callers: Callers,
    pub(crate) rate_limit: Arc<RateLimit>,
    /// One permit a request in flight; a stream holds its own until its last line.
    pub(crate) permits: Arc<Semaphore>,
    /// The number of permits.
    pub(crate) max_concurrent_requests: usize,
}

impl App {
    pub(crate) fn new(engine: Arc<Engine>, reload: mpsc::Sender<Trigger>) -> Self {
        let rate_limit = RateLimit::new(engine.snapshot().config.server.requests_per_second);
        let max_concurrent_requests =
            engine.snapshot().config.limits.max_concurrent_requests.min(Semaphore::MAX_PERMITS);
        Self {
            engine,
            ready: Arc::new(AtomicBool::new(false)),
            reload,
            callers: Callers::default(),
            rate_limit: Arc::new(rate_limit),
            permits: Arc::new(Semaphore::new(max_concurrent_requests)),
            max_concurrent_requests,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}
