//! A new generation on trial: which requests it serves before it serves all.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use guerdon_types::{CandidateInfo, ScoreRequest};

use crate::live::Live;

/// The generation on trial, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    candidate: ArcSwapOption<Candidate>,
    requests: AtomicU64,
}

/// A generation and its share of the requests.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) live: Arc<Live>,
    pub(crate) share: f64,
}

impl Stage {
    pub(crate) fn put(&self, live: Arc<Live>, share: f64) {
        self.candidate.store(Some(Arc::new(Candidate { live, share })));
    }

    /// Ends the trial; what was on it.
    pub(crate) fn take(&self) -> Option<Arc<Live>> {
        self.candidate.swap(None).map(|candidate| Arc::clone(&candidate.live))
    }

    pub(crate) fn info(&self) -> Option<CandidateInfo> {
        let candidate = self.candidate.load_full()?;
        Some(CandidateInfo { generation: candidate.live.generation, share: candidate.share })
    }

    /// The candidate, and whether it serves this request. Samples that share a prompt must share its rules, or the group's
    /// mean compares two rulers: so a request that names groups is placed by the first, and any other by its number.
    pub(crate) fn draw(&self, request: &ScoreRequest) -> Option<(Arc<Candidate>, bool)> {
        let candidate = self.candidate.load_full()?;
        let group = request.rollouts.first().and_then(|rollout| rollout.group.as_ref());
        let place = match group {
            Some(group) => {
                let mut hash = DefaultHasher::new();
                group.hash(&mut hash);
                fraction(hash.finish())
            }
            // Multiples of the golden ratio fill the interval evenly, so that any few requests hold the share.
            None => fraction(
                self.requests.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ),
        };
        let serves = place < candidate.share;
        Some((candidate, serves))
    }
}

/// The upper 53 bits as a number in [0, 1).
fn fraction(bits: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let fraction = (bits >> 11) as f64 / (1u64 << 53) as f64;
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_of_the_golden_ratio_hold_a_share_in_any_hundred() {
        for share in [0.0, 0.1, 0.5] {
            let served = (0..100u64)
                .filter(|n| fraction(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) < share)
                .count();
            #[expect(clippy::cast_precision_loss, reason = "at most a hundred")]
            let served = served as f64;
            assert!((served - share * 100.0).abs() <= 2.0, "{served} of 100 at {share}");
        }
        assert!(fraction(u64::MAX) < 1.0);
    }
}
