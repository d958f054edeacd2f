//! One sample of a cohort.

use std::sync::Arc;
use std::time::Instant;

use guerdon_fusion::{AskedRollout, Scorer};
use guerdon_types::{GroupId, Rollout, RolloutEntry};

use crate::engine::request_profiles::RequestProfiles;

/// The name of a cohort.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct CohortKey {
    pub(super) client: u64,
    /// The profile, with the digest of its configuration and the sources of the request.
    profile: String,
    group: Option<GroupId>,
    attempt: Option<u64>,
}

/// One sample, whose other sources have answered.
#[derive(Debug)]
pub(crate) struct CohortMember {
    profiles: Arc<RequestProfiles>,
    entries: Arc<Vec<RolloutEntry>>,
    index: usize,
    pub(super) asked: AskedRollout,
    pub(super) deadline: Option<Instant>,
    /// Hash of the rollout without its place in a request: equal for a retry.
    pub(super) content: String,
}

impl CohortMember {
    /// Rollout `index` of a request with these `profiles`, `entries` and `deadline`.
    pub(crate) fn new(
        profiles: &Arc<RequestProfiles>,
        entries: &Arc<Vec<RolloutEntry>>,
        deadline: Option<Instant>,
        index: usize,
        asked: &AskedRollout,
    ) -> Self {
        let mut member = Self {
            profiles: Arc::clone(profiles),
            entries: Arc::clone(entries),
            index,
            asked: asked.clone(),
            deadline,
            content: String::new(),
        };
        if let Some(rollout) = member.rollout().filter(|rollout| rollout.samples.is_some()) {
            let Rollout { messages, tools, score, context, rubric, .. } = rollout;
            let content = serde_json::to_string(&(messages, tools, context, rubric));
            // Values of JSON can be written; an unlikely failure makes no two samples equal.
            let content = content.unwrap_or_else(|error| format!("{error} {index}"));
            let content = format!("{score:?} {content}");
            member.content = guerdon_text::content_hash(&content);
        }
        member
    }

    pub(super) fn rollout(&self) -> Option<&Rollout> {
        self.entries.get(self.index)?.rollout.as_ref().ok()
    }

    pub(super) fn scorer(&self) -> &Scorer {
        &self.profiles.of(self.index).scorer
    }

    pub(super) fn sample(&self) -> Option<u32> {
        self.rollout()?.sample
    }

    pub(super) fn samples(&self) -> Option<u32> {
        self.rollout()?.samples
    }

    /// The name of its cohort.
    pub(super) fn key(&self, client: u64) -> CohortKey {
        let entry = self.entries.get(self.index);
        let scorer = self.scorer();
        let sources: Vec<&str> = scorer.sources().iter().map(|one| one.id().as_str()).collect();
        let profile = &self.profiles.of(self.index).name;
        CohortKey {
            client,
            profile: format!("{profile} {} {}", scorer.digest(), sources.join(" ")),
            group: entry.and_then(|entry| entry.group.clone()),
            attempt: entry.and_then(|entry| entry.attempt),
        }
    }
}
