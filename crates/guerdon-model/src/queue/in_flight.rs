//! Who will be in the queue in a moment, so that an idle device may wait for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the requests that are being tokenized: those who will be in the queue in a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coming(Arc<AtomicUsize>);

/// One request on its way. It travels in the last of the request's entries and ends where that is taken in, so that nobody
/// who was announced is missed between leaving and arriving.
#[derive(Debug)]
pub(crate) struct OnItsWay(Arc<AtomicUsize>);

impl Coming {
    pub(crate) fn announce(&self) -> OnItsWay {
        self.0.fetch_add(1, Ordering::Relaxed);
        OnItsWay(Arc::clone(&self.0))
    }

    // Relaxed: the count only decides how long to wait, never what is scored.
    pub(crate) fn anybody(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
