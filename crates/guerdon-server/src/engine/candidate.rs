//! The current snapshot, the candidate on trial, and the choice between them for each request.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use guerdon_types::{CandidateInfo, GroupId};

use crate::engine::snapshot::Snapshot;

/// The current snapshot and the candidate. They are swapped as one value, so that a request sees a
/// consistent pair.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) candidate: Option<Candidate>,
}

/// A new generation on trial and its share of the requests.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) share: f64,
}

/// The outcome of [`Serving::draw`]: the snapshot that scores a request, and the snapshot whose
/// rules run for comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw<'a> {
    pub(crate) scores: &'a Snapshot,
    pub(crate) compared: Option<&'a Snapshot>,
}

impl Serving {
    /// `snapshot` without a candidate.
    pub(crate) const fn alone(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, candidate: None }
    }

    pub(crate) fn candidate_info(&self) -> Option<CandidateInfo> {
        let Candidate { snapshot, share } = self.candidate.as_ref()?;
        Some(CandidateInfo { generation: snapshot.generation, share: *share })
    }

    /// Chooses the snapshot that scores a request: by the request's first `group`, or by its
    /// `number` if it has no group. Samples of one prompt must be scored by the same rules.
    /// Otherwise the group's mean would mix two scales.
    pub(crate) fn draw(&self, group: Option<&GroupId>, number: u64) -> Draw<'_> {
        let Some(candidate) = &self.candidate else {
            return Draw { scores: &self.snapshot, compared: None };
        };
        let place = match group {
            Some(group) => {
                let mut hash = DefaultHasher::new();
                group.hash(&mut hash);
                fraction(hash.finish())
            }
            // Multiples of the golden ratio fill the interval evenly, so the share holds even for a
            // few requests.
            None => fraction(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        };
        if place < candidate.share {
            Draw { scores: &candidate.snapshot, compared: Some(&self.snapshot) }
        } else {
            Draw { scores: &self.snapshot, compared: Some(&candidate.snapshot) }
        }
    }

    /// The other generation instead of the one that was `drawn`, if only the other one is `wanted`
    /// and it serves requests. A caller that expects one of two generations is therefore served by
    /// it throughout.
    pub(crate) fn preferring<'a>(
        &'a self,
        drawn: Draw<'a>,
        wanted: impl Fn(&Snapshot) -> bool,
    ) -> Draw<'a> {
        match drawn {
            Draw { scores, compared: Some(other) }
                if !wanted(scores)
                    && wanted(other)
                    && self.serving().any(|one| std::ptr::eq(one, other)) =>
            {
                Draw { scores: other, compared: Some(scores) }
            }
            drawn => drawn,
        }
    }

    /// The generations that serve requests.
    pub(crate) fn serving(&self) -> impl Iterator<Item = &Snapshot> {
        let candidate = self.candidate.iter().filter(|candidate| candidate.share > 0.0);
        [&*self.snapshot].into_iter().chain(candidate.map(|candidate| &*candidate.snapshot))
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
    fn golden_ratio_multiples_hold_the_share_in_any_hundred_requests() {
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
