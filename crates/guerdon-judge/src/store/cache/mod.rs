//! Answers that are kept, and one call per question however many ask it at once.
//!
//! Memory (moka) stands in front of a file ([`store`]). The call runs as a task of the server's tracker, not inside the
//! future of whoever asked first: if that one hangs up, the call that is already paid for ends in the cache and the
//! others still get it. moka makes the others wait for the first; a failure is handed to all of them and not kept, which
//! is why repeats happen inside ([`call`](crate::call::client)). Nothing but a verdict is ever kept: no refusal, no truncation,
//! no malformed or ambiguous reply is an [`Answer`].

pub(crate) mod cassette;
mod log;
mod maintain;
pub(crate) mod store;

use std::sync::Arc;
use std::time::Duration;

use guerdon_types::Usage;
use moka::future::Cache;
use tokio_util::task::TaskTracker;

use crate::ask::answer::{Answer, Failure};
use crate::ask::key::Key;
use crate::config::{CacheConfig, CacheMode};

pub use maintain::{PromptStats, Purge, StoreStats};
pub use store::Store;

/// The answers of one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    memory: Cache<Key, Arc<Answer>>,
    store: Option<Arc<Store>>,
    mode: CacheMode,
    ttl: Duration,
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
    pub(crate) fn new(config: &CacheConfig, store: Option<Arc<Store>>, tasks: TaskTracker) -> Self {
        let CacheConfig { max_entries, ttl, mode, path: _, sync: _ } = *config;
        // A cache without room still makes those who ask at the same time share one call.
        let room = if mode.writes() { max_entries } else { 0 };
        let memory = Cache::builder().max_capacity(room).time_to_live(ttl).build();
        Self { memory, store, mode, ttl, tasks }
    }

    /// The answer, if it is in memory.
    pub(crate) async fn get(&self, key: &Key) -> Option<Arc<Answer>> {
        let answer = self.memory.get(key).await?;
        // What came from disk was old already when it came.
        if answer.is_older_than(self.ttl) {
            self.memory.invalidate(key).await;
            return None;
        }
        Some(answer)
    }

    /// Looks on disk, makes the `call`, or joins whoever is doing that for the same question. `None` if the task died, which
    /// only a fault of ours explains.
    pub(crate) async fn fly(
        &self,
        key: Key,
        call: impl Future<Output = (Result<Answer, Failure>, Usage)> + Send + 'static,
    ) -> Option<Landed> {
        let answers = self.clone();
        let flight = self.tasks.spawn(async move {
            let mut usage = Usage::default();
            let mut led = false;
            let call = async {
                if let Some(answer) = answers.on_disk(key).await {
                    return Ok(Arc::new(answer));
                }
                led = true;
                let (answer, spent) = call.await;
                usage = spent;
                let answer = answer?;
                answers.keep(key, &answer).await;
                Ok(Arc::new(answer))
            };
            // Boxed: moka holds the future several times over in its own.
            let entry = answers.memory.entry(key).or_try_insert_with(Box::pin(call)).await;
            Landed { result: entry.map(moka::Entry::into_value), usage, led }
        });
        flight.await.ok()
    }

    async fn on_disk(&self, key: Key) -> Option<Answer> {
        let store = self.store.clone().filter(|_| self.mode.reads_store())?;
        let read = self.tasks.spawn_blocking(move || store.get(&key)).await.ok()?;
        // A file that cannot be read costs money, not verdicts.
        let answer = read
            .inspect_err(|error| tracing::error!("{error}; the question is asked again"))
            .ok()??;
        Some(answer).filter(|answer| !answer.is_older_than(self.ttl))
    }

    /// Before anybody gets the answer, so that nobody has one that a restart would buy again.
    async fn keep(&self, key: Key, answer: &Answer) {
        let Some(store) = self.store.as_ref().filter(|_| self.mode.writes()) else { return };
        // The store has said what went wrong; the answer is no worse for it.
        drop(store.keep(key, answer).await);
    }
}
