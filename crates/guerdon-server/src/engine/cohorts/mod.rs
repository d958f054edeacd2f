//! Cohorts: groups whose samples come in several requests. Each request waits for the samples of the
//! others, for half of its time at most, and holds no place among the requests that are worked on
//! meanwhile.
//!
//! The same sample sent twice counts once, and a late retry gets the stored judgement. A cohort whose
//! samples do not all come in time is judged with those that came, which abstain unless the prompt
//! has a `min_size`.

mod member;
mod table;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guerdon_fusion::AskedRollout;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

pub(crate) use self::member::CohortMember;
use self::table::{CohortJudgement, CohortTable, EnteredSample, JoinOutcome, JudgeJob};
use crate::observe::metrics::Metrics;

/// The longest wait for samples, whatever the deadline is.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A function that gives back the place of a request among those that are worked on.
#[derive(Clone)]
pub(crate) struct PlaceRelease(Arc<dyn Fn() + Send + Sync>);

impl PlaceRelease {
    pub(crate) fn new(release: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(release))
    }
}

impl fmt::Debug for PlaceRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlaceRelease")
    }
}

/// The cohorts of a server.
#[derive(Debug)]
pub(crate) struct Cohorts {
    table: Mutex<CohortTable>,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
}

/// The judgement of a sample, and whether another request had sent the sample before.
#[derive(Debug)]
pub(crate) struct JudgedSample {
    asked: AskedRollout,
    is_retry: bool,
}

impl JudgedSample {
    /// `own`, which is the same sample, with the judgement. The first request has the cost.
    pub(crate) fn apply(&self, own: AskedRollout) -> AskedRollout {
        let judged = own.with_signals_of(&self.asked);
        if self.is_retry { judged.without_usage() } else { judged }
    }
}

/// The cohorts as one request sees them.
#[derive(Debug, Clone)]
pub(crate) struct CohortAccess {
    cohorts: Arc<Cohorts>,
    /// The caller: samples of two callers are never of one cohort.
    client: u64,
    release: Option<PlaceRelease>,
}

impl CohortAccess {
    pub(crate) const fn new(cohorts: Arc<Cohorts>, client: u64) -> Self {
        Self { cohorts, client, release: None }
    }

    /// A copy that gives back the request's place before it waits.
    pub(crate) fn releasing(self, release: PlaceRelease) -> Self {
        Self { release: Some(release), ..self }
    }

    /// A copy for a request that has other work to do while it waits.
    pub(crate) fn keeping_place(self) -> Self {
        Self { release: None, ..self }
    }

    /// Joins the cohort of `members`, which are those of one group in this request, and waits for its
    /// judgement. `None` if the group is whole without other requests.
    ///
    /// # Errors
    /// The reason why the members cannot be judged with others.
    pub(crate) async fn joined(
        &self,
        members: Vec<CohortMember>,
        deadline: Option<Instant>,
    ) -> Result<Option<Vec<JudgedSample>>, String> {
        let Some(samples) = members.iter().filter_map(CohortMember::samples).max() else {
            return Ok(None);
        };
        if usize::try_from(samples).is_ok_and(|samples| samples <= members.len()) {
            return Ok(None);
        }
        self.cohorts.joined(self, members, deadline).await.map(Some)
    }
}

impl Cohorts {
    pub(crate) fn new(metrics: Arc<Metrics>, tasks: TaskTracker) -> Self {
        Self { table: Mutex::default(), metrics, tasks }
    }

    async fn joined(
        self: &Arc<Self>,
        access: &CohortAccess,
        members: Vec<CohortMember>,
        deadline: Option<Instant>,
    ) -> Result<Vec<JudgedSample>, String> {
        let JoinOutcome { key, mut judged, entered, job } =
            self.table.lock().join(access.client, members, Instant::now());
        if let Some(job) = job {
            self.start(job);
        }
        let entered: Vec<EnteredSample> = entered?;
        if judged.borrow().is_none()
            && let Some(release) = &access.release
        {
            (release.0)();
        }
        let wait = deadline.map_or(LONGEST_WAIT, |deadline| {
            deadline.saturating_duration_since(Instant::now()) / 2
        });
        let wait = wait.min(LONGEST_WAIT);
        let is_judged = |judged: &Option<CohortJudgement>| judged.is_some();
        if tokio::time::timeout(wait, judged.wait_for(is_judged)).await.is_err() {
            let job = self.table.lock().close_late(&key, wait, Instant::now());
            if let Some(job) = job {
                self.start(job);
            }
        }
        let late = || "the request's deadline passed while the group was judged".to_owned();
        let waiting = judged.wait_for(is_judged);
        let judged = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), waiting).await,
            None => Ok(waiting.await),
        };
        let judged = judged.map_err(|_| late())?;
        let judged = judged.map_err(|_| late())?.clone().unwrap_or_default();
        let sample = |EnteredSample { sample, is_retry }| {
            let asked = judged.get(&sample).cloned();
            asked.map(|asked| JudgedSample { asked, is_retry }).ok_or_else(late)
        };
        entered.into_iter().map(sample).collect()
    }

    /// Judges a closed cohort in a task of its own: no request that waits for it can stop it.
    fn start(self: &Arc<Self>, job: JudgeJob) {
        self.metrics.cohort(job.outcome());
        self.tasks.spawn(job.run());
    }
}
