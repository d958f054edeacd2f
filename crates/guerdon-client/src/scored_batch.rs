//! The result of [`Client::score`](crate::Client::score): the results of all chunks, with the
//! versions that made each.
//!
//! A server may reload between two chunks of one batch. Then the first and the last rewards were
//! made by different rules. That is not an error, because the rewards are valid and paid for. It
//! must not be hidden either, because the last versions would explain the first rewards wrongly. A
//! [`ScoredBatch`] therefore keeps every version and the version of each result. Callers that need
//! a single version check [`ScoredBatch::one_version`]. A group whose advantages are compared
//! always has one version, because it is never split.

use guerdon_types::{
    Finite, GroupComparison, GroupId, IncomparableGroup, Invalid, RequestId, RolloutId,
    RolloutResult, ScoreRequest, ScoreResponse, Usage, Versions, shared_id_errors,
};

use crate::chunk::{RolloutIndices, repoint};

/// The rewards of a whole batch.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ScoredBatch {
    /// One result per rollout, in the order of the request. The id of a rollout without one is its
    /// index in the whole request.
    pub results: Vec<RolloutResult>,
    /// The versions that made these rewards, in the order of the request: at least one, and nearly
    /// always one. Versions that differ only in `generation` count as one.
    pub versions: Vec<Versions>,
    /// The index in `versions` for each result.
    pub version_of: Vec<usize>,
    /// The groups whose rollouts were not scored by the same sources, in the order of the request:
    /// their rewards must not be compared. A group that was split into several HTTP requests is
    /// compared as a whole.
    pub groups: Vec<IncomparableGroup>,
    /// The id of each HTTP request of this batch, as in the server's log.
    pub request_ids: Vec<RequestId>,
    /// The cost of the whole batch.
    pub usage: Usage,
}

impl ScoredBatch {
    /// The rewards in the order of the request, as [`optim`](crate::optim) takes them: `None`,
    /// never 0, for a rollout without a reward.
    #[must_use]
    pub fn rewards(&self) -> Vec<Option<f64>> {
        self.results.iter().map(|result| result.reward.map(Finite::get)).collect()
    }

    /// The advantages in the order of the request. `None` without a reward, or if none were
    /// requested.
    #[must_use]
    pub fn advantages(&self) -> Vec<Option<f64>> {
        self.results.iter().map(|result| result.advantage.map(Finite::get)).collect()
    }

    /// For each rollout, in the order of the request: false if its group is not comparable.
    /// `request` is the request that was scored.
    #[must_use]
    pub fn comparable(&self, request: &ScoreRequest) -> Vec<bool> {
        let is_listed =
            |group: &Option<GroupId>| self.groups.iter().any(|one| Some(&one.id) == group.as_ref());
        request.rollouts.iter().map(|rollout| !is_listed(&rollout.group)).collect()
    }

    /// The versions that made the reward of rollout `index`.
    #[must_use]
    pub fn versions_of(&self, index: usize) -> Option<&Versions> {
        self.versions.get(*self.version_of.get(index)?)
    }

    /// The versions of all rewards; `None` if the server was reloaded in between.
    #[must_use]
    pub fn one_version(&self) -> Option<&Versions> {
        match self.versions.as_slice() {
            [versions] => Some(versions),
            _ => None,
        }
    }

    /// Joins the replies of `chunks`. The caller has checked that each reply fits its chunk.
    pub(crate) fn join(
        request: &ScoreRequest,
        chunks: &[RolloutIndices],
        replies: Vec<ScoreResponse>,
    ) -> Self {
        let mut whole = Self {
            results: vec![],
            versions: vec![],
            version_of: vec![],
            groups: vec![],
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
                if let Some(problem) = &mut result.error {
                    repoint(problem, chunk);
                }
                placed.push((place, version, result));
            }
        }
        placed.sort_unstable_by_key(|(place, ..)| *place);
        (whole.version_of, whole.results) =
            placed.into_iter().map(|(_, version, result)| (version, result)).unzip();
        whole.groups = incomparable(request, &whole.results);
        whole
    }

    /// Replaces the result of every rollout that shares its id with another rollout of the whole
    /// request by an error.
    pub(crate) fn refuse_shared_ids(&mut self, request: &ScoreRequest) {
        let ids = request.rollouts.iter().map(|rollout| rollout.id.as_ref());
        for (index, invalid) in shared_id_errors(ids) {
            if let Some(result) =
                self.results.get_mut(index).filter(|result| result.error.is_none())
            {
                refuse(result, index, invalid);
            }
        }
    }

    /// The index of `versions`, which are added if they are new.
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

/// Replaces the result of rollout `index` by an error.
pub(crate) fn refuse(result: &mut RolloutResult, index: usize, invalid: Invalid) {
    (result.reward, result.advantage) = (None, None);
    result.turns.clear();
    result.error = Some(invalid.below(&format!("/rollouts/{index}")).into());
}

/// The groups of the whole request that are not comparable. The replies to the chunks list only
/// those that differ within a chunk.
fn incomparable(request: &ScoreRequest, results: &[RolloutResult]) -> Vec<IncomparableGroup> {
    let mut comparison = GroupComparison::default();
    for (index, (rollout, result)) in request.rollouts.iter().zip(results).enumerate() {
        if let Some(group) = &rollout.group {
            comparison.add(index, group, result);
        }
    }
    comparison.finish()
}
