//! Cache of scores by token ids: equal tokens have equal scores.
//!
//! A cache belongs to one loaded model, so its keys do not hold the model's hash. Only finite
//! scores are cached: a failed sequence may succeed the next time.

use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::encode::tokens::TokenSequence;
use crate::engine::head::RawScore;

type ScoreKey = [u8; 32];

/// The scores of the most recent distinct sequences.
#[derive(Debug, Clone)]
pub(crate) struct ScoreCache(Option<Cache<ScoreKey, RawScore>>);

impl ScoreCache {
    /// A cache of at most `entries` scores; with 0, nothing is cached.
    pub(crate) fn new(entries: usize) -> Self {
        let entries = u64::try_from(entries).unwrap_or(u64::MAX);
        Self((entries > 0).then(|| Cache::new(entries)))
    }

    pub(crate) fn get(&self, tokens: &TokenSequence) -> Option<RawScore> {
        self.0.as_ref()?.get(&key(tokens))
    }

    pub(crate) fn put(&self, tokens: &TokenSequence, score: RawScore) {
        if let Some(cache) = &self.0 {
            cache.insert(key(tokens), score);
        }
    }
}

/// The hash of the sequence. Hashes keep the size of an entry independent of a dialogue's length.
fn key(tokens: &TokenSequence) -> ScoreKey {
    let TokenSequence { ids, reply, segments, steps } = tokens;
    let mut hash = Sha256::new();
    // The lengths of the parts tell apart sequences whose parts only together hold the same bytes.
    for bound in [reply.start, reply.end, segments.len(), steps.len()] {
        hash.update(bound.to_le_bytes());
    }
    hash.update(segments);
    for number in steps.iter().chain(ids.iter()) {
        hash.update(number.to_le_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_is_found_by_tokens_and_reply_range() {
        let cache = ScoreCache::new(10);
        let tokens = TokenSequence { reply: 1..2, ..TokenSequence::unmarked([1, 2, 3]) };
        cache.put(&tokens, 0.5.into());
        assert_eq!(cache.get(&tokens.clone()), Some(0.5.into()));
        assert_eq!(cache.get(&TokenSequence { reply: 1..3, ..tokens.clone() }), None);
        assert_eq!(cache.get(&TokenSequence { ids: [1, 2].into(), ..tokens.clone() }), None);
        let (segments, steps) = ([1, 0, 0].into(), [1].into());
        assert_eq!(cache.get(&TokenSequence { segments, ..tokens.clone() }), None);
        assert_eq!(cache.get(&TokenSequence { steps, ..tokens }), None);
    }

    #[test]
    fn cache_of_size_zero_stores_nothing() {
        let cache = ScoreCache::new(0);
        cache.put(&TokenSequence::unmarked([1]), 0.5.into());
        assert_eq!(cache.get(&TokenSequence::unmarked([1])), None);
    }
}
