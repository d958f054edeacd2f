//! Scores that were computed before: the same tokens have the same score, so they are not scored twice.
//!
//! A cache belongs to one loaded model, so the model's hash need not be in its key. Only finite scores are kept: what
//! failed may succeed the next time.

use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::encode::tokens::Tokens;

type Key = [u8; 32];

/// The scores of the last so many distinct sequences.
#[derive(Debug, Clone)]
pub(crate) struct ScoreCache(Option<Cache<Key, f32>>);

impl ScoreCache {
    /// Keeps `entries` scores; none if that is 0.
    pub(crate) fn new(entries: usize) -> Self {
        let entries = u64::try_from(entries).unwrap_or(u64::MAX);
        Self((entries > 0).then(|| Cache::new(entries)))
    }

    pub(crate) fn get(&self, tokens: &Tokens) -> Option<f32> {
        self.0.as_ref()?.get(&key(tokens))
    }

    pub(crate) fn put(&self, tokens: &Tokens, score: f32) {
        if let Some(cache) = &self.0 {
            cache.insert(key(tokens), score);
        }
    }
}

/// A hash and not the ids themselves, so that an entry's size does not depend on a dialogue's length.
fn key(tokens: &Tokens) -> Key {
    let Tokens { ids, reply } = tokens;
    let mut hash = Sha256::new();
    for place in [reply.start, reply.end] {
        hash.update(place.to_le_bytes());
    }
    for id in ids.iter() {
        hash.update(id.to_le_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found_by_its_tokens_and_its_reply_alone() {
        let cache = ScoreCache::new(10);
        let tokens = Tokens { ids: [1, 2, 3].into(), reply: 1..2 };
        cache.put(&tokens, 0.5);
        assert_eq!(cache.get(&tokens.clone()), Some(0.5));
        assert_eq!(cache.get(&Tokens { reply: 1..3, ..tokens.clone() }), None);
        assert_eq!(cache.get(&Tokens { ids: [1, 2].into(), ..tokens }), None);
    }

    #[test]
    fn a_cache_of_nothing_keeps_nothing() {
        let cache = ScoreCache::new(0);
        cache.put(&Tokens::unmarked([1]), 0.5);
        assert_eq!(cache.get(&Tokens::unmarked([1])), None);
    }
}
