//! The cohorts that collect samples, and those that were judged a short time ago.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use guerdon_fusion::AskedRollout;
use guerdon_types::Rollout;
use tokio::sync::watch;

use super::member::{CohortKey, CohortMember};

/// The largest number of cohorts, stored ones included.
const MOST_COHORTS: usize = 4_096;

/// Time for which a judgement is kept for retries.
const KEEP: Duration = Duration::from_secs(600);

/// The judgements of a cohort by sample.
pub(super) type CohortJudgement = Arc<BTreeMap<u32, AskedRollout>>;

#[derive(Debug, Default)]
pub(super) struct CohortTable {
    cohorts: HashMap<CohortKey, Cohort>,
}

#[derive(Debug)]
struct Cohort {
    samples: u32,
    /// The samples that have come; empty once the cohort is closed.
    members: BTreeMap<u32, CohortMember>,
    /// The content of each sample that has come.
    contents: BTreeMap<u32, String>,
    judged: watch::Sender<Option<CohortJudgement>>,
    /// The time at which it took its last sample.
    closed: Option<Instant>,
}

/// A sample that was entered.
#[derive(Debug, Clone, Copy)]
pub(super) struct EnteredSample {
    pub(super) sample: u32,
    /// Set if it had been entered before.
    pub(super) is_retry: bool,
}

/// The result of joining a cohort.
pub(super) struct JoinOutcome {
    pub(super) key: CohortKey,
    pub(super) judged: watch::Receiver<Option<CohortJudgement>>,
    /// The samples that were entered, or the reason why they cannot be.
    pub(super) entered: Result<Vec<EnteredSample>, String>,
    /// The judgement to start, if the cohort was closed.
    pub(super) job: Option<JudgeJob>,
}

/// The way in which a cohort was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum CloseReason {
    Complete,
    Stalled(String),
    Conflict(String),
}

/// A closed cohort that is to be judged.
pub(super) struct JudgeJob {
    members: BTreeMap<u32, CohortMember>,
    reason: CloseReason,
    judged: watch::Sender<Option<CohortJudgement>>,
}

impl CohortTable {
    /// Enters `members`, which are of one cohort; at least one.
    pub(super) fn join(
        &mut self,
        client: u64,
        members: Vec<CohortMember>,
        now: Instant,
    ) -> JoinOutcome {
        self.forget(now);
        let key = members.first().map(|first| first.key(client)).unwrap_or_default();
        let samples = members.iter().filter_map(CohortMember::samples).max().unwrap_or_default();
        let is_full = self.cohorts.len() >= MOST_COHORTS && !self.cohorts.contains_key(&key);
        if is_full && !self.forget_oldest() {
            let reason = format!("this server already collects {MOST_COHORTS} groups");
            return JoinOutcome {
                key,
                judged: watch::channel(None).1,
                entered: Err(reason),
                job: None,
            };
        }
        let cohort = self.cohorts.entry(key.clone()).or_insert_with(|| Cohort::new(samples));
        let entered = cohort.enter(members);
        let reason = match &entered {
            Err(conflict) => Some(CloseReason::Conflict(conflict.clone())),
            Ok(_) if cohort.is_complete() => Some(CloseReason::Complete),
            Ok(_) => None,
        };
        let job = reason.and_then(|reason| cohort.close(reason, now));
        JoinOutcome { key, judged: cohort.judged.subscribe(), entered, job }
    }

    /// Closes a cohort for which a request has waited for `waited`.
    pub(super) fn close_late(
        &mut self,
        key: &CohortKey,
        waited: Duration,
        now: Instant,
    ) -> Option<JudgeJob> {
        let cohort = self.cohorts.get_mut(key)?;
        let (came, samples) = (cohort.members.len(), cohort.samples);
        let note = format!(
            "cohort_stalled: {came} of {samples} samples came within {waited:.1?}; a trainer with fewer requests \
             in flight than samples never completes a group, so send all {samples} at once, or in one request"
        );
        cohort.close(CloseReason::Stalled(note), now)
    }

    /// Drops judgements that were kept long enough.
    fn forget(&mut self, now: Instant) {
        let is_kept = |closed: Instant| now.saturating_duration_since(closed) < KEEP;
        self.cohorts.retain(|_, cohort| cohort.closed.is_none_or(is_kept));
    }

    /// Drops the oldest judgement. False if there is none.
    fn forget_oldest(&mut self) -> bool {
        let closed = self.cohorts.iter().filter_map(|(key, cohort)| Some((cohort.closed?, key)));
        let oldest = closed.min_by_key(|(closed, _)| *closed).map(|(_, key)| key.clone());
        oldest.is_some_and(|key| self.cohorts.remove(&key).is_some())
    }
}

impl Cohort {
    fn new(samples: u32) -> Self {
        let (members, contents) = (BTreeMap::new(), BTreeMap::new());
        Self { samples, members, contents, judged: watch::Sender::new(None), closed: None }
    }

    fn is_complete(&self) -> bool {
        self.closed.is_none() && u32::try_from(self.members.len()).is_ok_and(|n| n == self.samples)
    }

    fn enter(&mut self, members: Vec<CohortMember>) -> Result<Vec<EnteredSample>, String> {
        let mut entered = Vec::with_capacity(members.len());
        for member in members {
            let Some(sample) = member.sample() else {
                return Err(
                    "a rollout does not name its `sample`, so that samples of several requests \
                     cannot be told apart"
                        .to_owned(),
                );
            };
            if member.samples() != Some(self.samples) {
                let (own, other) = (member.samples().unwrap_or_default(), self.samples);
                return Err(format!(
                    "its requests disagree on the number of `samples`: {other} and {own}"
                ));
            }
            let is_retry = match self.contents.get(&sample) {
                Some(content) if *content == member.content => true,
                Some(_) => {
                    return Err(format!(
                        "`sample` {sample} came with two replies; give each time that a prompt is sampled \
                         its own `attempt`"
                    ));
                }
                None if self.closed.is_some() => {
                    return Err(format!("`sample` {sample} came after the group was judged"));
                }
                None => {
                    self.contents.insert(sample, member.content.clone());
                    self.members.insert(sample, member);
                    false
                }
            };
            entered.push(EnteredSample { sample, is_retry });
        }
        Ok(entered)
    }

    /// Closes the cohort; `None` if it is closed.
    fn close(&mut self, reason: CloseReason, now: Instant) -> Option<JudgeJob> {
        if self.closed.is_some() {
            return None;
        }
        self.closed = Some(now);
        let members = std::mem::take(&mut self.members);
        Some(JudgeJob { members, reason, judged: self.judged.clone() })
    }
}

impl JudgeJob {
    /// The way in which the cohort was closed, for metrics.
    pub(super) const fn outcome(&self) -> &'static str {
        match self.reason {
            CloseReason::Complete => "complete",
            CloseReason::Stalled(_) => "stalled",
            CloseReason::Conflict(_) => "conflict",
        }
    }

    /// Judges the samples that came, and hands the judgements to all that wait.
    pub(super) async fn run(self) {
        let Self { members, reason, judged } = self;
        let note = match &reason {
            CloseReason::Complete => None,
            CloseReason::Stalled(note) | CloseReason::Conflict(note) => Some(note.as_str()),
        };
        if let Some(note) = note {
            tracing::warn!("a group was not collected: {note}");
        }
        let mut asked: Vec<AskedRollout> =
            members.values().map(|member| member.asked.clone()).collect();
        let rollouts: Vec<Option<&Rollout>> = members.values().map(CohortMember::rollout).collect();
        // Requests with less time stop waiting by themselves.
        let unbounded = members.values().any(|member| member.deadline.is_none());
        let latest = members.values().filter_map(|member| member.deadline).max();
        let deadline = latest.filter(|_| !unbounded);
        if let Some(first) = members.values().next() {
            first.scorer().ask_group(&mut asked, &rollouts, note, deadline).await;
        }
        let all = members.keys().copied().zip(asked).collect();
        judged.send_replace(Some(Arc::new(all)));
    }
}
