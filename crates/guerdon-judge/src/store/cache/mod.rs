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

use crate::ask::answer::{Failure, JudgeAnswer};
use crate::ask::key::QuestionKey;
use crate::config::{CacheConfig, CacheMode};
use crate::error::StoreError;

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

/// The keys under which the answer to a question may be stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownKeys {
    pub(crate) key: QuestionKey,
    /// The key of earlier versions.
    pub(crate) legacy: QuestionKey,
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
        keys: KnownKeys,
        call: impl Future<Output = (Result<JudgeAnswer, Failure>, Usage)> + Send + 'static,
    ) -> Option<CoalescedCall> {
        let answers = self.clone();
        let flight = self.tasks.spawn(async move {
            let mut usage = Usage::default();
            let mut led = false;
            let call = async {
                if let Some(answer) = answers.on_disk(keys).await {
                    return Ok(Arc::new(answer));
                }
                led = true;
                let (answer, spent) = call.await;
                usage = spent;
                let answer = answer?;
                answers.keep(keys.key, &answer).await;
                Ok(Arc::new(answer))
            };
            // Boxed: moka holds the future several times over in its own.
            let entry = answers.memory.entry(keys.key).or_try_insert_with(Box::pin(call)).await;
            CoalescedCall { result: entry.map(moka::Entry::into_value), usage, led }
        });
        flight.await.ok()
    }

    /// The stored answer. One under the key of earlier versions is kept under its new key, too.
    async fn on_disk(&self, KnownKeys { key, legacy }: KnownKeys) -> Option<JudgeAnswer> {
        let store = self.store.clone().filter(|_| self.mode.reads_store())?;
        let ttl = self.ttl;
        let look = move || {
            let fresh = |answer: &JudgeAnswer| !answer.is_older_than(ttl);
            if let Some(answer) = store.get(&key)?.filter(fresh) {
                return Ok(Some((answer, false)));
            }
            Ok::<_, StoreError>(store.get(&legacy)?.filter(fresh).map(|answer| (answer, true)))
        };
        // A file that cannot be read costs money, not verdicts.
        let (answer, is_legacy) = self
            .tasks
            .spawn_blocking(look)
            .await
            .ok()?
            .inspect_err(|error| tracing::error!("{error}; the question is asked again"))
            .ok()??;
        if is_legacy {
            // Its cost stays with the earlier key.
            self.keep(key, &JudgeAnswer { usage: Usage::default(), ..answer.clone() }).await;
        }
        Some(answer)
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
    async fn an_answer_under_the_key_of_an_earlier_version_is_found() {
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
        let cache =
            AnswerCache::new(&CacheConfig::default(), Some(Arc::clone(&store)), TaskTracker::new());
        let keys = KnownKeys { key: key("b"), legacy: key("a") };
        let landed = cache.coalesce(keys, async { panic!("the judge was asked") }).await.unwrap();
        assert_eq!((*landed.result.unwrap()).clone(), answer);
        assert!(!landed.led);
        assert!(cache.get(&keys.key).await.is_some(), "it is in memory under its new key");
        let kept = store.get(&keys.key).unwrap().unwrap();
        assert_eq!((kept.at, &kept.findings), (answer.at, &answer.findings), "and on disk");
        assert_eq!(kept.usage, Usage::default(), "it was paid for once");
        assert!(store.get(&keys.legacy).unwrap().is_some());
    }
}
