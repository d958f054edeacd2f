//! Answers that are kept, and one call per question however many ask it at once.
//!
//! The call runs as a task of the server's tracker, not inside the future of whoever asked first: if that one hangs up,
//! the call that is already paid for ends in the cache and the others still get it. moka makes the others wait for the
//! first; a failure is handed to all of them and not kept, which is why repeats happen inside
//! ([`call`](crate::call)).

use std::sync::Arc;

use guerdon_types::Usage;
use moka::future::Cache;
use tokio_util::task::TaskTracker;

use crate::call::{Answer, Caller, Failure};
use crate::config::CacheConfig;
use crate::key::{Key, Question};
use crate::patience::Patience;

/// The answers of one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    kept: Cache<Key, Arc<Answer>>,
    tasks: TaskTracker,
}

/// What came of a flight.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) result: Result<Arc<Answer>, Arc<Failure>>,
    /// What this asker's own call cost; nothing if the call was another's.
    pub(crate) usage: Usage,
    /// Whether this asker's call it was.
    pub(crate) led: bool,
}

impl Answers {
    pub(crate) fn new(config: &CacheConfig, tasks: TaskTracker) -> Self {
        let kept = Cache::builder().max_capacity(config.max_entries).time_to_live(config.ttl).build();
        Self { kept, tasks }
    }

    /// The answer, if it is kept.
    pub(crate) async fn get(&self, key: &Key) -> Option<Arc<Answer>> {
        self.kept.get(key).await
    }

    /// Asks, or joins whoever is asking the same. `None` if the task died, which only a fault of ours explains.
    pub(crate) async fn fly(
        &self,
        caller: Arc<Caller>,
        key: Key,
        question: Question,
        patience: Patience,
    ) -> Option<Landed> {
        let kept = self.kept.clone();
        let flight = self.tasks.spawn(async move {
            let mut usage = Usage::default();
            let mut led = false;
            let call = async {
                led = true;
                caller.call(&question, &patience, &mut usage).await.map(Arc::new)
            };
            // Boxed: moka holds the future several times over in its own.
            let entry = kept.entry(key).or_try_insert_with(Box::pin(call)).await;
            Landed { result: entry.map(moka::Entry::into_value), usage, led }
        });
        flight.await.ok()
    }
}
