//! The answer cache, with coalescing: identical questions asked at the same time share one call.
//!
//! Memory (moka) sits in front of a file ([`store`]). The call runs as a task of the server's
//! tracker, not inside the future of the first caller. If that caller disconnects, the call, which
//! is already paid for, still completes into the cache, and the other callers get its answer. moka
//! makes them wait for the first. A failure is handed to all of them and not cached, which is why
//! retries happen inside the [client](crate::call::client). Only verdicts are cached: refusals,
//! truncated, malformed and ambiguous replies never become a [`JudgeAnswer`].

pub(crate) mod cassette;
mod log;
mod maintain;
mod outage;
pub(crate) mod store;

use std::sync::Arc;
use std::time::Duration;

use guerdon_types::Usage;
use moka::future::Cache;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::ask::answer::{Failure, JudgeAnswer};
use crate::ask::key::QuestionKey;
use crate::config::{CacheConfig, CacheMode};

pub use maintain::{PromptStats, Purge, StoreStats};
pub use store::Store;

/// The answers of one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct AnswerCache {
    memory: Cache<QuestionKey, Arc<JudgeAnswer>>,
    store: Option<Arc<Store>>,
    mode: CacheMode,
    ttl: Duration,
    tasks: TaskTracker,
}

/// The result of a question that is not in this process's cache.
#[derive(Debug)]
pub(crate) struct FetchedAnswer {
    pub(crate) result: Result<JudgeAnswer, Failure>,
    /// The cost of this process's own call.
    pub(crate) usage: Usage,
    /// Set if another replica has made the call.
    pub(crate) cached: bool,
}

/// The result of a coalesced call.
#[derive(Debug)]
pub(crate) struct CoalescedCall {
    pub(crate) result: Result<Arc<JudgeAnswer>, Arc<Failure>>,
    /// Cost of this caller's own call; zero if another caller made it.
    pub(crate) usage: Usage,
    /// Set if this caller made the call.
    pub(crate) led: bool,
}

impl AnswerCache {
    pub(crate) fn new(config: &CacheConfig, store: Option<Arc<Store>>, tasks: TaskTracker) -> Self {
        let CacheConfig { max_entries, ttl, mode, path: _, sync: _ } = *config;
        // A cache without capacity still coalesces concurrent callers.
        let room = if mode.writes() { max_entries } else { 0 };
        let memory = Cache::builder().max_capacity(room).time_to_live(ttl).build();
        Self { memory, store, mode, ttl, tasks }
    }

    /// The answer, if it is in memory.
    pub(crate) async fn get(&self, key: &QuestionKey) -> Option<Arc<JudgeAnswer>> {
        let answer = self.memory.get(key).await?;
        // What came from disk was old already when it came.
        if answer.is_older_than(self.ttl) {
            self.memory.invalidate(key).await;
            return None;
        }
        Some(answer)
    }

    /// Looks on disk, also under the key of earlier versions, makes the `call`, or joins a running
    /// call for the same question. `None` if the task died, which indicates a bug.
    pub(crate) async fn coalesce(
        &self,
        key: QuestionKey,
        call: impl Future<Output = FetchedAnswer> + Send + 'static,
    ) -> Option<CoalescedCall> {
        let answers = self.clone();
        let flight = async move {
            let mut usage = Usage::default();
            let mut led = false;
            let call = async {
                if let Some(answer) = answers.on_disk(key).await {
                    return Ok(Arc::new(answer));
                }
                let FetchedAnswer { result, usage: spent, cached } = call.await;
                (usage, led) = (spent, !cached);
                let answer = result?;
                answers.keep(key, &answer).await;
                Ok(Arc::new(answer))
            };
            // Boxed: moka holds the future several times over in its own.
            let entry = answers.memory.entry(key).or_try_insert_with(Box::pin(call)).await;
            CoalescedCall { result: entry.map(moka::Entry::into_value), usage, led }
        };
        self.tasks.spawn(flight.in_current_span()).await.ok()
    }

    /// The answer in the file, unless it is too old.
    pub(crate) async fn on_disk(&self, key: QuestionKey) -> Option<JudgeAnswer> {
        let store = self.store.clone().filter(|_| self.mode.reads_store())?;
        let read = self.tasks.spawn_blocking(move || store.get(&key)).await.ok()?;
        // A file that cannot be read costs money, not verdicts.
        let answer = read
            .inspect_err(|error| tracing::error!("{error}; the question is asked again"))
            .ok()??;
        Some(answer).filter(|answer| !answer.is_older_than(self.ttl))
    }

    /// Runs before the answer is released, so that a restart never repeats a call whose answer was
    /// used.
    async fn keep(&self, key: QuestionKey, answer: &JudgeAnswer) {
        let Some(store) = self.store.as_ref().filter(|_| self.mode.writes()) else { return };
        // The store has logged the error, and the answer is still valid.
        drop(store.keep(key, answer).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::answer::now_seconds;

    #[tokio::test]
    async fn an_answer_of_the_store_costs_no_call_and_is_then_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("judge.log"), Duration::ZERO).unwrap();
        let key = |digit: &str| QuestionKey::try_from(digit.repeat(64)).unwrap();
        let answer = JudgeAnswer {
            prompt: "p".to_owned(),
            at: now_seconds(),
            usage: Usage::default(),
            model: "m".to_owned(),
            findings: Vec::new(),
        };
        store.keep(key("a"), &answer).await.unwrap();
        let cache = AnswerCache::new(&CacheConfig::default(), Some(store), TaskTracker::new());
        let call = async { panic!("the judge was asked") };
        let landed = cache.coalesce(key("a"), call).await.unwrap();
        assert_eq!((*landed.result.unwrap()).clone(), answer);
        assert!(!landed.led);
        assert!(cache.get(&key("a")).await.is_some());
    }
}
