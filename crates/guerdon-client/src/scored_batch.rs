//! What [`Client::score`](crate::Client::score) returns: the results of every chunk, joined without hiding the seams.
//!
//! A server may be reloaded between two chunks of one batch; then its first rewards and its last were made by
//! different rules. That is neither an error (the rewards are sound, and a batch already paid for should not be
//! thrown away) nor a detail to drop (a caller who keeps only the last versions explains the first rewards wrongly).
//! So a [`Scored`] keeps every version and which result has which, and [`Scored::one_version`] is the question to ask
//! for those who would rather score again. A group that advantages compare never spans two: it is never split.

use guerdon_types::{
    Finite, RequestId, RolloutId, RolloutResult, ScoreRequest, ScoreResponse, Usage, Versions,
    shared_id_errors,
};

use crate::chunk::Chunk;

/// The rewards of a whole batch.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Scored {
    /// One result a rollout, in the request's order. An id that was left out is the index in the whole request.
    pub results: Vec<RolloutResult>,
    /// The different versions that made these rewards, in the request's order; at least one, and nearly always one.
    /// Two that differ in nothing but the count of reloads are the same.
    pub versions: Vec<Versions>,
    /// For each result, its place in `versions`.
    pub version_of: Vec<usize>,
    /// The server's name for each HTTP request that this batch became; also in its log.
    pub request_ids: Vec<RequestId>,
    /// What it all cost.
    pub usage: Usage,
}

impl Scored {
    /// The rewards in the request's order, `None` (never 0) where one could not be made: what
    /// [`optim`](crate::optim) takes.
    #[must_use]
    pub fn rewards(&self) -> Vec<Option<f64>> {
        self.results.iter().map(|result| result.reward.map(Finite::get)).collect()
    }

    /// The advantages in the request's order, `None` where there is no reward or none were asked for.
    #[must_use]
    pub fn advantages(&self) -> Vec<Option<f64>> {
        self.results.iter().map(|result| result.advantage.map(Finite::get)).collect()
    }

    /// What made the reward of rollout `index`.
    #[must_use]
    pub fn versions_of(&self, index: usize) -> Option<&Versions> {
        self.versions.get(*self.version_of.get(index)?)
    }

    /// What made all of these rewards; `None` if the server was reloaded while they were made.
    #[must_use]
    pub fn one_version(&self) -> Option<&Versions> {
        match self.versions.as_slice() {
            [versions] => Some(versions),
            _ => None,
        }
    }

    /// Joins the replies of `chunks`, each already known to fit its chunk.
    pub(crate) fn join(
        request: &ScoreRequest,
        chunks: &[Chunk],
        replies: Vec<ScoreResponse>,
    ) -> Self {
        let mut whole = Self {
            results: vec![],
            versions: vec![],
            version_of: vec![],
            request_ids: vec![],
            usage: Usage::default(),
        };
        let mut placed = Vec::with_capacity(request.rollouts.len());
        for (chunk, reply) in chunks.iter().zip(replies) {
            whole.usage.add(&reply.usage);
            whole.request_ids.push(reply.request_id);
            let version = whole.version(reply.versions);
            for (place, mut result) in chunk.iter().copied().zip(reply.results) {
                if request.rollouts.get(place).is_some_and(|rollout| rollout.id.is_none()) {
                    result.id = RolloutId::from(place.to_string());
                }
                placed.push((place, version, result));
            }
        }
        placed.sort_unstable_by_key(|(place, ..)| *place);
        (whole.version_of, whole.results) =
            placed.into_iter().map(|(_, version, result)| (version, result)).unzip();
        whole
    }

    /// Takes the reward from every rollout whose id is also the id of another rollout of the whole request.
    pub(crate) fn refuse_shared_ids(&mut self, request: &ScoreRequest) {
        let ids = request.rollouts.iter().map(|rollout| rollout.id.as_ref());
        for (index, invalid) in shared_id_errors(ids) {
            if let Some(result) =
                self.results.get_mut(index).filter(|result| result.error.is_none())
            {
                let invalid = invalid.below(&format!("/rollouts/{index}"));
                (result.reward, result.advantage) = (None, None);
                result.turns.clear();
                result.error = Some(invalid.into());
            }
        }
    }

    /// The place of `versions` among those seen.
    fn version(&mut self, versions: Versions) -> usize {
        let same = |seen: &Versions| {
            let mut seen = seen.clone();
            seen.generation = versions.generation;
            seen == versions
        };
        self.versions.iter().position(same).unwrap_or_else(|| {
            self.versions.push(versions);
            self.versions.len() - 1
        })
    }
}
