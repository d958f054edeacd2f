//! Answers in memory, by the content of the turn and the version that the other side declares.

use std::sync::Arc;

use moka::sync::Cache;
use parking_lot::RwLock;

use super::answer::TurnAnswer;
use super::key::TurnKey;
use crate::config::TurnCacheConfig;

/// The cache of a source. Answers without a version are not kept.
#[derive(Debug)]
pub(super) struct TurnAnswerCache {
    answers: Option<Cache<TurnKey, Arc<TurnAnswer>>>,
    /// The version of the last reply.
    version: RwLock<Option<Arc<str>>>,
}

impl TurnAnswerCache {
    pub(super) fn new(config: &TurnCacheConfig) -> Self {
        let answers = (config.max_entries > 0).then(|| {
            Cache::builder().max_capacity(config.max_entries).time_to_live(config.ttl).build()
        });
        Self { answers, version: RwLock::new(None) }
    }

    /// The answer of the current version.
    pub(super) fn get(&self, key: &TurnKey) -> Option<Arc<TurnAnswer>> {
        let answer = self.answers.as_ref()?.get(key)?;
        (answer.version == *self.version.read()).then_some(answer)
    }

    /// Records the version of a reply. Returns true if it is a new one.
    pub(super) fn declare(&self, version: Option<&Arc<str>>) -> bool {
        if self.version.read().as_ref() == version {
            return false;
        }
        *self.version.write() = version.cloned();
        if let Some(answers) = &self.answers {
            answers.invalidate_all();
        }
        true
    }

    pub(super) fn put(&self, key: TurnKey, answer: &Arc<TurnAnswer>) {
        if let (Some(answers), Some(_)) = (&self.answers, &answer.version) {
            answers.insert(key, Arc::clone(answer));
        }
    }

    /// The version of the last reply.
    pub(super) fn version(&self) -> Option<Arc<str>> {
        self.version.read().clone()
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::Finite;

    use super::*;

    fn answer(version: Option<&str>) -> Arc<TurnAnswer> {
        Arc::new(TurnAnswer { version: version.map(Arc::from), ..TurnAnswer::number(Finite::ONE) })
    }

    #[test]
    fn a_new_version_empties_the_cache() {
        let cache = TurnAnswerCache::new(&TurnCacheConfig::default());
        let key = TurnKey([1; 32]);
        assert!(cache.declare(Some(&"1".into())));
        cache.put(key, &answer(Some("1")));
        assert!(!cache.declare(Some(&"1".into())));
        assert!(cache.get(&key).is_some());
        assert!(cache.declare(Some(&"2".into())));
        assert!(cache.get(&key).is_none());
        // A late reply of the old version.
        cache.put(key, &answer(Some("1")));
        assert!(cache.get(&key).is_none());
    }

    #[test]
    fn an_answer_without_a_version_is_not_kept() {
        let cache = TurnAnswerCache::new(&TurnCacheConfig::default());
        let key = TurnKey([1; 32]);
        cache.declare(None);
        cache.put(key, &answer(None));
        assert!(cache.get(&key).is_none());
        let off =
            TurnAnswerCache::new(&TurnCacheConfig { max_entries: 0, ..TurnCacheConfig::default() });
        off.declare(Some(&"1".into()));
        off.put(key, &answer(Some("1")));
        assert!(off.get(&key).is_none());
    }
}
