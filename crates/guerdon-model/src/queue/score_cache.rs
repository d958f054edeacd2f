//! Cache of scores by token ids: equal tokens have equal scores.
//!
//! A cache belongs to one loaded model, so its keys do not hold the model's hash. Only finite
//! scores are cached: a failed sequence may succeed the next time.

use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::encode::tokens::TokenSequence;

type ScoreKey = [u8; 32];

/// The scores of the most recent distinct sequences.
#[derive(Debug, Clone)]
pub(crate) struct ScoreCache(Option<Cache<ScoreKey, f32>>);

impl ScoreCache {
    /// A cache of at most `entries` scores; with 0, nothing is cached.
    pub(crate) fn new(entries: usize) -> Self {
        let entries = u64::try_from(entries).unwrap_or(u64::MAX);
        Self((entries > 0).then(|| Cache::new(entries)))
    }

    pub(crate) fn get(&self, tokens: &TokenSequence) -> Option<f32> {
        self.0.as_ref()?.get(&key(tokens))
    }

    pub(crate) fn put(&self, tokens: &TokenSequence, score: f32) {
        if let Some(cache) = &self.0 {
            cache.insert(key(tokens), score);
        }
    }
}

/// The hash of the ids. Hashes keep the size of an entry independent of a dialogue's length.
fn key(tokens: &TokenSequence) -> ScoreKey {
    let TokenSequence { ids, reply } = tokens;
    let mut hash = Sha256::new();
    for bound in [reply.start, reply.end] {
        hash.update(bound.to_le_bytes());
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
    fn score_is_found_by_tokens_and_reply_range() {
        let cache = ScoreCache::new(10);
        let tokens = TokenSequence { ids: [1, 2, 3].into(), reply: 1..2 };
        cache.put(&tokens, 0.5);
        assert_eq!(cache.get(&tokens.clone()), Some(0.5));
        assert_eq!(cache.get(&TokenSequence { reply: 1..3, ..tokens.clone() }), None);
        assert_eq!(cache.get(&TokenSequence { ids: [1, 2].into(), ..tokens }), None);
    }

    #[test]
    fn cache_of_size_zero_stores_nothing() {
        let cache = ScoreCache::new(0);
        cache.put(&TokenSequence::unmarked([1]), 0.5);
        assert_eq!(cache.get(&TokenSequence::unmarked([1])), None);
    }
}
