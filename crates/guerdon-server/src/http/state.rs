//! State that all handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guerdon_inspector::LedgerStore;
use tokio::sync::mpsc;

use crate::engine::Engine;
use crate::http::admission::RequestAdmission;
use crate::http::caller::Callers;
use crate::http::guesses::GuessBrake;
use crate::http::pages::{Inspector, NoRollouts};
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
    pub(crate) guesses: Arc<GuessBrake>,
    pub(crate) admission: Arc<RequestAdmission>,
    pub(crate) inspector: Inspector,
}

impl App {
    pub(crate) fn new(engine: Arc<Engine>, reload: mpsc::Sender<Trigger>) -> Self {
        let snapshot = engine.snapshot();
        let rate_limit = RateLimit::new(snapshot.config.server.requests_per_second);
        let admission = RequestAdmission::new(&snapshot.config);
        let store: Arc<dyn guerdon_inspector::Store> = match engine.ledger() {
            Some(ledger) => match ledger.path() {
                Some(path) => Arc::new(LedgerStore::new(path)),
                None => Arc::new(NoRollouts(
                    "the ledger is in a database; `guerdon ledger export` and `guerdon view` show it",
                )),
            },
            None => Arc::new(NoRollouts("no ledger is configured")),
        };
        Self {
            engine,
            ready: Arc::new(AtomicBool::new(false)),
            reload,
            callers: Callers::default(),
            rate_limit: Arc::new(rate_limit),
            guesses: Arc::default(),
            admission: Arc::new(admission),
            inspector: Inspector::new(store).with_tools(),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}
